"""ab.html in a browser: it loads nothing, fits a phone, and shows what is hostile as text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calaudit.report.ab.page import ab_page
from tests.report.test_ab import RECORD


@pytest.mark.parametrize("width", [390, 1300])
def test_it_loads_nothing_and_fits(launch: Callable[[], Any], tmp_path: Path, width: int) -> None:
    path = tmp_path / "ab.html"
    path.write_text(ab_page(RECORD), encoding="utf-8")
    context = launch().new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == "REGRESSED: A/B of audit – calaudit"
    assert page.locator(".badge").inner_text() == "REGRESSED"
    assert page.locator("#results tbody tr").count() == len(RECORD.results)
    assert page.locator("#results th.name").inner_text() == "quiet & <i>"
    assert page.locator("#results i, #latency b b").count() == 0
    assert page.locator("#watched svg path.band").count() == 1
    assert page.locator("#latency svg circle").count() == 4  # P99 isn't known
    context.close()
    assert asked == [path.as_uri()]
    assert said == []
