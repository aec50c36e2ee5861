"""Floors: what FP32 itself must reach on a slice before an engine may pass there.

A drop is measured against FP32, so an engine of a model that is fed wrongly loses nothing. The
floor is held against FP32's value as it was measured, not against a bound: it asks whether the
model works on these samples at all, which a broken pipeline misses by far, and a bound would fail
thin slices of a model that works.
"""

from collections.abc import Iterable
from dataclasses import replace

from calaudit.results.comparison import Reason, Verdict
from calaudit.runtime.errors import Notice
from calaudit.statistics.comparison import Comparison
from calaudit.steps.gates import SHOWN, Floors

_OPEN = frozenset({Verdict.PASS, Verdict.INCONCLUSIVE})


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
        Metrics of which FP32 has no more than who never looks at the input: nothing passes by
        them, unless a floor says what is enough.
    """
    held = []
    for one in judged:
        floor = floors.get((one.metric, one.slice))
        gate = None if one.gate is None else replace(one.gate, min_reference=floor)
        floored = replace(one, gate=gate)
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
    told = ", ".join(
        f"{each.slice}: {'undefined' if each.reference is None else f'{each.reference:.4g}'} for "
        f"{each.gate.min_reference if each.gate else 0:g}"
        for each in found[:SHOWN]
    )
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Notice(
        "reference_low",
        f"FP32 itself misses min_reference on {len(found)} slice{'s' if len(found) > 1 else ''} "
        f"({told}{more}), so no engine passes there; look at the inputs with calaudit pool show, "
        "and at the labels",
        f"metric {metric}",
    )
