"""The tables of the terminal report, as rich renderables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from calaudit.report.index import Index, cell_parts
from calaudit.report.records import ALL, CellRecord, MetricRecord, ResultRecord, SliceRecord
from calaudit.report.wording import (
    MISSING,
    between,
    difference,
    difference_unit,
    percent,
    score,
    visible,
)

T = TypeVar("T")

STYLE = {"REGRESSED": "bold red", "INCONCLUSIVE": "yellow", "PASS": "green"}
MARK = {"REGRESSED": "✗", "INCONCLUSIVE": "?", "PASS": "✓"}
LEGEND = "✗ regressed, ? inconclusive, ✓ passed, no mark: not gated"

NARROW = 100
"""Below this width the table leaves out flips and the samples needed."""
_NAME_WIDTH = 30
"""Columns a slice's name may take before it folds."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a report to show."""

    slices: str | None = None
    """Pattern of slice names; None: all."""
    limit: int | None = 15
    """Rows per table; None: all."""
    by_method: bool = False
    """One matrix per method, with intervals, instead of one over the methods."""


def worst_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Comparisons, worst first: the gated ones, and all of the headline metric."""
    rows = _listed(index, view)
    if not rows:
        return
    metrics = {r.metric for r in rows}
    shown = rows[: view.limit]
    table = _table(f"Worst slices first{_drop_note(index, rows)}")
    _name_column(table, "slice")
    table.add_column("n", justify="right", no_wrap=True)
    if len(metrics) > 1:
        table.add_column("metric", overflow="fold")
    table.add_column("calibrated on", overflow="fold", max_width=24)
    table.add_column("method", overflow="fold", max_width=16)
    for heading in ("FP32", _candidate_heading(index), "drop"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    if width >= NARROW:
        table.add_column("lost/gained", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if width >= NARROW:
        table.add_column("needs n", justify="right", no_wrap=True)
    for result in shown:
        table.add_row(*_worst_row(index, result, len(metrics) > 1, width >= NARROW))
    yield table
    yield from _more(len(rows) - len(shown), "comparison")


def _listed(index: Index, view: View) -> list[ResultRecord]:
    names = {each.name for each in index.matching_slices(view.slices)}
    headline = index.report.metrics[0].name if index.report.metrics else None
    return index.worst(
        r
        for r in index.report.results
        if r.slice in names and (r.gate is not None or r.metric == headline)
    )


def _worst_row(
    index: Index, result: ResultRecord, with_metric: bool, wide: bool
) -> Iterator[Text | str]:
    metric = index.metrics[result.metric]
    calibset, method = cell_parts(index.cells[result.cell], index.report)
    yield Text(visible(result.slice))
    yield f"{result.n:,}"
    if with_metric:
        yield Text(visible(metric.title))
    yield Text(visible(calibset))
    yield Text(visible(method))
    yield score(metric, result.reference)
    yield score(metric, result.candidate)
    yield Text(difference(metric, result.drop), _style(result))
    yield between(metric, result.low, result.high) if result.low is not None else MISSING
    if wide:
        flips = result.flips
        yield MISSING if flips is None else f"{flips.lost}/{flips.gained}"
    yield Text(result.verdict or "not gated", _style(result) or "dim")
    if wide:
        yield "" if result.n_needed is None else f"{result.n_needed:,}"


def drop_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Slices × calibration sets: drops of the headline metric."""
    if not index.report.metrics or len(index.report.cells) < 2:
        return
    metric = index.report.metrics[0]
    groups: dict[str, list[CellRecord]] = {}
    for cell in index.report.cells:
        name = cell_parts(cell, index.report)[1] if view.by_method else ""
        groups.setdefault(name, []).append(cell)
    rows = _matrix_slices(index, view, metric)
    if not rows:
        return
    shown = rows[: view.limit]
    several = not view.by_method and len({cell.method for cell in index.report.cells}) > 1
    what = ": worst … best method" if several else ""
    for name, cells in groups.items():
        of = f", {visible(name)}" if name else ""
        title = f"Drop of {visible(metric.title)}{of}, {difference_unit(metric)}{what}"
        sets = list(dict.fromkeys(cell_parts(cell, index.report)[0] for cell in cells))
        per_set = 24 if view.by_method else 15 if several else 10
        for part in _chunks(sets, max(1, (width - _NAME_WIDTH - 18) // per_set)):
            table = _table(title)
            _name_column(table, "slice")
            table.add_column("n", justify="right", no_wrap=True)
            table.add_column("FP32", justify="right", no_wrap=True)
            for each in part:
                table.add_column(Text(visible(each)), justify="right", overflow="fold")
            for row in shown:
                values = [_matrix_entry(index, row, metric, cells, each, view) for each in part]
                reference = _reference(index, row, metric, cells)
                table.add_row(Text(visible(row.name)), f"{row.n:,}", reference, *values)
            yield table
    yield Text(LEGEND, "dim")
    yield from _more(len(rows) - len(shown), "slice")


def _matrix_slices(index: Index, view: View, metric: MetricRecord) -> list[SliceRecord]:
    """The slice of everything first, the others by their worst cell."""
    order = {
        r.slice: i
        for i, r in reversed(
            list(enumerate(index.worst(r for r in index.report.results if r.metric == metric.name)))
        )
    }
    found = [each for each in index.matching_slices(view.slices) if each.name in order]
    return sorted(found, key=lambda each: (each.name != ALL, order[each.name]))


def _matrix_entry(
    index: Index,
    row: SliceRecord,
    metric: MetricRecord,
    cells: Iterable[CellRecord],
    calibset: str,
    view: View,
) -> Text:
    found = [
        result
        for cell in cells
        if cell_parts(cell, index.report)[0] == calibset
        and (result := index.results.get((cell.id, row.name, metric.name))) is not None
    ]
    ordered = sorted(found, key=lambda r: -(r.drop if r.drop is not None else float("-inf")))
    if not ordered:
        return Text(MISSING)
    if view.by_method:
        return Text(" ").join(_marked(metric, r, interval=True) for r in ordered)
    ends = ordered if len(ordered) == 1 else [ordered[0], ordered[-1]]
    return Text(" … ").join(_marked(metric, r) for r in ends)


def _marked(metric: MetricRecord, result: ResultRecord, *, interval: bool = False) -> Text:
    text = difference(metric, result.drop)
    if interval and result.low is not None:
        text += f" [{between(metric, result.low, result.high)}]"
    mark = MARK[result.verdict] if result.verdict and result.gate is not None else ""
    return Text(f"{text}{mark}", _style(result))


def _reference(
    index: Index, row: SliceRecord, metric: MetricRecord, cells: Iterable[CellRecord]
) -> str:
    for cell in cells:
        result = index.results.get((cell.id, row.name, metric.name))
        if result is not None:
            return score(metric, result.reference)
    return MISSING


def metric_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Every metric side by side: FP32 → engine and the drop, per slice and engine."""
    metrics = index.report.metrics
    if len(metrics) < 2:
        return
    order = list(
        dict.fromkeys((r.slice, r.cell) for r in [*_listed(index, view), *_all_listed(index, view)])
    )
    shown = order[: view.limit]
    fixed = _NAME_WIDTH + 40
    for part in _chunks(metrics, max(1, (width - fixed) // 20)):
        table = _table(f"Every metric: FP32 → {_candidate_heading(index)} (drop)")
        _name_column(table, "slice")
        table.add_column("calibrated on", overflow="fold", max_width=20)
        table.add_column("method", overflow="fold", max_width=12)
        for metric in part:
            unit = difference_unit(metric)
            table.add_column(Text(f"{visible(metric.title)}, {unit}"), justify="right")
        for name, cell in shown:
            parts = cell_parts(index.cells[cell], index.report)
            table.add_row(
                Text(visible(name)),
                *(Text(visible(each)) for each in parts),
                *(_side(index, cell, name, metric) for metric in part),
            )
        yield table
    yield from _more(len(order) - len(shown), "row")


def _all_listed(index: Index, view: View) -> list[ResultRecord]:
    names = {each.name for each in index.matching_slices(view.slices)}
    return [r for r in index.report.results if r.slice in names]


def _side(index: Index, cell: str, name: str, metric: MetricRecord) -> Text:
    result = index.results.get((cell, name, metric.name))
    if result is None:
        return Text(MISSING)
    values = f"{score(metric, result.reference)}→{score(metric, result.candidate)}"
    return Text(f"{values} ({difference(metric, result.drop)})", _style(result))


def _table(title: str) -> Table:
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _name_column(table: Table, heading: str) -> None:
    table.add_column(heading, overflow="fold", max_width=_NAME_WIDTH)


def _style(result: ResultRecord) -> str:
    return STYLE[result.verdict] if result.verdict and result.gate is not None else ""


def _candidate_heading(index: Index) -> str:
    precisions = {cell.precision for cell in index.report.cells}
    return precisions.pop().upper() if len(precisions) == 1 else "engine"


def _drop_note(index: Index, rows: Sequence[ResultRecord]) -> str:
    levels = {r.level for r in rows if r.level is not None}
    units = {difference_unit(index.metrics[r.metric]) for r in rows}
    unit = f", drop in {units.pop()}" if len(units) == 1 else ""
    level = f", {percent(levels.pop())} intervals" if len(levels) == 1 else ""
    return f"{unit}{level}"


def _more(rest: int, what: str) -> Iterator[Text]:
    if rest > 0:
        yield Text(
            f"… and {rest:,} more {what}{'' if rest == 1 else 's'} (--all shows them)", "dim"
        )
    yield Text()


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
