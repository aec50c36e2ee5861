"""Opens report.html in a headless Chromium, and lets nothing it complains about pass."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from calaudit.report.html.page import html_page
from calaudit.results.report import Report

PATIENCE = 120_000
"""Milliseconds that a page may take for one thing, however busy the machine is."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Heard:
    """What the browser said and asked for while a page was open."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


class BrowserEndedError(Exception):
    """The browser ended by itself, as on a machine short of memory: no answer, so try again."""


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[[], Any]]:
    """The browser, started again where it has ended.

    Of a module, since its event loop runs on: nothing else in the process could start one.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no chromium is installed (Debian's package chromium)")
    started: list[Any] = []
    with playwright.sync_playwright() as running:

        def launched() -> Any:
            if not started or not started[-1].is_connected():
                started.append(
                    running.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=PATIENCE)
                )
            return started[-1]

        try:
            launched()
        except playwright.Error as error:
            pytest.skip(f"{path} doesn't start: {error.message.splitlines()[0]}")
        yield launched
        if started[-1].is_connected():
            started[-1].close()


Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def open_report(launch: Callable[[], Any], tmp_path: Path) -> Open:
    """``with open_report(report, …) as page``; afterwards nothing may have been complained of."""

    @contextmanager
    def opened(
        report: Report,
        *,
        evidence: Mapping[str, Any] | None = None,
        ready: bool = True,
        **options: Any,
    ) -> Iterator[Any]:
        path = tmp_path / "report.html"
        path.write_text(html_page(report, **(evidence or {})), encoding="utf-8")
        browser = launch()
        options = {"viewport": {"width": 1300, "height": 900}, **options}
        heard = Heard()
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("crash", lambda _: heard.crashes.append(page.url))
        page.on("console", lambda said: heard.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: heard.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: heard.requests.append(request.url))
        try:
            page.goto(path.as_uri())
            if ready:
                assert heard.complaints == []  # a script that failed would be waited for in vain
                page.wait_for_selector("html[data-ready]")
            yield page
            context.close()
        finally:
            if heard.crashes or not browser.is_connected():
                raise BrowserEndedError
        assert heard.complaints == []
        outside = [url for url in heard.requests if not url.startswith(("data:", "blob:"))]
        assert outside == [path.as_uri()]

    return opened
