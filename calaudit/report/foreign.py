"""Engines that somebody else made, in sentences: what they are, and what can't be known of them."""

from collections.abc import Sequence

from calaudit.report.index import Index
from calaudit.report.wording import change, clearest_loss, difference, quoted, unit_name
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import ALL, Result
from calaudit.results.foreign import ForeignRecord
from calaudit.runtime.words import visible


def foreign_sentences(index: Index) -> list[str]:
    """One per engine, in the report's order: who made it, and what is known of its set.

    Attribution tells of sets that were drawn here; these engines have none of them.
    """
    return [_sentence(index, cell, cell.foreign) for cell in index.report.cells if cell.foreign]


def _sentence(index: Index, cell: CellRecord, told: ForeignRecord) -> str:
    made = f" by {visible(told.maker)}" if told.maker else ""
    style = "" if cell.engine is None else visible(str(cell.engine.options.get("quantization", "")))
    what = f" ({style})" if style and style != "none" else ""
    return f"{quoted(told.name)} was made elsewhere{made}{what}: {_of_its_set(index, cell, told)}."


def _of_its_set(index: Index, cell: CellRecord, told: ForeignRecord) -> str:
    if cell.engine is not None and cell.engine.options.get("ranges") == "made anew":
        return (
            "its activations' ranges are made anew for each batch, so no calibration set has a "
            "part in what it loses"
        )
    if told.calibrated_on is None:
        return (
            "what it was calibrated on isn't known, so what it loses can't be attributed to a set"
        )
    name = quoted(told.calibrated_on)
    by_whom = "by the audit file, which nothing here can check"
    if told.names == "calibset":
        beside = _beside(index, cell, told.calibrated_on)
        return (
            f"calibrated on {name}, {by_whom}; what it loses isn't attributed to that set{beside}"
        )
    samples = f"samples of {name}" if told.names == "slice" else name
    return (
        f"calibrated on {samples}, {by_whom}; that set wasn't drawn here, so what it loses can't "
        "be attributed to it"
    )


def _beside(index: Index, cell: CellRecord, recipe: str) -> str:
    """What the audit's own engines of the set lose where this one loses most clearly."""
    own = [r for r in index.report.results if r.cell == cell.id and r.gate is not None]
    if not own:
        return ""
    worst = clearest_loss(index, own)
    others = [
        result
        for each in index.report.cells
        if each.calibset is not None
        and index.recipes.get(each.calibset) == recipe
        and each.backend == cell.backend
        and (result := index.results.get((each.id, worst.slice, worst.metric))) is not None
        and result.drop is not None
    ]
    return f"; {_compared(index, worst, others)}" if others and worst.drop is not None else ""


def _compared(index: Index, worst: Result, others: Sequence[Result]) -> str:
    metric = index.metrics[worst.metric]
    drops = sorted(each.drop or 0.0 for each in others)
    ends = [difference(metric, drop) for drop in (drops[0], drops[-1])]
    shown = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    unit = unit_name(metric)
    place = "overall" if worst.slice == ALL else f"on {visible(worst.slice)}"
    what = (
        "drop of the audit's own engine" if len(drops) == 1 else "drops of the audit's own engines"
    )
    return (
        f"as measured it {change(metric, worst.drop)}{f' {unit}' if unit else ''} {place}, where "
        f"the {what} of that set {'is' if len(drops) == 1 else 'are'} {shown}"
    )
