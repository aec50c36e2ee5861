"""How many units would decide an INCONCLUSIVE comparison."""

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, ndtr, ndtri, stdtrit

from calaudit.metrics.division import divide
from calaudit.statistics.criteria import Comparison, MinSupport
from calaudit.statistics.mean import FEW_CHANGED
from calaudit.statistics.paired_proportions import mcnemar, tango_z
from calaudit.statistics.power import units_to_prove

Floats = NDArray[np.float64]

_AIM = 0.87
"""Chance that is asked for of the approximation, so that a new sample's is about 80 %."""

_BEYOND_REACH = 10**9
"""More units than this are no advice."""
_SOBOL = Path(__file__).with_name("sobol.npy")
_LEAST = 1e-9
_STEP = 2.0**0.5


def n_needed(one: Comparison, support: MinSupport, tests: int) -> int | None:
    """Units that aim at a chance of 80 % for a new sample to be decided, PASS or REGRESSED.

    The true rates of change, or the true drop, are as uncertain as they were measured (D.
    Spiegelhalter, L. Freedman & P. Blackburn 1986: predictive power). New samples of them are
    simulated, and of each it is asked what will be asked of it: Tango's score at the gate and
    McNemar's test; or the bound of a mean with the skewness that it shows now, which fades with
    √n, a heavy tail, which fades with n, and what an unseen unit may lose; Holm's first step; the
    support, and the units that the gate needs even if none changes. Clusters are taken to be as
    large as they are.

    Parameters
    ----------
    one : Comparison
        With a gate.
    support : MinSupport
        Of its slice.
    tests : int
        Size of its family.

    Returns
    -------
    int or None
        None where no number of units would do, or nothing is known of how units change.
    """
    assert one.max_drop is not None
    if one.n == 0 or one.drop is None:
        alone = units_to_prove(one.by, one.max_drop, alpha=one.alpha)
        return None if alone is None else max(alone, support.counted)
    chance = _chances(one, support, tests)
    if chance is None or one.max_drop <= 0:
        return None
    low, high = one.n, one.n + 1
    while chance(high) < _AIM:
        low, high = high, math.ceil(high * _STEP)
        if high > _BEYOND_REACH:
            # Not one unit changed: that none will is all there is to hope for.
            return one.n_to_prove if one.n_changed == 0 else None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= _AIM else (middle, high)
    return high


def _chances(one: Comparison, support: MinSupport, tests: int) -> Callable[[int], float] | None:
    """Units → the chance that as many decide; None where nothing is known of how units change."""
    fewest = _fewest(one, support)
    if one.flips is not None and one.interval in {"tango", "tango-clustered"}:
        return lambda n: _of_flips(one, n, tests, may_pass=n >= fewest)
    if one.standard_error is None:
        return None
    if one.n_changed == 0:
        bounded = one.smallest_provable_drop is not None
        return (lambda n: _of_none(one, n, may_pass=n >= fewest)) if bounded else None
    return lambda n: _of_means(one, n, tests, may_pass=n >= fewest)


def least_units(one: Comparison, support: MinSupport, interval: str | None = None) -> float:
    """Units that the kind of its bound needs, as its own lie in clusters.

    Parameters
    ----------
    one : Comparison
    support : MinSupport
    interval : str, optional
        Another kind of bound than its own.
    """
    per_cluster = one.n / one.n_effective if one.n_clusters and one.n_effective else 1.0
    bounded = one.smallest_provable_drop is not None
    return support.of(interval or one.interval, per_cluster=per_cluster, bounded=bounded)


def _fewest(one: Comparison, support: MinSupport) -> float:
    """Units below which it can't PASS, whatever they show."""
    counted = one.interval in {"tango", "tango-clustered"} or one.n_changed == 0
    kind = "jackknife" if one.interval == "jackknife" or one.by.kind == "set" else "bootstrap-t"
    least = float(support.counted) if counted else least_units(one, support, kind)
    if one.n_clusters:
        least = max(least, support.clusters * one.n / one.n_clusters)
    if one.smallest_provable_drop is None:
        # Nothing bounds a score of which hardly a unit changes.
        return max(least, FEW_CHANGED * one.n / one.n_changed) if one.n_changed else math.inf
    if one.interval == "tango":
        return least
    return math.inf if one.n_to_prove is None else max(least, one.n_to_prove)


@lru_cache(maxsize=1)
def _points() -> Floats:
    """Standard normal numbers that fill their space evenly, (4, draws).

    Made from SciPy's ``qmc.Sobol(4, scramble=True, seed=0).random(draws)``, which is kept in a
    file: importing it takes as long as a tenth of an audit's statistics, and a later release may
    draw others.
    """
    cube = np.load(_SOBOL)
    return np.asarray(ndtri(np.clip(cube, 1e-12, 1 - 1e-12)).T, dtype=np.float64)


@lru_cache(maxsize=64)
def _rates(count: float, place: int) -> Floats:
    """Counts that are to be expected of as many units as `count` was seen in, (draws,).

    Gamma-distributed, by Jeffreys' prior.
    """
    return np.asarray(gammaincinv(count + 0.5, ndtr(_points()[place])), dtype=np.float64)


