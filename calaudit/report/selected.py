"""Numbers that are told because they are the largest: with intervals that hold for that."""

from collections.abc import Sequence

from calaudit.report.index import Index
from calaudit.report.wording import between, broken_units, change_of_metric, percent
from calaudit.results.comparison import Result


def surest(index: Index, results: Sequence[Result]) -> Result:
    """The result with the largest loss that an interval vouches for; broken units come first.

    By the drop itself it would often be a thin slice's luck.
    """

    def vouched(result: Result) -> tuple[int, bool, float]:
        low = _low(result)
        return (
            result.n_broken,
            low is not None,
            index.per_gate(result, result.drop if low is None else low),
        )

    return max(results, key=vouched)


def proven(result: Result) -> bool:
    """Whether something is lost, though the result was picked as the worst of many."""
    return result.joint_low is not None and result.joint_low > 0


def lost(index: Index, result: Result) -> str:
    """``loses 6.1 points of top-1 accuracy (95 % CI 3.9–7.5, corrected for …)``.

    The interval is one that holds for whichever result is picked, or is said not to.
    """
    metric = index.metrics[result.metric]
    if result.n_broken:
        return f"gives {broken_units(result)}"
    text = change_of_metric(metric, result.drop)
    if result.low is None or result.high is None or result.level is None:
        return text
    level, among = percent(result.level), _picked_from(index, result)
    if among == 1:
        return f"{text} ({level} CI {between(metric, result.low, result.high)})"
    interval = between(metric, _low(result), result.high)
    held = "corrected" if result.joint_low is not None else "not corrected"
    tested = "" if result.joint_low is None or proven(result) else _tested(result)
    return f"{text} ({level} CI {interval}, {held} for being the surest of {among:,}{tested})"


def _tested(result: Result) -> str:
    """What called it a regression, where the interval for all at once is too wide to show it."""
    if result.verdict != "REGRESSED" or result.p_adjusted is None:
        return ""
    return f"; its test, corrected by Holm, has p = {result.p_adjusted:.2g}"


def bounds(index: Index, result: Result) -> str:
    """`` (0.4–2.0)``; empty without an interval."""
    if _low(result) is None or result.high is None:
        return ""
    return f" ({between(index.metrics[result.metric], _low(result), result.high)})"


def _low(result: Result) -> float | None:
    return result.low if result.joint_low is None else result.joint_low


def _picked_from(index: Index, result: Result) -> int:
    """Results that this one may have been picked from: its family's, as `joint_low` holds for."""
    control = result.cell in index.controls
    gated = any(r.gate is not None for r in index.report.results)
    headline = index.report.metrics[0].name
    return sum(
        (r.cell in index.controls) == control
        and (r.gate is not None if gated else r.metric == headline)
        for r in index.report.results
    )
