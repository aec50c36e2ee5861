"""A recommendation in words and rows: what to ship, what was considered, how far ranges can go."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calaudit.report.index import Index
from calaudit.report.wording import MISSING, amount, between, difference
from calaudit.results.comparison import ALL
from calaudit.results.recommendation import Gain, Option, RangeBound, Recommendation, Shortage
from calaudit.runtime.words import counted, first_of, visible

TITLE = "Recommendation"
HEADINGS = ("considered", "remedy", "predicted harm", "worst on tuning rows", "of its gate", "")
"""Of the rows' entries: texts and numbers in turn."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option; texts are to be shown as they are."""

    name: str
    remedy: str
    predicted: str
    """Harm to the slice that is harmed most."""
    worst: str
    """Slice and drop on the tuning rows."""
    used: str
    """Share of the gate used up there, after shrinkage."""
    role: str
    """``winner``, ``rival``, ``plain set``, or nothing."""

    @property
    def entries(self) -> tuple[str, ...]:
        """As `HEADINGS` has them."""
        return (self.name, self.remedy, self.predicted, self.worst, self.used, self.role)


def option_rows(index: Index, told: Recommendation) -> Iterator[OptionRow]:
    """What was considered, the cheapest remedy first; what wasn't run on tuning rows last."""
    for one in sorted(told.options, key=lambda one: one.used is None):
        yield OptionRow(
            name=visible(one.name),
            remedy=one.remedy,
            predicted=MISSING if one.predicted is None else f"{one.predicted:.3g}",
            worst=_worst(index, one),
            used=_used(one),
            role=_role(told, one),
        )


def recommendation_lines(index: Index, told: Recommendation) -> Iterator[str]:
    """The sentence, then what stands behind it, a line each."""
    yield told.sentence
    for gain in told.gains:
        yield _gain(index, gain)
    if told.float_macs:
        yield f"{100 * told.float_macs:.3g} % of its multiply-accumulates run in float"
    if told.bound is not None:
        yield _bound(told.bound)
    for one in told.collect[:_SHOWN]:
        yield _collect(one)
    tried = sum(one.used is not None for one in told.options)
    yield (
        f"Chosen on {counted(told.n_tuning, 'tuning row')} ({visible(told.tune)}), of "
        f"{counted(len(told.options), 'engine')}, {tried} of which were run there; judged on the "
        "evaluated samples, which played no part in choosing"
    )
    if told.untried:
        yield f"Not tried: {'; '.join(map(visible, told.untried))}"


def _worst(index: Index, one: Option) -> str:
    if one.slice is None or one.metric is None:
        return MISSING
    metric = index.metrics[one.metric]
    place = "overall" if one.slice == ALL else visible(one.slice)
    return f"{place}: {difference(metric, one.drop)}"


def _used(one: Option) -> str:
    if one.used is None or one.holds is None:
        return MISSING
    return f"{100 * max(one.used, 0.0):.0f} %{'' if one.holds else ' ✗'}"


def _role(told: Recommendation, one: Option) -> str:
    if one.cell is None:
        return ""
    if one.cell == told.winner:
        return "winner"
    if one.cell == told.plain:
        return "plain set"
    return "rival" if one.cell in told.rivals else ""


def _gain(index: Index, gain: Gain) -> str:
    metric = index.metrics[gain.metric]
    place = "Overall" if gain.slice == ALL else f"On {visible(gain.slice)}"
    saved = between(metric, gain.gain.low, gain.gain.high)
    plain = MISSING if gain.plain is None else amount(metric, gain.plain)
    return (
        f"{place}, {visible(metric.title)}: the plain set loses {plain}, this "
        f"{difference(metric, gain.winner)}; gain {difference(metric, gain.gain.value)} ({saved})"
    )


def _bound(bound: RangeBound) -> str:
    """How far ranges alone can go."""
    text = (
        f"Predicted harm to the worst slice: {bound.bound:.3g} at least by any ranges, "
        f"{bound.reached:.3g} reached"
    )
    if bound.best_set is not None and bound.best_set_harm is not None:
        text += f", {bound.best_set_harm:.3g} by the best set drawn ({visible(bound.best_set)})"
    if bound.plain_harm is not None:
        text += f", {bound.plain_harm:.3g} by the plain set"
    names = [visible(each.slice) for each in bound.limits[:_SHOWN]]
    return f"{text}; limited by {first_of(names, len(bound.limits))}" if names else text


def _collect(one: Shortage) -> str:
    place = "overall" if one.slice == ALL else f"of {visible(one.slice)}"
    needed = "more samples" if one.n_needed is None else f"about {one.n_needed:,} samples"
    reason = f" ({visible(one.reason)})" if one.reason else ""
    return f"To decide {visible(one.metric)}: {needed} {place}; {one.n:,} are evaluated{reason}"


def columns_of(rows: Sequence[OptionRow]) -> list[tuple[str, list[str]]]:
    """Heading and entries of each column; one without entries is left out."""
    columns = zip(HEADINGS, *(row.entries for row in rows), strict=True)
    return [(heading, entries) for heading, *entries in columns if any(entries)]
