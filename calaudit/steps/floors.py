"""Floors: what FP32 itself must reach on a slice before an engine may pass there.

A drop is measured against FP32, so an engine of a model that is fed wrongly loses nothing. The
floor is held against FP32's value as it was measured, not against a bound: it asks whether the
model works on these samples at all, which a broken pipeline misses by far, and a bound would fail
thin slices of a model that works.
"""

from collections.abc import Iterable
from dataclasses import replace

from calaudit.evaluate.comparison import Comparison, Reason, Verdict
from calaudit.runtime.errors import Notice
from calaudit.steps.gates import SHOWN, Floors

_OPEN = frozenset({Verdict.PASS, Verdict.INCONCLUSIVE})


def below_floor(one: Comparison) -> bool:
    """Whether FP32 misses its floor; it does where its value isn't defined."""
    if one.min_reference is None:
        return False
    if one.reference is None:
        return True
    short = one.min_reference - one.reference
    return short > 0 if one.metric.higher_is_better else short < 0


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
        floored = replace(one, min_reference=floors.get((one.metric.name, one.slice)))
        nothing = one.metric.name in hopeless and floored.min_reference is None
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
            missed.setdefault(one.metric.name, {}).setdefault(one.slice, one)
    return [_notice(name, list(found.values())) for name, found in missed.items()]


def _notice(metric: str, found: list[Comparison]) -> Notice:
    told = ", ".join(
        f"{each.slice}: {'undefined' if each.reference is None else f'{each.reference:.4g}'} for "
        f"{each.min_reference:g}"
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
