"""What report.html shows, as values ready for its templates and scripts.

All texts are made here, once, and are visible ones (:func:`calaudit.runtime.words.visible`): the
templates escape them, the scripts set them as text content.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calaudit.report.groups import EngineGroup, engine_groups, grade
from calaudit.report.index import Index, cell_parts, way_of
from calaudit.report.precision import SHORT, caveat, with_caveat
from calaudit.report.remarks import remark, star
from calaudit.report.tables import MARK
from calaudit.report.wording import MISSING, between, difference, percent, score, unit_name, units
from calaudit.results.audited import CellRecord, MetricRecord, SliceRecord
from calaudit.results.comparison import ALL, Result
from calaudit.results.report import Report
from calaudit.runtime.words import plural, visible

LOSS_STEPS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Drops in gates at which a loss gets the next shade; gains have the first three of them."""

WORDS = {"REGRESSED": "regressed", "INCONCLUSIVE": "inconclusive", "PASS": "passed"}
OF_CONTROL = " control"
"""Stands after the verdict of a result that decides nothing."""

FACTS = ("FP32", "engine", "n", "lost / gained", "adjusted p", "needs", "why")
"""What :attr:`Entry.facts` are called."""


@dataclass(frozen=True, slots=True)
class CellHead:
    """One column of the heat map."""

    calibset: str
    method: str
    status: str
    label: str
    """Calibration set and method in one text."""
    caveat: str
    """What its verdicts have to be told with, if anything."""


@dataclass(frozen=True, slots=True)
class GroupHead:
    """Columns of the heat map that fold into one."""

    label: str
    cells: tuple[int, ...]
    """Their places among the columns."""
    method: str
    """What it is one of: ``"worst of 6"``, or the only method."""


@dataclass(frozen=True, slots=True)
class SliceHead:
    """One row of the heat map."""

    name: str
    n: int
    thin: bool
    """Whether it lacks its minimum support."""


@dataclass(frozen=True, slots=True)
class MetricHead:
    """One metric one can look at."""

    name: str
    title: str
    unit: str
    """Of a drop as it is shown."""
    scale: float
    """Shown drop over stored drop: 100 for points."""
    convention: str
    gated: bool
    scored: str
    """What it scores, in the plural."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One comparison, as text and as what charts need."""

    drop: float | None
    """As shown: in points for a fraction."""
    low: float | None
    high: float | None
    gate: float | None
    verdict: str
    """``"PASS"``, ``"REGRESSED"``, ``"INCONCLUSIVE"``, these with `OF_CONTROL`, or empty where
    nothing is gated."""
    shade: str
    """CSS class of the heat map."""
    text: str
    interval: str
    caveat: str
    """Its engine's."""
    facts: tuple[str, ...]
    """FP32, engine, n, flips, adjusted p, samples needed; empty where there is none."""

    @property
    def gravity(self) -> tuple[int, float]:
        """Sort key, the worst first: by verdict, then by drop."""
        rank = grade(self.verdict.removesuffix(OF_CONTROL), self.caveat)
        return rank, math.inf if self.drop is None else -self.drop

    @property
    def mark(self) -> str:
        """The verdict as one character, in brackets for a control."""
        mark = MARK.get(self.verdict.removesuffix(OF_CONTROL), "")
        mark += SHORT if mark and self.caveat else ""
        return f"({mark})" if self.verdict.endswith(OF_CONTROL) else mark

    @property
    def word(self) -> str:
        """The verdict in one word, or with whose it is."""
        word = WORDS.get(self.verdict.removesuffix(OF_CONTROL), "not gated")
        word = f"{word} (control)" if self.verdict.endswith(OF_CONTROL) else word
        return with_caveat(word, self.caveat) if self.verdict else word


@dataclass(frozen=True, slots=True)
class PageView:
    """Rows, columns and entries of all comparisons of a report."""

    metrics: tuple[MetricHead, ...]
    cells: tuple[CellHead, ...]
    slices: tuple[SliceHead, ...]
    """`ALL` first, then as the headline metric is worst."""
    entries: Mapping[tuple[int, int, int], Entry]
    """(metric, slice, cell) → entry."""
    by_name: Mapping[tuple[str, str, str], Entry]
    """The same by the names of metric, slice and cell."""
    groups: tuple[GroupHead, ...]
    """All cells, folded where only draw and method set them apart."""
    level: str
    """Level of the intervals, such as ``"95 %"``; empty where they differ."""

    @property
    def folds(self) -> bool:
        """Whether folding leaves fewer columns."""
        return len(self.groups) < len(self.cells)

    def worst(self, metric: int, row: int, group: GroupHead) -> Entry | None:
        """The entry that stands for a group."""
        found = [self.entries.get((metric, row, cell)) for cell in group.cells]
        return min((each for each in found if each), key=lambda each: each.gravity, default=None)

    def spans(self) -> list[tuple[str, int]]:
        """Calibration sets over the columns, and how many columns each spans."""
        found: list[tuple[str, int]] = []
        for cell in self.cells:
            if found and found[-1][0] == cell.calibset:
                found[-1] = (cell.calibset, found[-1][1] + 1)
            else:
                found.append((cell.calibset, 1))
        return found

    def reference(self, metric: int, row: int) -> str:
        """FP32's score of a slice."""
        entry = self._measured(metric, row)
        return MISSING if entry is None else entry.facts[0]

    def units(self, metric: int, row: int) -> str:
        """How many units a slice has: of images others than of objects."""
        entry = self._measured(metric, row)
        return f"{self.slices[row].n:,}" if entry is None else entry.facts[2].split()[0]

    def shows(self, metric: int, row: int) -> bool:
        """Whether a slice has a row: the metric was measured on it, or on none."""
        measured = self._measured(metric, row) is not None
        return measured or all(known != metric for known, _, _ in self.entries)

    def _measured(self, metric: int, row: int) -> Entry | None:
        found = (self.entries.get((metric, row, column)) for column in range(len(self.cells)))
        return next((entry for entry in found if entry is not None), None)


