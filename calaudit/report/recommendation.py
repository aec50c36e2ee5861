"""A recommendation in words and rows: what to ship, what was considered, how far ranges can go."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calaudit.report.bench.float_cost import float_cost_lines
from calaudit.report.index import Index
from calaudit.report.wording import MINUS, MISSING, ROUNDING, difference, unit_name
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL
from calaudit.results.recommendation import (
    Gain,
    Option,
    RangeBound,
    Recommendation,
    Remedy,
    Shortage,
)
from calaudit.runtime.words import counted, first_of, plural, visible

TITLE = "Recommendation"
HEADINGS = ("considered", "remedy", "predicted harm", "worst on tuning rows", "of its gate", "")
"""Of the rows' entries: texts and numbers in turn."""
LEGEND = (
    "worst on tuning rows: where {worst}, with the drop there, drawn towards the engine's mean "
    "drop by as much as it may be noise"
)
_OF_GATE = "of its gate: that drop as a share of max_drop; ✗: isn't taken to keep its gates"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option; texts are to be shown as they are."""

    name: str
    remedy: str
    predicted: str
    """Harm to the slice that is harmed most."""
    worst: str
    """Metric, slice and shrunken drop on the tuning rows."""
    used: str
    """The same drop as a share of its gate."""
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
        yield _gain(index, gain, _plain(told))
    if told.float_macs:
        yield f"{100 * told.float_macs:.3g} % of its multiply-accumulates run in float"
    winner = next((one for one in told.options if one.cell == told.winner), None)
    if winner is not None:
        yield from float_cost_lines(index, told.winner, winner.float_ops)
    if told.bound is not None:
        yield _bound(told.bound, _plain(told))
    for one in told.collect[:_SHOWN]:
        yield _collect(index, one)
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
    drop = f"{_fine(metric, _shrunken(index, one))} {unit_name(metric)}".rstrip()
    return f"{visible(metric.title)}, {place}: {drop}"


def _shrunken(index: Index, one: Option) -> float | None:
    """The drop that `used` is the share of."""
    if one.used is None or one.holds is None:
        return one.used
    gates = (
        result.max_drop
        for result in index.report.results
        if result.max_drop is not None and (result.slice, result.metric) == (one.slice, one.metric)
    )
    gate = next(gates, None)
    return one.drop if gate is None else one.used * gate


def _used(one: Option) -> str:
    if one.used is None or one.holds is None:
        return MISSING
    share = f"{100 * abs(one.used):.0f}"
    return f"{MINUS if one.used < 0 and share != '0' else ''}{share} %{'' if one.holds else ' ✗'}"


def _fine(metric: MetricRecord, value: float | None) -> str:
    """As `difference`, but what isn't 0 neither looks like it nor loses its sign."""
    text = difference(metric, value)
    if value is None or metric.unit != "fraction" or abs(value) <= ROUNDING or text.strip("0."):
        return text
    return f"{MINUS if value < 0 else ''}{100 * abs(value):.1g}"


def _role(told: Recommendation, one: Option) -> str:
    if one.cell is None:
        return ""
    if one.cell == told.winner:
        return "winner"
    if one.cell == told.plain:
        return "plain set"
    return "rival" if one.cell in told.rivals else ""


def _plain(told: Recommendation) -> str:
    """What the winner is compared with: by name where the winner is of the same set."""
    if told.remedy is not Remedy.PLAIN_SET or told.winner == told.plain:
        return "the plain set"
    name = next((one.name for one in told.options if one.cell == told.plain), told.plain)
    return f"“{visible(name.replace('/', ' with '))}”"


def _gain(index: Index, gain: Gain, against: str) -> str:
    metric = index.metrics[gain.metric]
    place = "Overall" if gain.slice == ALL else f"On {visible(gain.slice)}"
    ends = _fine(metric, gain.gain.low), _fine(metric, gain.gain.high)
    saved = (" to " if MINUS in "".join(ends) or MISSING in ends else "–").join(ends)
    plain = f"{_fine(metric, gain.plain)} {unit_name(metric)}".rstrip()
    return (
        f"{place}, {visible(metric.title)}: {against} loses {plain}, this "
        f"{_fine(metric, gain.winner)}; gain {_fine(metric, gain.gain.value)} ({saved})"
    )


def _bound(bound: RangeBound, against: str) -> str:
    """How far ranges alone can go."""
    text = (
        f"Predicted harm to the worst slice: {bound.bound:.3g} at least by any ranges, "
        f"{bound.reached:.3g} reached"
    )
    if bound.best_set is not None and bound.best_set_harm is not None:
        text += f", {bound.best_set_harm:.3g} by the best set drawn ({visible(bound.best_set)})"
    if bound.plain_harm is not None:
        text += f", {bound.plain_harm:.3g} by {against}"
    names = [visible(each.slice) for each in bound.limits[:_SHOWN]]
    return f"{text}; limited by {first_of(names, len(bound.limits))}" if names else text


def _collect(index: Index, one: Shortage) -> str:
    place = "overall" if one.slice == ALL else f"of {visible(one.slice)}"
    several = plural(index.metrics[one.metric].per)
    needed = f"more {several}" if one.n_needed is None else f"about {one.n_needed:,} {several}"
    reason = f" ({visible(one.reason)})" if one.reason else ""
    return f"To decide {visible(one.metric)}: {needed} {place}; {one.n:,} are evaluated{reason}"


def legend_of(told: Recommendation) -> str:
    """What the columns of options are; empty where no engine was run."""
    if all(one.used is None for one in told.options):
        return ""
    gated = any(one.holds is not None for one in told.options)
    if not gated:
        return LEGEND.format(worst="the drop is largest")
    return f"{LEGEND.format(worst='most of a gate is used up')}; {_OF_GATE}"


def columns_of(rows: Sequence[OptionRow]) -> list[tuple[str, list[str]]]:
    """Heading and entries of each column; one without entries is left out."""
    columns = zip(HEADINGS, *(row.entries for row in rows), strict=True)
    return [(heading, entries) for heading, *entries in columns if any(entries)]
