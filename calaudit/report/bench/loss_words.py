"""The worst loss of an engine in words, as far as its intervals go."""

from calaudit.report.bench.losses import WorstLoss
from calaudit.report.index import Index
from calaudit.report.wording import (
    amount,
    between,
    broken_units,
    change_of_metric,
    difference,
    in_sentence,
    unit_name,
)
from calaudit.results.comparison import ALL, Result
from calaudit.runtime.words import visible


def loss_sentence(index: Index, loss: WorstLoss) -> str:
    """As part of a sentence.

    ``"loses 18.2 points of top-1 accuracy on noise ≥ 0.35 (15.1–21.0)"``, or ``"no slice surely
    loses, none more than 1.4 points of top-1 accuracy (noise ≥ 0.35)"``.
    """
    if loss.result is None:
        return "loses nothing, by definition"
    if loss.result.n_broken:
        return f"gives {broken_units(index, loss.result)} {_place(loss.result)}"
    if not loss.sure and loss.n > 1:
        return f"no slice surely loses{_bounded(index, loss)}"
    told = _told(index, loss.result, sure=loss.sure)
    return told if loss.bound in {loss.result, None} else f"{told}{_bounded(index, loss)}"


def _bounded(index: Index, loss: WorstLoss) -> str:
    """What no slice exceeds, and which slice sets that bound."""
    if loss.bound is None or loss.high is None:
        where = "" if loss.bound is None else f" {_place(loss.bound)}"
        return f", but nothing bounds the loss{where}"
    metric = index.metrics[loss.bound.metric]
    most = amount(metric, max(0.0, loss.bound.high or 0.0))
    where = "overall" if loss.bound.slice == ALL else visible(loss.bound.slice)
    return f", none more than {most} of {in_sentence(metric)} ({where})"


def _told(index: Index, result: Result, *, sure: bool) -> str:
    metric = index.metrics[result.metric]
    text = f"{change_of_metric(metric, result.drop)} {_place(result)}"
    low = lower_end(result)
    if low is None or result.high is None:
        return f"{text}, without an interval"
    doubt = "" if low > 0 or not sure else ", by its test"
    if not sure:
        doubt = ", not significant"
    return f"{text} ({between(metric, low, result.high)}{doubt})"


def loss_entry(index: Index, loss: WorstLoss) -> str:
    """As a table's entry; with the metric where several are gated. Empty for FP32 itself."""
    result = loss.result
    if result is None:
        return ""
    if result.n_broken:
        return f"non-finite outputs {_place(result)}"
    if not loss.sure and loss.bound is not None and loss.high is None:
        return f"nothing bounds it {_place(loss.bound)}"
    told = result if loss.sure or loss.bound is None else loss.bound
    metric = index.metrics[told.metric]
    unit = unit_name(metric)
    of = f" {unit}" if unit else ""
    gated = {r.metric for r in index.report.results if r.gate is not None}
    of += f" of {visible(metric.title)}" if len(gated) > 1 else ""
    if told is not result or not loss.sure:
        return f"at most {difference(metric, max(0.0, told.high or 0.0))}{of} {_place(told)}"
    low = lower_end(told)
    ends = "" if low is None or told.high is None else f" ({between(metric, low, told.high)})"
    return f"{difference(metric, told.drop)}{ends}{of} {_place(told)}"


def lower_end(result: Result) -> float | None:
    """The one that holds for whichever result is picked, where it is known."""
    return result.low if result.joint_low is None else result.joint_low


def _place(result: Result) -> str:
    return "overall" if result.slice == ALL else f"on {visible(result.slice)}"
