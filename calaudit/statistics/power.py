"""Power: what a slice of a given size can prove, before anything is measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, ndtri

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.results.comparison import Verdict
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.bounds import clopper_pearson_upper
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.paired_proportions import mcnemar, tango_bound

Floats = NDArray[np.float64]

Influence = Callable[[float], float]
"""Of a set metric: n → the most that one of n units can move it."""

_MOST_UNITS = 10**9
_FEW_CHANGED = 20
_FAR = 7.0
"""Standard deviations beyond which a count isn't looked at: a chance of 1e-12."""

ANY_SIZE = MinSupport(counted=0, resampled=0, grouped=0, clusters=0)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one expects of an engine that does no harm.

    The default changes nothing at all: what no engine can beat.
    """

    flip_rate: float = 0.0
    """Share of units whose score changes, as many for the better as for the worse. Engines without
    any bias were seen to flip 2 to 16 % of the top-1 answers."""
    spread: float = 1.0
    """Root mean square of these changes, over the largest that is possible; 1 for flips."""
    power: float = 0.8
    """Chance to PASS that is asked for."""


HARMLESS = Expectation()


def smallest_provable_drop(
    metric: Metric,
    n: float,
    *,
    expected: Expectation = HARMLESS,
    alpha: float = 0.05,
    min_support: MinSupport | None = None,
    influence: Influence | None = None,
) -> float | None:
    """Smallest gate that a slice of `n` units PASSes with the power that is asked for.

    Binary: Tango's bound at the flips that are expected, z·√flips more of them lost than gained;
    without flips z²/(n + z²). Within 5 % of the exact distribution's from two expected flips on.
    Means of bounded scores: (z₁₋α + z_power)·spread·√flip_rate/√n of the bound, or
    Clopper–Pearson's where fewer than 20 units are expected to change, and never less than it is
    without a change. Set metrics: as means, with n times what one unit can move them as the bound.

    Parameters
    ----------
    metric : Metric
    n : float
        Units, or an effective number of them: clusters, where units of a cluster flip together.
    expected : Expectation
    alpha : float
        One-sided error of a PASS.
    min_support : MinSupport, optional
    influence : callable, optional
        Of a set metric: n → the most that one of n units can move it.

    Returns
    -------
    float or None
        In the metric's unit. None where the slice is too thin to PASS at all, or where nothing
        bounds the metric beforehand (unbounded scores, a set metric without `influence`).
    """
    if n <= 0 or n < (min_support or MinSupport()).counted:
        return None
    changed = n * expected.flip_rate
    excess = float(ndtri(expected.power)) * math.sqrt(changed)
    if metric.kind == "binary" and not changed:
        z2 = float(ndtri(alpha)) ** 2
        return z2 / (n + z2)
    if metric.kind == "binary":
        lost, gained = (changed + excess) / 2, max((changed - excess) / 2, 0.0)
        return float(tango_bound(lost, gained, n, 1.0 - alpha))
    span = metric.span if metric.kind != "set" else None
    if metric.kind == "set" and influence is not None:
        span = n * influence(n)
    if span is None or not math.isfinite(span):
        return None
    if changed < _FEW_CHANGED:
        return clopper_pearson_upper((changed + excess) / 2, n, alpha) * span
    reach = -float(ndtri(alpha)) + float(ndtri(expected.power))
    drop = reach * expected.spread * span * math.sqrt(expected.flip_rate / n)
    return max(drop, clopper_pearson_upper(0, n, alpha) * span)


def units_to_prove(
    metric: Metric,
    max_drop: float,
    *,
    expected: Expectation = HARMLESS,
    alpha: float = 0.05,
    influence: Influence | None = None,
) -> int | None:
    """Fewest units with which a gate PASSes with the power that is asked for.

    The inverse of `smallest_provable_drop`, without its minimum support: 268 for a binary metric,
    a gate of 0.01 and an engine that changes nothing. None where no number is enough.
    """

    def provable(n: int) -> float | None:
        return smallest_provable_drop(
            metric,
            n,
            expected=expected,
            alpha=alpha,
            min_support=ANY_SIZE,
            influence=influence,
        )

    if max_drop <= 0 or provable(1) is None:
        return None
    if expected.flip_rate == 0 and influence is None:
        return _units_without_flips(metric, max_drop, alpha)
    low, high = 0, 1
    while (drop := provable(high)) is not None and drop >= max_drop:
        low, high = high, 2 * high
        if high > _MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        drop = provable(middle)
        low, high = (low, middle) if drop is not None and drop < max_drop else (middle, high)
    return high


def verdict_chances(
    n: int,
    lost: float,
    gained: float,
    *,
    max_drop: float,
    alpha: float = 0.05,
    tests: int = 1,
    min_support: MinSupport | None = None,
) -> dict[Verdict, float]:
    """Chance of each verdict on a slice of a binary metric, by exact enumeration.

    Parameters
    ----------
    n : int
        Units, at least 1, that flip independently.
    lost, gained : float
        Chances of a unit to be good under FP32 only, and under the engine only.
    max_drop : float
        The gate.
    alpha : float
    tests : int
        Gated slices; the p-value must be below alpha/tests, as at Holm's first step, so that the
        chance of REGRESSED is what one harmed slice among harmless ones has.
    min_support : MinSupport, optional
    """
    flips, chance = _binomial(n, lost + gained)
    found = dict.fromkeys(Verdict, 0.0)
    thin = n < (min_support or MinSupport()).counted
    share = lost / (lost + gained) if lost > 0 else 0.0
    for k, of_flips in zip(flips.tolist(), chance.tolist(), strict=True):
        b, of_lost = _binomial(k, share)
        c = k - b
        high = tango_bound(b, c, n, 1.0 - alpha)
        low = tango_bound(b, c, n, alpha)
        proven = high < max_drop
        harmed = (mcnemar(b, c) * tests < alpha) & (low > 0) & ~proven
        weights = of_flips * of_lost
        found[Verdict.REGRESSED] += float(weights[harmed].sum())
        found[Verdict.PASS] += 0.0 if thin else float(weights[proven].sum())
    found[Verdict.INCONCLUSIVE] = 1.0 - found[Verdict.PASS] - found[Verdict.REGRESSED]
    return found


@dataclass(frozen=True, slots=True)
class SlicePower:
    """What one slice can prove of a right/wrong score."""

    n: int
    n_independent: float
    """Samples that are certain to be independent: a cluster may flip as a whole."""
    smallest_provable_drop: float | None
    """Smallest gate it PASSes with a chance of 80 %; None: it is too thin for any."""
    n_needed: int | None
    """Samples it needs for the gate, in clusters as large as its own; None: no number is enough."""

    @property
    def enough(self) -> bool:
        """Whether it holds as many as it needs."""
        return self.n_needed is not None and self.n >= self.n_needed


def slice_power(
    slices: SliceSet,
    max_drop: float,
    *,
    flip_rate: float,
    clusters: NDArray[np.int64] | None = None,
) -> dict[str, SlicePower]:
    """What every slice can prove.

    Parameters
    ----------
    slices : SliceSet
    max_drop : float
        The gate, in (0, 1).
    flip_rate : float
        Share of samples that a harmless engine flips.
    clusters : int64 (n_rows,), optional
        Samples of equal number count as one.
    """
    metric, expected = parse_metric("top1"), Expectation(flip_rate)
    alone = units_to_prove(metric, max_drop, expected=expected)
    found = {}
    for name, n in slices.counts().items():
        independent = float(n)
        if clusters is not None and n:
            held = np.bincount(clusters[slices.rows(name)]).astype(np.float64)
            independent = float(effective_blocks(held))
        support = MinSupport().at_least(slices.min_support(name))
        drop = smallest_provable_drop(metric, independent, expected=expected, min_support=support)
        per_unit = n / independent if independent else 1.0
        needed = None if alone is None else max(math.ceil(alone * per_unit), support.counted)
        found[name] = SlicePower(n, independent, drop, needed)
    return found


def _units_without_flips(metric: Metric, max_drop: float, alpha: float) -> int:
    share = max_drop / (metric.span or 1.0)
    if share >= 1:
        return 1
    if metric.kind == "binary":
        return math.floor(float(ndtri(alpha)) ** 2 * (1 - share) / share) + 1
    return math.floor(math.log(alpha) / math.log1p(-share)) + 1


def _binomial(n: int, p: float) -> tuple[NDArray[np.int64], Floats]:
    """Counts that have a chance worth looking at, and their chances."""
    spread = _FAR * math.sqrt(n * p * (1 - p)) + _FAR
    first, last = max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread))
    k = np.arange(first, last + 1)
    above = bdtrc(np.arange(first - 1, last + 1), n, p)
    return k, np.asarray(above[:-1] - above[1:], dtype=np.float64)
