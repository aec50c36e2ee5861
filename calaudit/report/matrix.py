"""Matrices of drops: slices × calibration sets, and metrics × calibration sets."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index, cell_parts, variant
from calaudit.report.tables import Column, View, build_tables, marked_drop, more, support
from calaudit.report.wording import MISSING, score, unit_name
from calaudit.results.audited import CellRecord, MetricRecord
from calaudit.results.comparison import ALL
from calaudit.runtime.words import visible

Row = tuple[str, MetricRecord]
"""A slice's name, and the metric whose drops the row holds."""


def drop_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """The headline metric per slice: one matrix over the methods, or one per method."""
    if not index.report.metrics or len(index.report.cells) < 2:
        return
    metric = index.report.metrics[0]
    slices = index.worst_slices(metric, index.matching_slices(view.slices))
    if not slices:
        return
    shown = slices[: view.limit]
    fixed = [
        Column("slice", [Text(visible(each.name)) for each in shown], 34, 16),
        Column("n", [Text(support(f"{each.n:,}", each)) for each in shown]),
    ]
    rows = [(each.name, metric) for each in shown]
    unit = unit_name(metric)
    what = f"Drop of {visible(metric.title)}{f' in {unit}' if unit else ''}"
    for title, cells in _groups(index, view, what):
        yield from _matrix(index, rows, cells, fixed, title=title, width=width)
    yield from more(len(slices) - len(shown), "slice")


def metric_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Every metric over everything: one matrix over the methods, or one per method."""
    metrics = index.report.metrics
    measured = {r.metric for r in index.report.results if r.slice == ALL}
    shown = [metric for metric in metrics if metric.name in measured]
    if len(metrics) < 2 or not shown:
        return
    fixed = [
        Column("metric", [Text(visible(metric.title)) for metric in shown], 34, 16),
        Column("unit", [Text(unit_name(metric)) for metric in shown], 12),
    ]
    rows = [(ALL, metric) for metric in shown]
    for title, cells in _groups(index, view, "Drops over everything"):
        yield from _matrix(index, rows, cells, fixed, title=title, width=width)


def _groups(index: Index, view: View, what: str) -> Iterator[tuple[str, list[CellRecord]]]:
    """Titles, and the cells whose drops are told below them."""
    groups: dict[str, list[CellRecord]] = {}
    for cell in index.report.cells:
        name = cell_parts(cell, index.report)[1] if view.by_method else ""
        groups.setdefault(name, []).append(cell)
    for name, cells in groups.items():
        yield f"{what}{f', {visible(name)}' if name else _between_methods(cells)}", cells


def _between_methods(cells: Sequence[CellRecord]) -> str:
    variants = {variant(cell) for cell in cells}
    if len(variants) == 1:
        return ""
    only_methods = len({each[1:] for each in variants}) == 1
    return f": worst … best {'method' if only_methods else 'engine'}, as measured"


def _matrix(
    index: Index,
    rows: Sequence[Row],
    cells: Sequence[CellRecord],
    fixed: Sequence[Column],
    *,
    title: str,
    width: int,
) -> Iterator[RenderableType]:
    sets: dict[str, list[CellRecord]] = {}
    for cell in cells:
        sets.setdefault(cell_parts(cell, index.report)[0], []).append(cell)
    drops = [
        Column(visible(name), [_entry(index, row, members) for row in rows])
        for name, members in sets.items()
    ]
    reference = Column("FP32", [Text(_reference(index, row, cells)) for row in rows])
    yield from build_tables(title, [*fixed, reference], drops, width=width)


def _entry(index: Index, row: Row, cells: Sequence[CellRecord]) -> Text:
    """The drops of the worst and the best of several cells, or that of one with its interval."""
    name, metric = row
    found = [
        result
        for cell in cells
        if (result := index.results.get((cell.id, name, metric.name))) is not None
    ]
    if not found:
        return Text(MISSING)
    if len(cells) == 1:
        return marked_drop(index, metric, found[0], interval=True)
    ordered = sorted(found, key=lambda r: float("inf") if r.drop is None else -r.drop)
    ends = ordered if len(ordered) == 1 else [ordered[0], ordered[-1]]
    return Text(" … ").join(marked_drop(index, metric, each) for each in ends)


def _reference(index: Index, row: Row, cells: Sequence[CellRecord]) -> str:
    name, metric = row
    for cell in cells:
        result = index.results.get((cell.id, name, metric.name))
        if result is not None:
            return score(metric, result.reference)
    return MISSING
