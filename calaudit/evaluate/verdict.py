"""From comparisons to verdicts.

Rules, for a gate `max_drop` and a one-sided error α:

PASS
    The upper bound of the drop is below the gate, in a slice that isn't thin. Every slice passing
    is an intersection–union test, so no correction is due.
REGRESSED
    Not PASS, and the drop is above 0 (for agreement metrics: above the gate) by a one-sided test
    that survives Holm's correction over the gated slices of this cell and metric, and by its
    lower bound. A drop that is real but provably below the gate is a PASS.
    Also: the engine's output wasn't finite for a unit that FP32 scored.
INCONCLUSIVE
    Neither; `n_needed` says how many units would decide it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scipy.special import ndtri

from calaudit.evaluate.comparison import Comparison, MinSupport, Verdict
from calaudit.evaluate.power import units_to_prove
from calaudit.evaluate.statistics.holm import holm
from calaudit.evaluate.statistics.tango import tango_z

_BEYOND_REACH = 10**9
"""More units than this is no advice: the drop sits at the gate."""


def judge(
    comparisons: Sequence[Comparison],
    *,
    min_support: MinSupport | Mapping[str, MinSupport] | None = None,
) -> list[Comparison]:
    """Adjust p-values over the slices of each (cell, metric), and draw the verdicts.

    Give all named slices of a cell and metric at once: those with a gate are one family, so that
    slices that are only shown don't cost the gated ones power, and those without are another.
    `min_support` is that of every slice, or slice by slice.

    Returns
    -------
    list of Comparison
        In the order given, with `p_adjusted`, `verdict` and `n_needed` set. Without a gate the
        verdict stays None.
    """
    families: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for index, one in enumerate(comparisons):
        if one.p_value is not None:
            families[one.cell, one.metric.name, one.max_drop is None].append(index)
    adjusted: list[float | None] = [None] * len(comparisons)
    tests = [1] * len(comparisons)
    for members in families.values():
        values = holm([comparisons[index].p_value or 0.0 for index in members])
        for index, value in zip(members, values, strict=True):
            adjusted[index], tests[index] = float(value), len(members)
    return [
        _judged(replace(one, p_adjusted=p), _support(min_support, one), family)
        for one, p, family in zip(comparisons, adjusted, tests, strict=True)
    ]


def overall_verdict(comparisons: Iterable[Comparison]) -> Verdict:
    """REGRESSED if any is, else INCONCLUSIVE if any is, else PASS (also when nothing is gated)."""
    verdicts = {one.verdict for one in comparisons}
    for verdict in (Verdict.REGRESSED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS


def _support(given: MinSupport | Mapping[str, MinSupport] | None, one: Comparison) -> int:
    own = given[one.slice] if isinstance(given, Mapping) else given or MinSupport()
    return own.of(one.interval)


def _judged(one: Comparison, support: int, tests: int) -> Comparison:
    if one.max_drop is None:
        return one
    verdict = _verdict(one, support)
    needed = _n_needed(one, support, tests) if verdict is Verdict.INCONCLUSIVE else None
    return replace(one, verdict=verdict, n_needed=needed)


def _verdict(one: Comparison, support: int) -> Verdict:
    assert one.max_drop is not None
    if one.n_broken:
        return Verdict.REGRESSED
    proven = one.one_sided_high is not None and one.one_sided_high < one.max_drop
    if proven and one.n >= support:
        return Verdict.PASS
    # The test alone would call harm what an honest interval doesn't exclude: where few units
    # changed, its p-value rests on symmetry and the interval doesn't.
    bounded = one.one_sided_low is not None and one.one_sided_low > one.margin
    tested = one.p_adjusted is not None and one.p_adjusted < one.alpha
    if bounded and tested and not proven:
        return Verdict.REGRESSED
    return Verdict.INCONCLUSIVE


def _n_needed(one: Comparison, support: int, tests: int) -> int | None:
    """Units at which the same rates would PASS (drop below the gate) or be REGRESSED (above it).

    Bounds close in with 1/√n: the half-width times √(n/n′) must fit between drop and gate (or
    drop and margin, at the error α/tests that Holm leaves the first of `tests` slices). Tango's
    statistic grows with √n exactly, Clopper–Pearson's bound only roughly. Where not a unit
    changed, or there was none, the fewest units that could prove the gate.
    """
    assert one.max_drop is not None
    if one.n == 0 or one.drop is None or one.n_changed == 0:
        fewest = units_to_prove(one.metric, one.max_drop, alpha=one.alpha)
        return None if fewest is None else max(fewest, support)
    if one.drop < one.max_drop:
        factor, fewest = _growth(one, one.max_drop, one.one_sided_high, one.alpha), support
    else:
        factor, fewest = _growth(one, one.margin, one.one_sided_low, one.alpha / tests), 0
    if factor is None or factor * one.n >= _BEYOND_REACH:
        return None
    return max(one.n + 1, math.ceil(factor * one.n), fewest)


def _growth(one: Comparison, target: float, bound: float | None, alpha: float) -> float | None:
    """n′/n at which the bound of error `alpha` reaches `target`; None where it never does.

    `bound` is the bound of error ``one.alpha`` at the present n.
    """
    assert one.drop is not None
    if one.flips is not None:
        z = float(tango_z(one.flips.lost, one.flips.gained, one.n, target))
        return (float(ndtri(alpha)) / z) ** 2 if z != 0 else None
    gap = abs(target - one.drop)
    if bound is None or gap == 0:
        return None
    wider = float(ndtri(alpha) / ndtri(one.alpha))
    return ((bound - one.drop) / gap * wider) ** 2
