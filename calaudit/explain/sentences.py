"""What an explanation says, in one or two sentences that claim no more than the experiments did."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from calaudit.explain.suspects import MINIMAX
from calaudit.report.index import Index
from calaudit.report.wording import (
    between,
    difference,
    engine_name,
    in_sentence,
    percent,
    unit_name,
)
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL
from calaudit.results.drops import Part
from calaudit.results.explanation import MOST_VALUES, Cause, Explanation, OpTrial, Suspect
from calaudit.runtime.words import counted, counted_units, plural, visible

_NAMED: Final = 3
"""Taps that a sentence names."""
_ALL_STEPS: Final = 127
_RECOMMENDED: Final = frozenset({Cause.OPS, Cause.OPS_IN_PART, Cause.WHOLE, Cause.NOTHING_FOUND})
"""Causes where exempting ops may help."""


@dataclass(frozen=True, slots=True)
class Told:
    """What sentences need beside an explanation without one."""

    index: Index
    one: Explanation
    n_taps: int
    reason: str = ""
    """Why nothing was tried."""
    elsewhere: str = ""
    """What the engine runs in, where experiments run in something else."""

    @property
    def metric(self) -> MetricRecord:
        """The metric's record."""
        return self.index.metrics[self.one.metric]

    @property
    def place(self) -> str:
        """``on light = clean``."""
        return "overall" if self.one.slice == ALL else f"on {visible(self.one.slice)}"

    @property
    def engine(self) -> str:
        """``dark with minmax``."""
        return engine_name(self.index, self.one.cell)


def sentence(told: Told) -> str:
    """The finding in words."""
    text = _SENTENCES[told.one.cause](told)
    if told.one.cause in _RECOMMENDED and told.one.cell not in told.index.controls:
        text += " calaudit recommend looks for the fewest ops to leave in float."
    if told.elsewhere:
        text += f" Experiments ran as Q/DQ in {told.one.backend}, the engine in {told.elsewhere}."
    return text


def _not_tried(told: Told) -> str:
    return f"No experiment was run on {told.engine} {told.place}: {told.reason}."


def _ranges(told: Told) -> str:
    one = told.one
    guilty = [each for name in one.taps for each in one.suspects if each.tap == name]
    shown = [_deed(each) for each in guilty[:_NAMED]]
    more = len(one.taps) - len(shown)
    if len(one.taps) == 1:
        text = f"{told.place}, the range of {_quoted(guilty[0].tap)} that {told.engine} has "
        text += f"({guilty[0].amax:.3g}) {_what(guilty[0])}"
    else:
        text = f"{told.place}, {told.engine} has {len(one.taps)} ranges that do harm: "
        text += ", ".join(shown) + (f" and {more} more" if more else "")
    those = "that" if len(one.taps) == 1 else "those"
    text = f"{_upper(text)}; with {those} of {_donor(told)}"
    if len(one.taps) == 1:
        text += f" ({guilty[0].donor:.3g})"
    text += f" {_is_left(told, one.left)}"
    if one.cause is Cause.RANGES_IN_PART:
        text += f", a part of the drop.{_best_ranges(told)}{_best_op(told)}"
        return text + _control(told)
    return f"{text}.{_control(told)}"


def _deed(suspect: Suspect) -> str:
    return f"that of {_quoted(suspect.tap)} ({suspect.amax:.3g}) {_what(suspect)}"


def _what(suspect: Suspect) -> str:
    """``clips 38 % of its values there``; or how few steps a range leaves."""
    if suspect.clipping >= 0.5:
        return f"clips {_share(suspect.clipped)} of its values"
    steps = f"{suspect.steps} of {_ALL_STEPS} steps"
    return f"leaves {steps} to {100 * MOST_VALUES:.0f} % of its values"


def _share(share: float) -> str:
    if share < 1e-4:
        return "less than 0.01 %"
    return f"{100 * share:.0f} %" if share > 0.1 else f"{100 * share:.2g} %"


def _donor(told: Told) -> str:
    """Whose ranges: of another engine, or made to do the worst slice least harm."""
    if told.one.donor == MINIMAX:
        return "the minimax table"
    return engine_name(told.index, str(told.one.donor))


def _is_left(told: Told, left: Part | None) -> str:
    """``0.3 of 32.1 points are left (95 % CI −0.5 to 1.2, on 64 tuning samples)``."""
    one, metric = told.one, told.metric
    whole = None if one.tuning is None else one.tuning.value
    of = f"{difference(metric, None if left is None else left.value)} of {_amount(metric, whole)}"
    return f"{of} are left ({_interval(told, left)}, on {_rows(told)})"


def _interval(told: Told, part: Part | None) -> str:
    if part is None:
        return "no interval"
    return f"{percent(told.one.level)} CI {between(told.metric, part.low, part.high)}"


def _amount(metric: MetricRecord, value: float | None) -> str:
    shown = f"{difference(metric, value)} {unit_name(metric)}".rstrip()
    return f"{shown} of {in_sentence(metric)}"


def _rows(told: Told) -> str:
    return counted(
        told.one.n_tuning, f"tuning {told.metric.per}", f"tuning {plural(told.metric.per)}"
    )


def _control(told: Told) -> str:
    """What all other taps do."""
    one = told.one
    rest = told.n_taps - len(one.taps)
    if one.others is None or not rest:
        return ""
    taps = "the other tap" if rest == 1 else f"all {rest} other taps"
    return f" With its ranges at {taps} instead, {difference(told.metric, one.others.value)} are."