def _new_counts(counts: tuple[float, float], scale: float) -> list[Floats]:
    """What samples `scale` times as large count where these were counted, (draws,) each.

    Poisson, by the first terms of Cornish and Fisher's expansion.
    """
    found = []
    for place, count in enumerate(counts):
        rate, z = _rates(count, place) * scale, _points()[place + 2]
        found.append(np.maximum(np.rint(rate + z * np.sqrt(rate) + (z**2 - 1) / 6), 0.0))
    return found


def _of_flips(one: Comparison, n: int, tests: int, *, may_pass: bool) -> float:
    assert one.flips is not None
    assert one.max_drop is not None
    effect, freedom = one.design_effect or 1.0, None
    if one.n_clusters is not None:
        freedom = max((one.n_effective or 0.0) * (n / one.n) - 1.0, 1.0)
    counts = (one.flips.lost / effect, one.flips.gained / effect)
    gates = (one.alpha, one.max_drop, one.margin)
    return _of_counts(
        counts,
        n / one.n,
        independent=n / effect,
        freedom=freedom,
        gates=gates,
        tests=tests,
        may_pass=may_pass,
    )


@lru_cache(maxsize=4096)
def _of_counts(
    counts: tuple[float, float],
    scale: float,
    *,
    independent: float,
    freedom: float | None,
    gates: tuple[float, float, float],
    tests: int,
    may_pass: bool,
) -> float:
    """Of flips; kept, as small slices and few flips often count the same."""
    alpha, max_drop, margin = gates
    t = -float(ndtri(alpha) if freedom is None else stdtrit(freedom, alpha))
    lost, gained = _new_counts(counts, scale)
    gained = np.minimum(gained, independent)
    lost = np.minimum(lost, independent - gained)
    passes = may_pass & (tango_z(lost, gained, independent, max_drop) < -t)
    if margin == 0:
        z = divide(lost - gained, np.sqrt(lost + gained), 0.0)  # Tango's at 0
        p_value = mcnemar(np.rint(lost).astype(np.int64), np.rint(gained).astype(np.int64))
    else:
        z = tango_z(lost, gained, independent, margin)
        p_value = ndtr(-z)
    return float(np.mean(passes | ((p_value * tests < alpha) & (z > t))))


def _of_none(one: Comparison, n: int, *, may_pass: bool) -> float:
    """Of a bounded score of which not one unit changed: each that does may lose all it can."""
    assert one.max_drop is not None
    independent = (one.n_effective or one.n) * n / one.n
    share = _highest_share_of_none(n / one.n, independent, one.alpha)
    reach = _unseen(one, independent) / (1.0 - one.alpha ** (1.0 / independent))
    return float(np.mean(may_pass & (share * reach < one.max_drop)))


@lru_cache(maxsize=512)
def _highest_share_of_none(scale: float, independent: float, alpha: float) -> Floats:
    """Clopper and Pearson's upper bound of a share, in new samples where none was seen, (draws,).

    The same for all cells and metrics of a slice.
    """
    lost = np.minimum(_new_counts((0.0, 0.0), scale)[0], independent - _LEAST)
    counts, at = np.unique(lost, return_inverse=True)  # few: samples count whole units
    bounds = betaincinv(counts + 1.0, independent - counts, 1.0 - alpha)
    return np.asarray(bounds[at], dtype=np.float64)


def _of_means(one: Comparison, n: int, tests: int, *, may_pass: bool) -> float:
    """Of a mean, a ratio or a set metric."""
    assert one.max_drop is not None
    assert one.drop is not None
    assert one.standard_error is not None
    scale = n / one.n
    independent = (one.n_effective or one.n) * scale
    freedom = max(independent - 1.0, 1.0)
    t, first = (-float(stdtrit(freedom, tail)) for tail in (one.alpha, one.alpha / tests))
    error = one.standard_error / math.sqrt(scale)
    true = one.drop + one.standard_error * _points()[0]
    seen = true + error * _points()[1]
    above, below = _widths(one, t, scale)
    high = seen + above * error
    if one.smallest_provable_drop is not None:
        unseen = _unseen(one, independent) - (1.0 - one.alpha ** (1.0 / independent)) * seen
        if one.n_changed * scale < FEW_CHANGED:
            high = high + unseen
        elif one.by.kind != "set":
            high = np.maximum(high, seen + unseen)
    fails = (seen - one.margin > first * error) & (seen - below * error > one.margin)
    return float(np.mean((may_pass & (high < one.max_drop)) | fails))


def _unseen(one: Comparison, independent: float) -> float:
    """What `independent` units could certify if none changed; it was measured of as many as now."""
    assert one.smallest_provable_drop is not None
    assert one.n_effective is not None
    now, then = (1.0 - one.alpha ** (1.0 / n) for n in (one.n_effective, independent))
    return float(one.smallest_provable_drop * then / now)


def _widths(one: Comparison, t: float, scale: float) -> tuple[float, float]:
    """Standard errors from the drop to its one-sided ends, with `scale` times the units."""
    assert one.drop is not None
    assert one.standard_error is not None
    drop, plain, low = one.drop, one.plain_high, one.one_sided_low
    above = below = t
    if one.interval == "bootstrap-t" and one.standard_error > 0:
        if plain is not None:
            above += ((plain - drop) / one.standard_error - t) / math.sqrt(scale)
        if low is not None:
            below += ((drop - low) / one.standard_error - t) / math.sqrt(scale)
    if one.one_sided_high is not None and plain is not None and plain > drop:
        above *= max((one.one_sided_high - drop) / (plain - drop) / scale, 1.0)
    return above, below
