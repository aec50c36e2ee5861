"""The first screen: the sets beside each other, who is hurt, and by how much, engines folded in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calaudit.report.groups import EngineGroup, FoldedResult, engine_groups, folded
from calaudit.report.html.view import WORDS, Entry, PageView
from calaudit.report.index import Index, cell_parts
from calaudit.report.recommendation import (
    columns_of,
    legend_of,
    option_rows,
    recommendation_lines,
)
from calaudit.report.wording import difference, in_sentence, unit_name
from calaudit.results.comparison import Result
from calaudit.runtime.words import visible

FIRST_REGRESSED, FIRST_CONTROLS, FIRST_OPEN = 5, 3, 2
"""Findings on the first screen: candidates' regressions, controls', and what is inconclusive."""
FIRST = 5
"""All of them together."""
SHOWN_FINDINGS = 40
"""Rows of the table of all findings."""

PLOT_WIDTH, PLOT_HEIGHT = 120, 16
_EDGE = 4


@dataclass(frozen=True, slots=True)
class SetRow:
    """One group of engines: how its gates came out, and where it loses most."""

    label: str
    count: int
    """Of its engines."""
    engines: str
    control: bool
    worst: str
    """Its worst drop, and where; empty where nothing was measured."""
    counts: tuple[str, str, str]
    """Regressed, inconclusive, passed; empty texts where nothing is gated."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drop with its interval in a box of `PLOT_WIDTH` × `PLOT_HEIGHT`, x in pixels."""

    zero: float
    gate: float | None
    low: float | None
    high: float | None
    drop: float | None


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One slice under one group of engines, by one metric."""

    slice: str
    metric: str
    unit: str
    group: str
    drop: str
    """The worst engine's, and the smallest of the others: ``"18.3 … 15.8"``."""
    word: str
    """The verdict of the worst."""
    share: str
    """How many engines it is the verdict of: ``"4 of 6 engines"``; empty for the only one."""
    entry: Entry
    """The worst engine's."""
    plot: Plot
    members: tuple[tuple[str, Entry], ...]
    """Every engine of the group, the worst first."""


def set_rows(index: Index) -> list[SetRow]:
    """Candidates before controls, in the report's order."""
    groups = sorted(engine_groups(index), key=lambda group: group.control)
    return [_set_row(index, group) for group in groups]


def _set_row(index: Index, group: EngineGroup) -> SetRow:
    ids = {cell.id for cell in group.cells}
    own = [r for r in index.report.results if r.cell in ids]
    gated = [r for r in own if r.gate is not None]
    headline = index.report.metrics[0].name if index.report.metrics else None
    told = [r for r in gated or own if gated or r.metric == headline]
    measured = [r for r in told if r.drop is not None]
    verdicts = [r.verdict or "INCONCLUSIVE" for r in gated]
    counts = tuple(f"{verdicts.count(v):,}" for v in ("REGRESSED", "INCONCLUSIVE", "PASS"))
    return SetRow(
        visible(group.label),
        len(group.cells),
        group.engines(),
        group.control,
        _worst_drop(index, measured),
        (counts[0], counts[1], counts[2]) if gated else ("", "", ""),
    )


def _worst_drop(index: Index, measured: Sequence[Result]) -> str:
    if not measured:
        return ""
    worst = max(measured, key=lambda r: index.per_gate(r, r.drop))
    metric = index.metrics[worst.metric]
    size = f"{difference(metric, worst.drop)} {unit_name(metric)}".rstrip()
    if len({r.metric for r in measured}) > 1:
        size += f" of {in_sentence(metric)}"
    return f"{size} on {visible(worst.slice)}"


