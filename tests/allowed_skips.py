"""A pytest plugin: skips that no list allows fail, and a table tells the others.

pytest -p tests.allowed_skips --allowed-skips=.ci/allowed_skips.toml
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

AnyReport = TypeVar("AnyReport", pytest.TestReport, pytest.CollectReport)


@dataclass(frozen=True)
class Allowed:
    """One entry of the list."""

    tests: str
    """Regular expression, searched in a test's id."""
    reason: str
    """Regular expression, searched in what the skip says."""
    because: str
    only_without: str | None = None
    """A path; the entry holds where nothing is there."""

    def holds(self, root: Path) -> bool:
        return self.only_without is None or not (root / self.only_without).exists()


@dataclass(eq=False)  # pytest puts its plugins into sets
class AllowedSkips:
    """What was skipped, held against the list."""

    source: str
    entries: list[Allowed]
    """Those that hold on this machine."""
    told: dict[tuple[str, Allowed], set[str]] = field(default_factory=lambda: defaultdict(set))
    """(what the skip said, the entry that allows it) → tests."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        return self._held((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        return self._held((yield))

    # Reports are made where tests run, and logged where the table is printed: processes of xdist.
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._count(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._count(report)

    def _count(self, report: AnyReport) -> None:
        said = _said(report)
        if said is not None and (entry := self._entry(report.nodeid, said)) is not None:
            self.told[said, entry].add(report.nodeid)

    def _held(self, report: AnyReport) -> AnyReport:
        said = _said(report)
        if said is not None and self._entry(report.nodeid, said) is None:
            report.outcome = "failed"
            report.longrepr = (
                f"{report.nodeid} was skipped, and {self.source} doesn't allow it: {said}"
            )
        return report

    def _entry(self, test: str, said: str) -> Allowed | None:
        for entry in self.entries:
            if re.search(entry.tests, test) and re.search(entry.reason, said):
                return entry
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"skips that {self.source} allows")
        rows = [(str(len(n)), said, entry.because) for (said, entry), n in self.told.items()]
        rows = [("n", "skipped because", "allowed because"), *sorted(rows, key=lambda row: row[1])]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        for n, said, because in rows:
            terminalreporter.write_line(f"{n:>{first}}  {said:{second}}  {because}")
        if not self.told:
            terminalreporter.write_line("nothing was skipped")
        used = {entry for _, entry in self.told}
        for entry in self.entries:
            if entry not in used:
                terminalreporter.write_line(
                    f"allowed, but nothing was skipped so: tests {entry.tests}, "
                    f"reason {entry.reason}",
                    yellow=True,
                )


def _said(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why something was skipped; None where it wasn't."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    told = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else report.longrepr
    return str(told).removeprefix("Skipped: ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allowed-skips", type=Path, metavar="FILE", help="TOML: skips that may be")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--allowed-skips")
    if path is None:
        return
    document = tomllib.loads((config.rootpath / path).read_text(encoding="utf-8"))
    entries = [Allowed(**each) for each in document["allowed"]]
    held = [each for each in entries if each.holds(config.rootpath)]
    config.pluginmanager.register(AllowedSkips(path.name, held), "held-skips")
