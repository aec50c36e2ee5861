"""Gates: which slice is held to which drop, and what FP32 itself must reach there.

A drop is measured against FP32, so an engine of a model that is fed wrongly loses nothing. So a
floor is held against FP32's value as it was measured, not against a bound: it asks whether the
model works on these samples at all, which a broken pipeline misses by far, and a bound would fail
thin slices of a model that works.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import suggest_metric
from calaudit.results.comparison import ALL, Reason, Verdict
from calaudit.runtime.errors import Notice, SettingsError
from calaudit.runtime.words import first_of
from calaudit.slices.sliceset import SliceSet, match_slices
from calaudit.statistics.criteria import Comparison, Tolerance

NEAR_ZERO = 0.01
"""Share of what a gate allows overall, below which it allows next to nothing."""
SHOWN = 3
"""Slices that a notice lists."""
WILDCARDS = set("*?[")
Gates = Mapping[tuple[str, str], Tolerance]
"""(metric, slice) → largest drop allowed."""
Floors = Mapping[tuple[str, str], float]
"""(metric, slice) → the least FP32 must reach; the most, where lower is better."""

_OPEN = frozenset({Verdict.PASS, Verdict.INCONCLUSIVE})


@dataclass(frozen=True, slots=True)
class GateRule:
    """A gate as an audit writes it: `slices` may be a pattern."""

    metric: str
    slices: str
    tolerance: Tolerance
    where: str
    """Its place in the audit file."""
    min_reference: float | None = None
    """What FP32 must reach there: at least this, or at most, where lower is better."""


def resolve_gates(
    rules: Sequence[GateRule], slices: Mapping[Metric, SliceSet]
) -> dict[tuple[str, str], Tolerance]:
    """Which (metric, slice) is held to which drop.

    `slices` has every metric's, over the units that it scores.

    A gate that names one slice holds there, whatever patterns say; of several gates of one kind
    the strictest does. Their order doesn't matter. Patterns mean the slices that hold samples:
    one that nobody evaluated is in could only ever be inconclusive.

    Raises
    ------
    SettingsError
        A gate names a metric that the audit doesn't compute, or allows a drop that no engine
        could exceed.
    SliceError
        A gate's slices match nothing.
    """
    known = {metric.name: metric for metric in slices}
    by_pattern: dict[tuple[str, str], Tolerance] = {}
    by_name: dict[tuple[str, str], Tolerance] = {}
    for rule in rules:
        if rule.metric not in known:
            raise SettingsError(
                f"no task computes {rule.metric!r}",
                where=f"{rule.where}.metric",
                next_step=suggest_metric(rule.metric, list(slices)),
            )
        metric = known[rule.metric]
        _check_bounded(rule, metric)
        named, places = places_of(rule, slices[metric])
        kept = by_name if named else by_pattern
        for name in places:
            here = rule.metric, name
            kept[here] = rule.tolerance.stricter(kept.get(here, rule.tolerance))
    return by_pattern | by_name


def places_of(rule: GateRule, slices: SliceSet) -> tuple[bool, list[str]]:
    """Whether a gate names one slice, and the slices it holds on.

    Raises
    ------
    SliceError
        Its slices match nothing.
    """
    counts = slices.counts()
    matched = match_slices(rule.slices, slices.names, where=f"{rule.where}.slices")
    named = not WILDCARDS & set(rule.slices)
    return named, [name for name in matched if counts[name] or named]


def _check_bounded(rule: GateRule, metric: Metric) -> None:
    drop, share = rule.tolerance.max_drop, rule.tolerance.max_relative_drop
    if drop is not None and drop >= 1 and metric.unit == "fraction":
        raise SettingsError(
            f"max_drop = {drop:g} allows {metric} to lose everything",
            where=f"{rule.where}.max_drop",
            next_step="Give a fraction: 0.02 is two points.",
        )
    if share is not None and share >= 1 and metric.higher_is_better:
        raise SettingsError(
            f"max_relative_drop = {share:g} allows {metric} to lose everything",
            where=f"{rule.where}.max_relative_drop",
            next_step="Give a fraction: 0.05 is 5 % of what FP32 reaches.",
        )


def resolve_floors(
    rules: Sequence[GateRule], slices: Mapping[Metric, SliceSet]
) -> dict[tuple[str, str], float]:
    """Which (metric, slice) has which floor, by the precedence of :func:`resolve_gates`.

    Raises
    ------
    SettingsError
        A floor that no model can miss, or none reach.
    SliceError
        A gate's slices match nothing.
    """
    known = {metric.name: metric for metric in slices}
    by_pattern: dict[tuple[str, str], float | None] = {}
    by_name: dict[tuple[str, str], float | None] = {}
    for rule in rules:
        metric = known[rule.metric]
        _check_reachable(rule, metric)
        named, places = places_of(rule, slices[metric])
        kept = by_name if named else by_pattern
        for name in places:
            here = rule.metric, name
            kept[here] = _stricter(metric, kept.get(here), rule.min_reference)
    return {here: floor for here, floor in (by_pattern | by_name).items() if floor is not None}


def near_zero_notices(comparisons: Iterable[Comparison], gates: Gates) -> list[Notice]:
    """Slices on which a relative gate allows next to nothing, since FP32's value is next to 0.

    Any change fails such a gate, however little it means; once per gate.
    """
    comparisons = list(comparisons)
    overall = {one.metric: one.reference for one in comparisons if one.slice == ALL}
    found: dict[tuple[str, Tolerance], dict[str, Comparison]] = {}
    for one in comparisons:
        whole = overall.get(one.metric)
        if one.gate is None or one.gate.max_relative_drop is None or whole is None:
            continue
        tolerance = gates[one.metric, one.slice]
        if one.gate.max_drop < NEAR_ZERO * tolerance.of(whole):
            found.setdefault((one.metric, tolerance), {}).setdefault(one.slice, one)
    return [_near_zero(metric, list(each.values())) for (metric, _), each in found.items()]


def _near_zero(metric: str, found: Sequence[Comparison]) -> Notice:
    told = [f"{one.slice}: {one.max_drop:.3g} of {one.reference:.3g}" for one in found[:SHOWN]]
    slices = f"{len(found)} slice{'s' if len(found) > 1 else ''}"
    share = (found[0].gate.max_relative_drop if found[0].gate else None) or 0.0
    return Notice(
        "gate_near_zero",
        f"max_relative_drop = {share:g} allows next to nothing on {slices} "
        f"where FP32's value is next to 0 ({first_of(told, len(found))}): less than "
        f"{NEAR_ZERO:.0%} of what it allows overall, so that changes without meaning fail it. A "
        "gate that names such a slice holds there instead: give it max_drop; or gate other slices",
        f"metric {metric}",
    )


def _stricter(metric: Metric, one: float | None, other: float | None) -> float | None:
    given = [each for each in (one, other) if each is not None]
    strictest = max if metric.higher_is_better else min
    return strictest(given, default=None)


def _check_reachable(rule: GateRule, metric: Metric) -> None:
    floor = rule.min_reference
    if floor is None:
        return
    if metric.is_agreement:
        raise SettingsError(
            f"min_reference = {floor:g} has no effect: {metric} measures agreement with FP32",
            where=f"{rule.where}.min_reference",
            next_step="Give it to a gate on another metric.",
        )
    outside = floor <= 0 or (floor > 1 and metric.higher_is_better)
    if outside and metric.unit == "fraction":
        raise SettingsError(
            f"min_reference = {floor:g} asks FP32 for a {metric} that "
            f"{'no' if floor > 1 or not metric.higher_is_better else 'every'} model reaches",
            where=f"{rule.where}.min_reference",
            next_step="Give a fraction between 0 and 1, such as 0.5.",
        )


def below_floor(one: Comparison) -> bool:
    """Whether FP32 misses its floor; it does where its value isn't defined."""
    floor = None if one.gate is None else one.gate.min_reference
    if floor is None:
        return False
    if one.reference is None:
        return True
    short = floor - one.reference
    return short > 0 if one.by.higher_is_better else short < 0


