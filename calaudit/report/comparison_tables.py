"""The terminal's comparisons: worst first, all metrics side by side, and matrices of drops."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.groups import EngineGroup, FoldedResult, engine_groups, folded
from calaudit.report.index import Index, cell_parts
from calaudit.report.precision import SHORT, caveat
from calaudit.report.remarks import remark, remarks, star
from calaudit.report.tables import (
    Column,
    View,
    build_table,
    build_tables,
    candidate_heading,
    has_column,
    legend,
    marked_drop,
    more,
    source_heading,
    support,
    verdict_style,
)
from calaudit.report.wording import MISSING, between, difference, percent, score, unit_name, units
from calaudit.results.audited import CellRecord, MetricRecord
from calaudit.results.comparison import ALL, Result
from calaudit.runtime.words import counted, visible

FEW_TABLES = 2
"""Tables of all metrics per slice and engine that are shown without being asked for."""

Row = tuple[str, MetricRecord]
"""A slice's name, and the metric whose drops the row holds."""


def worst_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Comparisons, worst first: the gated ones, and all of the headline metric.

    A row stands for all engines of a group, and tells of the worst; by method each has its own.
    """
    rows = _worst(index, view)
    if not rows:
        return
    shown = rows[: view.limit]
    folds = any(len(row.results) > 1 for row in shown)
    title = f"Worst slices first{_note(index, [row.worst for row in rows])}"
    table = build_table(title, _columns(index, shown), width=width)
    yield table
    told = [legend(index)]
    told += ["flips: lost/gained"] if has_column(table, "flips") else []
    told += ["needs n: to pass or to regress"] if has_column(table, "needs n") else []
    told += ["engines: those with this verdict; all else is of the worst"] if folds else []
    places = {each.name for each in index.matching_slices(view.slices)}
    told += remarks(r for r in index.report.results if r.slice in places)
    yield Text("; ".join(told), "dim")
    what = "finding" if folds else "comparison"
    yield from more(len(rows) - len(shown), what) if len(rows) > len(shown) else [Text()]


def _worst(index: Index, view: View) -> list[FoldedResult]:
    names = {each.name for each in index.matching_slices(view.slices)}
    headline = index.report.metrics[0].name if index.report.metrics else None
    found = [
        r
        for r in index.report.results
        if r.slice in names and (r.gate is not None or r.metric == headline)
    ]
    return folded(index, found, apart=view.by_method)


def _columns(index: Index, rows: Sequence[FoldedResult]) -> list[Column]:
    worst = [row.worst for row in rows]
    folds = any(len(row.results) > 1 for row in rows)

    def texts(write: Callable[[MetricRecord, Result], str]) -> list[Text]:
        return [Text(write(index.metrics[r.metric], r)) for r in worst]

    columns = [
        Column("slice", [Text(visible(r.slice)) for r in worst], 34, 16),
        Column("n", [Text(support(units(r), index.slices[r.slice])) for r in worst]),
    ]
    if len({r.metric for r in worst}) > 1:
        columns.append(Column("metric", texts(lambda m, _: visible(m.title)), 20))
    columns += [
        Column(source_heading(index), [Text(_calibset(index, row)) for row in rows], 24),
        Column("method", [Text(_method(index, row)) for row in rows], 16),
        *([Column("engines", [Text(row.engines()) for row in rows])] if folds else []),
        Column("FP32", texts(lambda m, r: score(m, r.reference)), optional=3),
        Column(candidate_heading(index), texts(lambda m, r: score(m, r.candidate)), optional=4),
        Column("drop", [_drops(index, row) for row in rows]),
        Column("interval", texts(_interval)),
    ]
    if any(r.flips is not None for r in worst):
        columns.append(Column("flips", texts(_flips), optional=1))
    verdicts = [Text(_verdict(index, r), verdict_style(index, r.worst) or "dim") for r in rows]
    columns.append(Column("verdict", verdicts, 14, optional=5))
    if any(r.n_needed is not None for r in worst):
        columns.append(Column("needs n", texts(_needed), optional=2))
    if any(map(remark, worst)):
        columns.append(Column("why", texts(lambda _, r: remark(r)), 24, optional=1))
    return columns


def _calibset(index: Index, row: FoldedResult) -> str:
    if len(row.results) > 1:
        return visible(row.group.label)
    return visible(cell_parts(index.cells[row.worst.cell], index.report)[0])


def _method(index: Index, row: FoldedResult) -> str:
    return visible(cell_parts(index.cells[row.worst.cell], index.report)[1])


def _drops(index: Index, row: FoldedResult) -> Text:
    metric = index.metrics[row.metric]
    ends = [row.worst] if row.best is row.worst else [row.worst, row.best]
    return Text(" … ").join(marked_drop(index, metric, each) for each in ends)


def _verdict(index: Index, row: FoldedResult) -> str:
    result = row.worst
    if not result.verdict or result.gate is None:
        return "not gated"
    verdict = result.verdict + (f" {SHORT}" if caveat(index.cells[result.cell]) else "")
    return verdict if index.decides(result) else f"({verdict})"


def _interval(metric: MetricRecord, result: Result) -> str:
    if result.low is None:
        return MISSING
    return f"{between(metric, result.low, result.high)}{star(result)}"


def _flips(_: MetricRecord, result: Result) -> str:
    flips = result.flips
    return MISSING if flips is None else f"{flips.lost}/{flips.gained}"


def _needed(_: MetricRecord, result: Result) -> str:
    return "" if result.n_needed is None else f"{result.n_needed:,}"


def _note(index: Index, rows: Sequence[Result]) -> str:
    levels = {r.level for r in rows if r.level is not None}
    units = {unit_name(index.metrics[r.metric]) for r in rows}
    unit = f", drop in {units.pop()}" if len(units) == 1 and all(units) else ""
    level = f", {percent(levels.pop())} intervals of each alone" if len(levels) == 1 else ""
    return f"{unit}{level}"


def metric_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Every metric per slice and engine: the engine's value and the drop.

    Left out where that takes more tables than :data:`FEW_TABLES`, unless the view has no limit.
    """
    metrics = index.report.metrics
    names = {each.name for each in index.matching_slices(view.slices)}
    worst = [result for row in _worst(index, view) for result in row.results]
    listed = [*worst, *(r for r in index.report.results if r.slice in names)]
    keys = list(dict.fromkeys((r.slice, r.cell) for r in listed))
    if len(metrics) < 2 or not keys:
        return
    shown = keys[: view.limit]
    tables = list(_metric_tables(index, shown, width))
    if view.limit is not None and len(tables) > FEW_TABLES:
        told = (
            f"All {counted(len(metrics), 'metric')} per slice and engine: calaudit "
            "report show --all"
        )
        yield Text(told, "dim")
        yield Text()
        return
    yield from tables
    yield from more(len(keys) - len(shown), "row")