def make_view(index: Index) -> PageView:
    """Everything of a report that the heat map and the chart of drops show."""
    report = index.report
    metrics = report.metrics
    slices = _ordered(index)
    place = {
        "metric": {metric.name: i for i, metric in enumerate(metrics)},
        "slice": {each.name: i for i, each in enumerate(slices)},
        "cell": {cell.id: i for i, cell in enumerate(report.cells)},
    }
    gated = {result.metric for result in index.gated}
    levels = {r.level for r in report.results if r.level is not None}
    by_name = {(r.metric, r.slice, r.cell): _entry(index, r) for r in report.results}
    return PageView(
        metrics=tuple(_metric(metric, metric.name in gated) for metric in metrics),
        cells=tuple(_cell(cell, report) for cell in report.cells),
        slices=tuple(SliceHead(visible(each.name), each.n, not each.support_ok) for each in slices),
        entries={
            (place["metric"][metric], place["slice"][name], place["cell"][cell]): entry
            for (metric, name, cell), entry in by_name.items()
        },
        by_name=by_name,
        groups=tuple(_group(each, place["cell"]) for each in engine_groups(index)),
        level=percent(levels.pop()) if len(levels) == 1 else "",
    )


def _ordered(index: Index) -> list[SliceRecord]:
    slices = index.report.slices
    first = index.worst_slices(index.report.metrics[0], slices) if index.report.metrics else []
    shown = {each.name for each in first}
    rest = [each for each in slices if each.name not in shown]
    return sorted([*first, *rest], key=lambda each: each.name != ALL)


def _metric(metric: MetricRecord, gated: bool) -> MetricHead:
    return MetricHead(
        metric.name,
        visible(metric.title),
        unit_name(metric),
        _scale(metric),
        visible(metric.convention),
        gated,
        plural(visible(metric.per)),
    )


def _scale(metric: MetricRecord) -> float:
    return 100.0 if metric.unit == "fraction" else 1.0


def _group(group: EngineGroup, places: Mapping[str, int]) -> GroupHead:
    count, first = len(group.cells), group.cells[0]
    return GroupHead(
        visible(group.label),
        tuple(places[cell.id] for cell in group.cells),
        visible(first.method or way_of(first)) if count == 1 else f"worst of {count}",
    )


def _cell(cell: CellRecord, report: Report) -> CellHead:
    calibset, method = (visible(part) for part in cell_parts(cell, report))
    return CellHead(calibset, method, cell.status, f"{calibset}, {method}", caveat(cell))


def _entry(index: Index, result: Result) -> Entry:
    metric = index.metrics[result.metric]
    scale = _scale(metric)

    def scaled(value: float | None) -> float | None:
        if value is None or not math.isfinite(scale * value):
            return None
        return float(f"{scale * value:.6g}")

    flips, needed = result.flips, result.n_needed
    return Entry(
        drop=scaled(result.drop),
        low=scaled(result.low),
        high=scaled(result.high),
        gate=scaled(result.gate.max_drop) if result.gate is not None else None,
        verdict=_verdict(index, result),
        shade=_shade(index.per_gate(result, result.drop)),
        text=difference(metric, result.drop),
        caveat=caveat(index.cells[result.cell]),
        interval=(
            ""
            if result.low is None
            else f"{between(metric, result.low, result.high)}{star(result)}"
        ),
        facts=(
            score(metric, result.reference),
            score(metric, result.candidate),
            units(result),
            "" if flips is None else f"{flips.lost:,} / {flips.gained:,}",
            "" if result.p_adjusted is None else f"{result.p_adjusted:.2g}",
            "" if needed is None else f"{needed:,}",
            remark(result),
        ),
    )


def _verdict(index: Index, result: Result) -> str:
    if result.gate is None:
        return ""
    return (result.verdict or "INCONCLUSIVE") + ("" if index.decides(result) else OF_CONTROL)


def _shade(in_gates: float) -> str:
    if in_gates >= 0:
        step = sum(in_gates >= edge for edge in LOSS_STEPS)
        return f"loss{step}" if step else ""
    step = sum(-in_gates >= edge for edge in LOSS_STEPS[:3])
    return f"gain{step}" if step else ""


def view_document(view: PageView) -> dict[str, Any]:
    """`view` as JSON values for the scripts: an entry is a list, in the order of its fields."""
    return {
        "metrics": [[m.name, m.title, m.unit, int(m.gated), m.scored] for m in view.metrics],
        "cells": [[cell.calibset, cell.method, cell.caveat] for cell in view.cells],
        "groups": [[each.label, list(each.cells), each.method] for each in view.groups],
        "slices": [[each.name, each.n, int(each.thin)] for each in view.slices],
        "level": view.level,
        "facts": list(FACTS),
        "entries": [
            [
                *key,
                entry.drop,
                entry.low,
                entry.high,
                entry.gate,
                entry.verdict,
                entry.shade,
                entry.text,
                entry.interval,
                list(entry.facts),
            ]
            for key, entry in view.entries.items()
        ],
    }
