"""Judge: scores of every cell against FP32's, slice by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calaudit.errors import SettingsError, near
from calaudit.evaluate import Comparison, Metric, MinSupport, compare, judge
from calaudit.progress import progress
from calaudit.slices import SliceSet, match_slices
from calaudit.steps.score import Scored


@dataclass(frozen=True, slots=True)
class GateRule:
    """A gate as an audit writes it: `slices` may be a pattern."""

    metric: str
    slices: str
    max_drop: float
    where: str
    """Its place in the audit file."""


WILDCARDS = set("*?[")

Gates = Mapping[tuple[str, str], float]
"""(metric, slice) → largest drop allowed."""


def resolve_gates(
    rules: Sequence[GateRule], metrics: Sequence[Metric], slices: SliceSet
) -> dict[tuple[str, str], float]:
    """Which (metric, slice) is held to which drop.

    A gate that names one slice holds there, whatever patterns say; of several gates of one kind
    the strictest does. Their order doesn't matter.

    Raises
    ------
    SettingsError
        A gate names a metric that the audit doesn't compute, or allows a drop that no engine
        could exceed.
    SliceError
        A gate's slices match nothing.
    """
    known = {metric.name: metric for metric in metrics}
    by_pattern: dict[tuple[str, str], float] = {}
    by_name: dict[tuple[str, str], float] = {}
    for rule in rules:
        if rule.metric not in known:
            raise SettingsError(
                f"no task computes {rule.metric!r}",
                where=f"{rule.where}.metric",
                next_step=near(rule.metric, known),
            )
        if known[rule.metric].unit == "fraction" and rule.max_drop >= 1:
            raise SettingsError(
                f"max_drop = {rule.max_drop:g} allows {rule.metric} to lose everything",
                where=f"{rule.where}.max_drop",
                next_step="Give a fraction: 0.02 is two points.",
            )
        kept = by_pattern if WILDCARDS & set(rule.slices) else by_name
        for name in match_slices(rule.slices, slices.names, where=f"{rule.where}.slices"):
            here = rule.metric, name
            kept[here] = min(rule.max_drop, kept.get(here, rule.max_drop))
    return by_pattern | by_name


def judge_cells(
    scored: Sequence[Scored], *, gates: Gates, level: float, seed: int
) -> list[Comparison]:
    """Compare every cell with FP32 by every metric on every slice, with verdicts.

    Parameters
    ----------
    scored : sequence of Scored
        Scores of every exam, from :func:`calaudit.steps.score.score_exams`.
    gates : mapping
        From :func:`resolve_gates`.
    level : float
        Two-sided level of the intervals.
    seed : int
        Of the bootstrap.
    """
    found: list[Comparison] = []
    for one in scored:
        slices = one.exam.slices
        units = {name: slices.rows(name) for name in slices.names}
        support = {name: slices.min_support(name) for name in slices.names}
        for metric in progress(
            one.exam.metrics, total=len(one.exam.metrics), what="statistics", unit="metric"
        ):
            own = {
                name: drop
                for (gated, name), drop in gates.items()
                if gated == metric.name and name in units
            }
            compared = compare(
                metric,
                one.reference[metric],
                {cell: scores[metric] for cell, scores in one.cells.items()},
                units,
                max_drop=own,
                seed=seed,
                level=level,
            )
            found += judge(
                compared,
                min_support={name: MinSupport().at_least(n) for name, n in support.items()},
            )
    return found
