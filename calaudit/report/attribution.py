"""Whose fault a harmed slice's drop is, in a sentence and in a table."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index
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
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL
from calaudit.results.drops import Attribution, Part
from calaudit.runtime.words import visible

FINDINGS = {
    ("no-set-fixes",): "no set tried here fixes this",
    ("this-set",): "this set does it",
    ("no-set-fixes", "this-set"): "this set does a part; no set tried here fixes the rest",
    ("redraw",): "redraw and look again",
    ("no-set-fixes", "redraw"): "no set tried here fixes this; redraw to tell this one's part",
}
"""Findings of a harmed slice → in a few words."""


LEGEND = (
    "price: the best set's drop; addition: beyond it; luck: between its draws; intervals account "
    "for the choice of the best set, not for that of the slice, findings for both"
)


def attribution_sentence(index: Index, one: Attribution) -> str:
    """What is certain about a harmed slice; empty where it isn't harmed."""
    metric = index.metrics[one.metric]
    place = "over everything" if one.slice == ALL else f"on {visible(one.slice)}"
    here = f"{place}, {visible(one.method)} calibrated on {quoted(one.recipe)}"
    more = f"{_loses(metric, one.addition, one.level, ' more')} than on the best other set tried"
    told: list[str] = []
    if "this-set" in one.findings:
        what = (
            "This set does a part of it" if "no-set-fixes" in one.findings else "This set does it"
        )
        told.append(f"{what}: {here} {more}.")
    if "no-set-fixes" in one.findings:
        told.append(_no_set_fixes(metric, one, place))
    if "redraw" in one.findings:
        told.append(f"Redraw and look again: {_redraw(metric, one, here, more)}.")
    return " ".join(told)


def _no_set_fixes(metric: MetricRecord, one: Attribution, place: str) -> str:
    text = (
        f"No calibration set tried here fixes it: {place}, {visible(one.method)} "
        f"{_loses(metric, one.price, one.level)} under the best of them, too"
    )
    if one.elsewhere is not None:
        method, price = visible(one.elsewhere.method), one.elsewhere.price
        text += f"; with {method} the best {_loses(metric, price, one.level)}"
    return f"{text}."


def _redraw(metric: MetricRecord, one: Attribution, here: str, more: str) -> str:
    alone = one.draws == 1 and not one.settled
    if alone and one.p_addition is not None and one.p_addition < (1 - one.level) / 2:
        which = "whether the recipe does it or the luck of its draw, one draw can't tell"
        return f"{here} {more}, as drawn; {which}"
    open_one = (
        f"{here} {change_of_metric(metric, one.drop)} as measured, but neither INT8 nor this set "
        "is proven to do it"
    )
    if one.luck is None:
        return open_one if one.settled else f"{open_one}; with one draw, luck can't be told"
    few = "; two draws hardly tell luck, three do better" if one.draws == 2 else ""
    return f"{open_one}; its draws differ by {amount(metric, one.luck.value or 0.0)}{few}"


def finding_text(one: Attribution) -> str:
    """The findings in a few words, for a table."""
    return FINDINGS.get(one.findings, ", ".join(one.findings))


def harmed_slices(index: Index, names: Collection[str]) -> list[Attribution]:
    """Drops of harmed slices among `names`, the largest first."""
    found = [o for o in index.report.attribution if o.findings and o.slice in names]
    return sorted(found, key=lambda one: -(one.drop or 0.0))


def fault_sentences(index: Index, harmed: Iterable[Attribution]) -> list[str]:
    """What is to be done, once per slice, metric and recipe: of its methods the first tells it."""
    told: dict[tuple[object, ...], Attribution] = {}
    for one in harmed:
        told.setdefault((one.slice, one.metric, one.recipe, one.findings), one)
    return [attribution_sentence(index, one) for one in told.values()]


def attribution_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Harmed slices: drops in three parts, the largest first."""
    harmed = harmed_slices(index, {each.name for each in index.matching_slices(view.slices)})
    if not harmed:
        return
    shown = harmed[: view.limit]
    yield build_table(f"Whose fault{_note(index, shown)}", _columns(index, shown), width=width)
    yield Text(LEGEND, "dim")
    yield from more(len(harmed) - len(shown), "harmed slice")
    yield from map(Text, fault_sentences(index, shown)[:3])
    yield Text()


def _columns(index: Index, rows: Sequence[Attribution]) -> list[Column]:
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
        Column("finding", [Text(finding_text(one)) for one in rows], 32, 16),
    ]


def _note(index: Index, rows: Sequence[Attribution]) -> str:
    units = {unit_name(index.metrics[one.metric]) for one in rows}
    unit = f", in {units.pop()}" if len(units) == 1 and all(units) else ""
    return f"{unit}, {percent(rows[0].level)} intervals"


def part_text(metric: MetricRecord, part: Part | None) -> str:
    """A part with its interval in brackets."""
    if part is None:
        return MISSING
    return f"{difference(metric, part.value)} [{between(metric, part.low, part.high)}]"


def _loses(metric: MetricRecord, part: Part, level: float, more: str = "") -> str:
    """``loses 4.2 points (95 % CI of this slice 3.0–5.4) more of top-1 accuracy``."""
    size = amount(metric, part.value or 0.0)
    interval = between(metric, part.low, part.high)
    told = f"{size} ({percent(level)} CI of this slice {interval}){more}"
    name = in_sentence(metric)
    return f"loses {told} of {name}" if metric.higher_is_better else f"worsens {name} by {told}"
