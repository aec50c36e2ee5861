"""Whose fault a harmed slice's drop is, in a sentence and in a table."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.faults import AttributionRecord, PartRecord
from calaudit.report.index import Index
from calaudit.report.records import ALL, MetricRecord
from calaudit.report.tables import Column, View, build_table, more
from calaudit.report.wording import (
    MISSING,
    amount,
    between,
    change_of_metric,
    difference,
    in_sentence,
    percent,
    quoted,
    unit_name,
)
from calaudit.visible import visible

FINDINGS = {
    "no-set-fixes": "no calibration set will fix this",
    "this-set": "this set does it",
    "redraw": "redraw and look again",
}


def attribution_sentence(index: Index, one: AttributionRecord) -> str:
    """What is to be done about a harmed slice; empty where it isn't harmed."""
    metric = index.metrics[one.metric]
    place = "over everything" if one.slice == ALL else f"on {visible(one.slice)}"
    method, recipe, best = visible(one.method), quoted(one.recipe), quoted(one.best)
    if one.finding == "no-set-fixes":
        return (
            f"No calibration set will fix this: {place}, {method} "
            f"{_loses(metric, one.price, one.level)} under the best of the sets, {best}, too."
        )
    if one.finding == "this-set":
        doubt = "" if one.luck is not None else "; one draw can't tell its recipe from its luck"
        return (
            f"This set does it: {place}, {method} calibrated on {recipe} "
            f"{_loses(metric, one.addition, one.level, ' more')} than calibrated on {best}{doubt}."
        )
    if one.finding == "redraw":
        why = "with one draw of each recipe, luck can't be told"
        if one.luck is not None:
            why = f"draws of one recipe differ by {amount(metric, one.luck.value or 0.0)}"
        return (
            f"Redraw and look again: {place}, {method} calibrated on {recipe} "
            f"{change_of_metric(metric, one.drop)}, but neither INT8 nor this set is proven to do "
            f"it; {why}."
        )
    return ""


def harmed_slices(index: Index, names: Collection[str]) -> list[AttributionRecord]:
    """Drops of harmed slices among `names`, the largest first."""
    found = [o for o in index.report.attribution if o.finding is not None and o.slice in names]
    return sorted(found, key=lambda one: -(one.drop or 0.0))


def fault_sentences(index: Index, harmed: Iterable[AttributionRecord]) -> list[str]:
    """What is to be done, once per slice, metric and recipe: of its methods the first tells it."""
    told: dict[tuple[str, str, str, str | None], AttributionRecord] = {}
    for one in harmed:
        told.setdefault((one.slice, one.metric, one.recipe, one.finding), one)
    return [attribution_sentence(index, one) for one in told.values()]


def attribution_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Harmed slices: drops in three parts, the largest first."""
    harmed = harmed_slices(index, {each.name for each in index.matching_slices(view.slices)})
    if not harmed:
        return
    shown = harmed[: view.limit]
    yield build_table(f"Whose fault{_note(index, shown)}", _columns(index, shown), width=width)
    yield Text("price: the best set's drop; addition: beyond it; luck: between draws", "dim")
    yield from more(len(harmed) - len(shown), "harmed slice")
    yield from map(Text, fault_sentences(index, shown)[:3])
    yield Text()


def _columns(index: Index, rows: Sequence[AttributionRecord]) -> list[Column]:
    metrics = [index.metrics[one.metric] for one in rows]
    pairs = list(zip(metrics, rows, strict=True))
    columns = [Column("slice", [Text(visible(one.slice)) for one in rows], 34, 16)]
    if len({one.metric for one in rows}) > 1:
        columns.append(Column("metric", [Text(visible(m.title)) for m in metrics], 20))
    return [
        *columns,
        Column("calibrated on", [Text(visible(one.recipe)) for one in rows], 24),
        Column("method", [Text(visible(one.method)) for one in rows], 16),
        Column("draws", [Text(str(one.draws)) for one in rows], optional=1),
        Column("drop", [Text(difference(m, one.drop)) for m, one in pairs]),
        Column("price", [Text(part_text(m, one.price)) for m, one in pairs]),
        Column("addition", [Text(part_text(m, one.addition)) for m, one in pairs]),
        Column("luck", [Text(part_text(m, one.luck)) for m, one in pairs], optional=2),
        Column("finding", [Text(FINDINGS[one.finding or "redraw"]) for one in rows], 32, 16),
    ]


def _note(index: Index, rows: Sequence[AttributionRecord]) -> str:
    units = {unit_name(index.metrics[one.metric]) for one in rows}
    unit = f", in {units.pop()}" if len(units) == 1 and all(units) else ""
    return f"{unit}, {percent(rows[0].level)} intervals"


def part_text(metric: MetricRecord, part: PartRecord | None) -> str:
    """A part with its interval in brackets."""
    if part is None:
        return MISSING
    return f"{difference(metric, part.value)} [{between(metric, part.low, part.high)}]"


def _loses(metric: MetricRecord, part: PartRecord, level: float, more: str = "") -> str:
    """``loses 4.2 points (95 % CI 3.0–5.4) more of top-1 accuracy``."""
    size = amount(metric, part.value or 0.0)
    told = f"{size} ({percent(level)} CI {between(metric, part.low, part.high)}){more}"
    name = in_sentence(metric)
    return f"loses {told} of {name}" if metric.higher_is_better else f"worsens {name} by {told}"
