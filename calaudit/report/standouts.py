"""Slices that stand out: the worst one of each metric, and what screening lists."""

from collections.abc import Collection, Iterator

from rich.text import Text

from calaudit.report.index import Index, cell_parts
from calaudit.report.tables import View
from calaudit.report.wording import (
    amount,
    between,
    change,
    in_sentence,
    percent,
    quoted,
)
from calaudit.results.drops import Gap, Screened
from calaudit.runtime.words import visible


def clear_gaps(index: Index, names: Collection[str]) -> list[Gap]:
    """Per metric the largest gap that is no chance, of slices among `names`."""
    largest: dict[str, Gap] = {}
    for one in index.report.gaps:
        if one.slice not in names or one.gap.low is None or one.gap.low <= 0:
            continue
        known = largest.get(one.metric)
        if known is None or (one.gap.value or 0.0) > (known.gap.value or 0.0):
            largest[one.metric] = one
    return [largest[name] for name in index.metrics if name in largest]


def gap_sentence(index: Index, one: Gap) -> str:
    """How much more the worst slice loses than everyone outside it."""
    metric = index.metrics[one.metric]
    size = amount(metric, one.gap.value or 0.0)
    interval = f"{percent(one.level)} CI {between(metric, one.gap.low, one.gap.high)}"
    name = in_sentence(metric)
    more = f"loses {size} more of {name}"
    if not metric.higher_is_better:
        more = f"worsens {name} by {size} more"
    return (
        f"Worst of {one.n_slices:,} slices: on {visible(one.slice)}, {_engine(index, one.cell)} "
        f"{more} than outside it ({interval}, corrected for being the worst); as measured, it "
        f"{change(metric, one.drop)} there and {change(metric, one.rest)} outside."
    )


def screening_sentence(index: Index, screened: list[Screened]) -> str:
    """How many results without a gate lose more than chance explains; empty for none."""
    if not screened:
        return ""
    first = screened[0]
    some = "One comparison" if len(screened) == 1 else f"{len(screened):,} comparisons"
    loses = "loses" if len(screened) == 1 else "lose"
    surest = "it" if len(screened) == 1 else "the surest"
    return (
        f"{some} without a gate {loses} more than chance explains; {surest}: "
        f"{in_sentence(index.metrics[first.metric])} on {visible(first.slice)} under "
        f"{_engine(index, first.cell)}."
    )


def standout_lines(index: Index, view: View) -> Iterator[Text]:
    """Both, for a terminal."""
    names = {each.name for each in index.matching_slices(view.slices)}
    told = [gap_sentence(index, one) for one in clear_gaps(index, names)]
    screened = [one for one in index.report.screening if one.slice in names]
    told += [sentence for sentence in [screening_sentence(index, screened)] if sentence]
    yield from map(Text, told)
    if told:
        yield Text()


def _engine(index: Index, cell: str) -> str:
    record = index.cells[cell]
    calibset, method = map(quoted, cell_parts(record, index.report))
    return method if record.calibset is None else f"{calibset} with {method}"