def _ops(told: Told) -> str:
    one = told.one
    trial = next(each for each in one.trials if each.op in one.ops)
    part = ", in part," if one.cause is Cause.OPS_IN_PART else ""
    text = f"{_upper(told.place)}, {told.engine} loses{part} by {_op(trial)} in INT8: with it in "
    return f"{text}float, {_is_left(told, trial.left)}{_alone(told, trial)}.{_best_ranges(told)}"


def _alone(told: Told, trial: OpTrial) -> str:
    """``; alone in INT8 it costs 5.0 (95 % CI 2.0–8.0)``."""
    if trial.alone is None:
        return ""
    alone = difference(told.metric, trial.alone.value)
    return f"; alone in INT8 it costs {alone} ({_interval(told, trial.alone)})"


def _op(trial: OpTrial) -> str:
    return f"the {trial.op_type} {_quoted(trial.op)}"


def _best_ranges(told: Told) -> str:
    """What ranges do at best."""
    one = told.one
    if one.donor is None or not one.curve:
        return ""
    last = one.curve[-1].left
    return f" All ranges of {_donor(told)} leave {difference(told.metric, last.value)}."


def _best_op(told: Told) -> str:
    """What single ops do at best."""
    trial = _best_trial(told.one)
    if trial is None:
        return ""
    left = difference(told.metric, None if trial.left is None else trial.left.value)
    interval = _interval(told, trial.left)
    return (
        f" With {_op(trial)} in float instead, {left} are left ({interval}){_alone(told, trial)}."
    )


def _best_trial(one: Explanation) -> OpTrial | None:
    """The op that was found, or that leaves least."""
    known = [each for each in one.trials if each.left is not None and each.left.value is not None]
    named = [each for each in known if each.op in one.ops] or known
    return min(named, key=lambda each: _measured(each.left), default=None)


def _measured(part: Part | None) -> float:
    return inf if part is None or part.value is None else part.value


def _whole(told: Told) -> str:
    one = told.one
    return (
        f"{_upper(told.place)}, ranges take back the drop of {told.engine} only where many are "
        f"exchanged: those of {_donor(told)} have to be taken at {len(one.taps)} of {told.n_taps} "
        f"taps before {_is_left(told, one.left)}.{_best_op(told)}"
    )


def _nothing(told: Told) -> str:
    one = told.one
    text = (
        f"{_upper(told.place)}, nothing that was tried is shown to take back most of what "
        f"{told.engine} loses, "
        f"{_amount(told.metric, None if one.tuning is None else one.tuning.value)} on {_rows(told)}"
    )
    return f"{text}: {'; '.join([*_tried(told), *_untried(told)])}."


def _untried(told: Told) -> Iterator[str]:
    """What wasn't tried, and why."""
    if not told.one.curve:
        yield "no other ranges promise less harm, so none were tried at single taps"
    if not told.one.trials:
        yield "no product is left in INT8 that could be tried in float"


def _tried(told: Told) -> list[str]:
    """What ranges, and what single ops do at best."""
    one = told.one
    tried = []
    if one.donor is not None and one.curve:
        last = one.curve[-1].left
        tried.append(
            f"all ranges of {_donor(told)} leave {difference(told.metric, last.value)} "
            f"({_interval(told, last)})"
        )
    trial = _best_trial(one)
    if trial is not None:
        left = difference(told.metric, None if trial.left is None else trial.left.value)
        best = ", the best of the single ops that were tried," if len(one.trials) > 1 else ""
        tried.append(f"{_op(trial)} in float{best} leaves {left} ({_interval(told, trial.left)})")
    return tried


def _not_there(told: Told) -> str:
    one = told.one
    return (
        f"{_upper(told.place)}, {told.engine} loses {_amount(told.metric, one.measured.value)} on "
        f"the evaluated samples, but the tuning {plural(told.metric.per)} lose less: "
        f"{_value(told, one.tuning)}. They can't explain it."
    )


def _too_few(told: Told) -> str:
    one = told.one
    if not one.n_tuning:
        return (
            f"{_upper(told.place)} there is no tuning {told.metric.per}, so what {told.engine} "
            "loses there can't be explained: widen tune."
        )
    are, tried = "is" if one.n_tuning == 1 else "are", "; ".join(_tried(told))
    return (
        f"{_upper(told.place)}, {_rows(told)} {are} too few to tell what is behind the drop of "
        f"{told.engine}: {_value(told, one.tuning)} as measured on them"
        + (f". Of that, {tried}." if tried else ".")
    )


def _value(told: Told, part: Part | None) -> str:
    value = _amount(told.metric, None if part is None else part.value)
    return f"{value} ({_interval(told, part)}, {counted_units(told.one.n_tuning, told.metric.per)})"


def _quoted(tensor: str) -> str:
    return visible(tensor)


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


_SENTENCES: Final[Mapping[Cause, Callable[[Told], str]]] = {
    Cause.RANGES: _ranges,
    Cause.RANGES_IN_PART: _ranges,
    Cause.OPS: _ops,
    Cause.OPS_IN_PART: _ops,
    Cause.WHOLE: _whole,
    Cause.NOTHING_FOUND: _nothing,
    Cause.NOT_ON_TUNING_ROWS: _not_there,
    Cause.TOO_FEW_ROWS: _too_few,
    Cause.NOT_TRIED: _not_tried,
}