@dataclass(frozen=True, slots=True)
class Recommended:
    """What was recommended, for the top of the page."""

    sentence: str
    lines: tuple[str, ...]
    """What stands behind it."""
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    """Options: heading and entries of each column."""
    legend: str
    """What the columns are."""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The options, a row each."""
        return list(zip(*(entries for _, entries in self.columns), strict=True))


def make_recommended(index: Index) -> Recommended | None:
    """The report's recommendation; None where it has none."""
    told = index.report.recommendation
    if told is None:
        return None
    sentence, *lines = recommendation_lines(index, told)
    columns = columns_of(list(option_rows(index, told)))
    return Recommended(
        visible(sentence),
        tuple(map(visible, lines)),
        tuple((heading, tuple(entries)) for heading, entries in columns),
        legend_of(told),
    )


@dataclass(frozen=True, slots=True)
class Findings:
    """Some findings, the worst first."""

    shown: tuple[FindingRow, ...]
    left: int
    """How many more there are."""


def all_findings(index: Index, view: PageView) -> Findings:
    """Gated results, and those of the headline metric."""
    headline = index.report.metrics[0].name if index.report.metrics else ""
    results = (r for r in index.report.results if r.gate is not None or r.metric == headline)
    found = folded(index, results)
    return _findings(index, view, found, found[:SHOWN_FINDINGS])


def first_findings(index: Index, view: PageView) -> Findings:
    """What the first screen shows: who regressed, who would have, who may be hurt."""
    found = folded(index, (r for r in index.report.results if r.gate is not None))
    hurt = [each for each in found if each.worst.verdict == "REGRESSED"]
    undecided = [
        each for each in found if each.worst.verdict == "INCONCLUSIVE" and not each.group.control
    ]
    shown = [
        *[each for each in hurt if not each.group.control][:FIRST_REGRESSED],
        *[each for each in hurt if each.group.control][:FIRST_CONTROLS],
        *undecided[:FIRST_OPEN],
    ]
    return _findings(index, view, [*hurt, *undecided], shown[:FIRST])


def _findings(
    index: Index, view: PageView, found: Sequence[FoldedResult], shown: Sequence[FoldedResult]
) -> Findings:
    low, high = _span(index, [each.worst for each in shown])
    rows = tuple(_row(index, view, each, low, high) for each in shown)
    return Findings(rows, len(found) - len(rows))


def _row(index: Index, view: PageView, found: FoldedResult, low: float, high: float) -> FindingRow:
    metric = index.metrics[found.metric]
    drops = [difference(metric, each.drop) for each in (found.worst, found.best)]
    entries = [
        (each.cell, view.by_name[each.metric, each.slice, each.cell]) for each in found.results
    ]
    return FindingRow(
        visible(found.slice),
        visible(metric.title),
        unit_name(metric),
        visible(found.group.label),
        " … ".join(dict.fromkeys(drops)),
        _word(found),
        _share(found),
        entries[0][1],
        _plot(index, found.worst, low, high),
        tuple((_engine(index, cell), entry) for cell, entry in entries),
    )


def _word(found: FoldedResult) -> str:
    return WORDS.get(found.worst.verdict or "", "not gated")


def _share(found: FoldedResult) -> str:
    count = len(found.results)
    if count == 1:
        return ""
    return f"{'all ' if found.alike == count else ''}{found.engines()} engines"


def _engine(index: Index, cell: str) -> str:
    return ", ".join(visible(part) for part in cell_parts(index.cells[cell], index.report))


def _span(index: Index, results: Sequence[Result]) -> tuple[float, float]:
    """What the plots reach over, in gates, so that drops of different metrics share a scale."""
    ends = [index.per_gate(r, end) for r in results for end in (r.drop, r.low, r.high)]
    finite = [each for each in ends if math.isfinite(each)]
    return max(-2.0, min([-0.5, *finite])), min(15.0, max([1.5, *finite]))


def _plot(index: Index, result: Result, low: float, high: float) -> Plot:
    def at(value: float | None) -> float | None:
        if value is None:
            return None
        place = min(high, max(low, index.per_gate(result, value)))
        return round(_EDGE + (PLOT_WIDTH - 2 * _EDGE) * (place - low) / (high - low), 1)

    gate = None if result.gate is None else at(result.gate.max_drop)
    return Plot(at(0.0) or 0.0, gate, at(result.low), at(result.high), at(result.drop))