def _metric_tables(
    index: Index, keys: Sequence[tuple[str, str]], width: int
) -> Iterator[RenderableType]:
    metrics = index.report.metrics
    parts = [cell_parts(index.cells[cell], index.report) for _, cell in keys]
    fixed = [
        Column("slice", [Text(visible(name)) for name, _ in keys], 34, 16),
        Column(source_heading(index), [Text(visible(calibset)) for calibset, _ in parts], 24),
        Column("method", [Text(visible(method)) for _, method in parts], 16),
    ]
    of_each = any(metric.unit != "fraction" for metric in metrics)
    numbers = [
        Column(_heading(metric, of_each), [_value(index, key, metric) for key in keys])
        for metric in metrics
    ]
    points = "" if of_each else " in points"
    title = f"Every metric: {candidate_heading(index)} (drop{points})"
    return build_tables(title, fixed, numbers, width=width)


def _heading(metric: MetricRecord, of_each: bool) -> str:
    """With the unit `of_each` metric where they have several; a fraction's drop is in points."""
    if metric.unit == "fraction":
        return f"{visible(metric.title)}{' (points)' if of_each else ''}"
    unit = unit_name(metric)
    return f"{visible(metric.title)}{f', {unit}' if unit else ''}"


def _value(index: Index, key: tuple[str, str], metric: MetricRecord) -> Text:
    name, cell = key
    result = index.results.get((cell, name, metric.name))
    if result is None:
        return Text(MISSING)
    drop = difference(metric, result.drop)
    return Text(f"{score(metric, result.candidate)} ({drop})", verdict_style(index, result))


def drop_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """The headline metric per slice: one matrix over the methods, or one per method.

    Below it the first metric that scores objects, where there are slices of objects.
    """
    if len(index.report.cells) < 2:
        return
    for metric in index.leading:
        yield from _drop_matrices(index, metric, view, width)


def _drop_matrices(
    index: Index, metric: MetricRecord, view: View, width: int
) -> Iterator[RenderableType]:
    slices = index.worst_slices(metric, index.matching_slices(view.slices))
    if not slices:
        return
    shown = slices[: view.limit]
    fixed = [
        Column("slice", [Text(visible(each.name)) for each in shown], 34, 16),
        Column("n", [Text(support(f"{index.n_in(each, metric):,}", each)) for each in shown]),
    ]
    rows = [(each.name, metric) for each in shown]
    unit = unit_name(metric)
    what = f"Drop of {visible(metric.title)}{f' in {unit}' if unit else ''}"
    for title, sets in _groups(index, view, what):
        yield from _matrix(index, rows, sets, fixed, title=title, width=width)
    yield from more(len(slices) - len(shown), "slice")


def metric_matrices(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Every metric overall: one matrix over the methods, or one per method."""
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
    for title, sets in _groups(index, view, "Overall drops"):
        yield from _matrix(index, rows, sets, fixed, title=title, width=width)


def _groups(
    index: Index, view: View, what: str
) -> Iterator[tuple[str, dict[str, list[CellRecord]]]]:
    """Titles, and what the columns below them are called: the cells whose drops each tells."""
    if not view.by_method:
        groups = engine_groups(index)
        named = {group.label: list(group.cells) for group in groups}
        yield f"{what}{_between(groups)}", named
        return
    methods: dict[str, dict[str, list[CellRecord]]] = {}
    for cell in index.report.cells:
        calibset, method = cell_parts(cell, index.report)
        methods.setdefault(method, {}).setdefault(calibset, []).append(cell)
    for name, sets in methods.items():
        yield f"{what}, {visible(name)}", sets


def _between(groups: Sequence[EngineGroup]) -> str:
    """What the ends of a column's drops lie between."""
    methods = any(len({cell.method for cell in group.cells}) > 1 for group in groups)
    draws = any(len({cell.calibset for cell in group.cells}) > 1 for group in groups)
    if not methods and not draws:
        return ""
    what = "engine" if methods and draws else "method" if methods else "draw"
    return f": worst … best {what}, as measured"


def _matrix(
    index: Index,
    rows: Sequence[Row],
    sets: Mapping[str, Sequence[CellRecord]],
    fixed: Sequence[Column],
    *,
    title: str,
    width: int,
) -> Iterator[RenderableType]:
    drops = [
        Column(visible(name), [_entry(index, row, members) for row in rows])
        for name, members in sets.items()
    ]
    cells = [cell for members in sets.values() for cell in members]
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
