"""The matrix slices × calibration sets of the headline metric's drops."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index, cell_parts, variant
from calaudit.report.records import ALL, CellRecord, MetricRecord, SliceRecord
from calaudit.report.tables import (
    Column,
    View,
    build_tables,
    marked_drop,
    more,
    support,
)
from calaudit.report.wording import MISSING, score, unit_name, visible


def drop_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """One matrix over the methods, or one per method; cut into several where too wide."""
    if not index.report.metrics or len(index.report.cells) < 2:
        return
    metric = index.report.metrics[0]
    rows = _slices(index, view, metric)
    if not rows:
        return
    shown = rows[: view.limit]
    groups: dict[str, list[CellRecord]] = {}
    for cell in index.report.cells:
        name = cell_parts(cell, index.report)[1] if view.by_method else ""
        groups.setdefault(name, []).append(cell)
    for name, cells in groups.items():
        unit = unit_name(metric)
        title = f"Drop of {visible(metric.title)}{f' in {unit}' if unit else ''}"
        title += f", {visible(name)}" if name else _between_methods(cells)
        yield from _matrix(index, metric, shown, cells, title=title, width=width)
    yield from more(len(rows) - len(shown), "slice")


def _between_methods(cells: Sequence[CellRecord]) -> str:
    variants = {variant(cell) for cell in cells}
    if len(variants) == 1:
        return ""
    only_methods = len({each[1:] for each in variants}) == 1
    return f": worst … best {'method' if only_methods else 'engine'}"


def _slices(index: Index, view: View, metric: MetricRecord) -> list[SliceRecord]:
    """The slice of everything first, the others by their worst engine."""
    worst = index.worst(r for r in index.report.results if r.metric == metric.name)
    order = {name: i for i, name in enumerate(dict.fromkeys(r.slice for r in worst))}
    found = [each for each in index.matching_slices(view.slices) if each.name in order]
    return sorted(found, key=lambda each: (each.name != ALL, order[each.name]))


def _matrix(
    index: Index,
    metric: MetricRecord,
    rows: Sequence[SliceRecord],
    cells: Sequence[CellRecord],
    *,
    title: str,
    width: int,
) -> Iterator[RenderableType]:
    sets: dict[str, list[CellRecord]] = {}
    for cell in cells:
        sets.setdefault(cell_parts(cell, index.report)[0], []).append(cell)
    with_intervals = all(len(each) == 1 for each in sets.values())
    fixed = [
        Column("slice", [Text(visible(row.name)) for row in rows], 34, 20),
        Column("n", [Text(support(row.n, row)) for row in rows]),
        Column("FP32", [Text(_reference(index, row, metric, cells)) for row in rows]),
    ]
    drops = [
        Column(visible(name), [_entry(index, row, metric, members, with_intervals) for row in rows])
        for name, members in sets.items()
    ]
    yield from build_tables(title, fixed, drops, width=width)


def _entry(
    index: Index,
    row: SliceRecord,
    metric: MetricRecord,
    cells: Sequence[CellRecord],
    with_interval: bool,
) -> Text:
    """The drops of the worst and the best of `cells`, or of the only one."""
    found = [
        result
        for cell in cells
        if (result := index.results.get((cell.id, row.name, metric.name))) is not None
    ]
    if not found:
        return Text(MISSING)
    ordered = sorted(found, key=lambda r: float("inf") if r.drop is None else -r.drop)
    ends = ordered if len(ordered) == 1 else [ordered[0], ordered[-1]]
    return Text(" … ").join(marked_drop(metric, r, interval=with_interval) for r in ends)


def _reference(
    index: Index, row: SliceRecord, metric: MetricRecord, cells: Sequence[CellRecord]
) -> str:
    for cell in cells:
        result = index.results.get((cell.id, row.name, metric.name))
        if result is not None:
            return score(metric, result.reference)
    return MISSING