def hold_to_floors(
    judged: Iterable[Comparison], floors: Floors, hopeless: frozenset[str] = frozenset()
) -> list[Comparison]:
    """The comparisons with their floors; where FP32 misses one, none passes.

    A regression stays one. What is inconclusive for its floor isn't decided by more samples.

    Parameters
    ----------
    judged : iterable of Comparison
    floors : mapping
        From `resolve_floors`.
    hopeless : set of str
        Metrics of which FP32 has no more than a baseline that ignores the input: nothing passes by
        them, unless a floor says what is enough.
    """
    held = []
    for one in judged:
        floor = floors.get((one.metric, one.slice))
        floored = one
        if one.gate is not None and floor != one.gate.min_reference:
            floored = replace(one, gate=replace(one.gate, min_reference=floor))
        nothing = one.metric in hopeless and floor is None
        if (nothing or below_floor(floored)) and one.verdict in _OPEN:
            floored = replace(
                floored,
                verdict=Verdict.INCONCLUSIVE,
                reason=Reason.REFERENCE_LOW,
                n_needed=None,
            )
        held.append(floored)
    return held


def floor_notices(comparisons: Iterable[Comparison]) -> list[Notice]:
    """Slices on which FP32 misses its floor, once per metric."""
    missed: dict[str, dict[str, Comparison]] = {}
    for one in comparisons:
        if below_floor(one):
            missed.setdefault(one.metric, {}).setdefault(one.slice, one)
    return [_notice(name, list(found.values())) for name, found in missed.items()]


def _notice(metric: str, found: list[Comparison]) -> Notice:
    told = [
        f"{each.slice}: {'undefined' if each.reference is None else f'{each.reference:.4g}'} for "
        f"{each.gate.min_reference if each.gate else 0:g}"
        for each in found[:SHOWN]
    ]
    return Notice(
        "reference_low",
        f"FP32 itself misses min_reference on {len(found)} slice{'s' if len(found) > 1 else ''} "
        f"({first_of(told, len(found))}), so no engine passes there; check the inputs with "
        "calaudit pool show, and at the labels",
        f"metric {metric}",
    )
