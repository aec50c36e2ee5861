"""How many units would decide an INCONCLUSIVE comparison."""

import math

from scipy.special import ndtri

from calaudit.evaluate.comparison import Comparison, MinSupport
from calaudit.evaluate.power import units_to_prove
from calaudit.evaluate.statistics.tango import tango_z

_BEYOND_REACH = 10**9
"""More units than this is no advice: the drop sits at the gate."""


def n_needed(one: Comparison, support: MinSupport, tests: int) -> int | None:
    """Units at which the same rates would PASS (drop below the gate) or be REGRESSED (above it).

    Bounds close in with 1/√n: the half-width times √(n/n′) must fit between drop and gate (or
    drop and margin, at the error α/tests that Holm leaves the first of `tests` slices). Tango's
    statistic grows with √n exactly, Clopper–Pearson's bound only roughly. Where not a unit
    changed, or there was none, the fewest units that could prove the gate. Clusters are taken to
    be as large as they are.

    Parameters
    ----------
    one : Comparison
        With a gate.
    support : MinSupport
        Of its slice.
    tests : int
        Gated slices of its cell and metric.
    """
    assert one.max_drop is not None
    least = support.of(one.interval)
    if one.n == 0 or one.drop is None or one.n_changed == 0:
        alone = units_to_prove(one.metric, one.max_drop, alpha=one.alpha)
        if alone is None:
            return None
        return max(math.ceil(alone * (one.design_effect or 1.0)), least)
    if one.drop < one.max_drop:
        factor, fewest = _growth(one, one.max_drop, one.one_sided_high, one.alpha), least
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
    if one.flips is not None and one.interval in {"tango", "tango-clustered"}:
        z = float(tango_z(one.flips.lost, one.flips.gained, one.n, target))
        return (float(ndtri(alpha)) / z) ** 2 * (one.design_effect or 1.0) if z != 0 else None
    gap = abs(target - one.drop)
    if bound is None or gap == 0:
        return None
    wider = float(ndtri(alpha) / ndtri(one.alpha))
    return ((bound - one.drop) / gap * wider) ** 2
