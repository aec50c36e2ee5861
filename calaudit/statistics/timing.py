"""What is said of times: percentiles, means and ratios with intervals that hold for dependent runs.

Runs of one round share what the machine did meanwhile (its clock, its other programs), so they are
a cluster, and the number of rounds limits what is known. Percentiles have intervals of order
statistics (H. David & H. Nagaraja (2003), Order Statistics, §7.1) with the runs counted as so many
independent ones as their spread between rounds amounts to, as in E. Korn & B. Graubard (1998),
Confidence intervals for proportions with small expected number of positive counts estimated from
survey data, Survey Methodology 24, 193–201. Ratios are of numbers of one round, where engines
follow one another, and are estimated on the logarithmic scale by Hodges and Lehmann's median of
pairwise means with the interval of Wilcoxon's signed-rank test (M. Hollander, D. Wolfe & E. Chicken
(2014), Nonparametric Statistical Methods, §3.2 and §3.3), which a few disturbed rounds don't move.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri, stdtrit

from calaudit.results.values import Estimate

Floats = NDArray[np.float64]

WINDOWS = 3
"""Windows of runs in a row without a faster one, after which times have stopped falling."""
FASTER = 0.02
"""Share by which a window's median has to fall to count as faster."""


def percentile(rounds: Sequence[Floats], q: float, level: float = 0.95) -> Estimate:
    """A percentile of all runs.

    Parameters
    ----------
    rounds : sequence of ndarray
        Times of each round's runs, (n_r,).
    q : float
        0.5 for the median.
    level : float
        Two-sided confidence level.

    Returns
    -------
    Estimate
        In the times' unit. An end is None where so few runs don't bound it: the 99th percentile
        has no upper bound at level .95 before 368 independent runs.
    """
    rounds = [np.asarray(each, np.float64) for each in rounds if len(each)]
    if not rounds:
        return Estimate(None)
    times = np.sort(np.concatenate(rounds))
    n = len(times)
    value = times[_rank(q, n) - 1]
    tail = (1 - level) / 2
    effective = _independent([each <= value for each in rounds], tail)
    # P(at least k of n below the percentile), for as many independent runs as these amount to
    k = np.arange(1, n + 1) * (effective / n)
    at_least = betainc(k, effective - k + 1, q)
    low = np.flatnonzero(at_least >= 1 - tail)
    high = np.flatnonzero(at_least <= tail)
    return Estimate(
        value,
        times[low[-1]] if len(low) else None,
        times[high[0]] if len(high) else None,
    )


def _rank(q: float, n: int) -> int:
    """Place of the q-th percentile among n sorted values, from 1."""
    return min(n, max(1, math.ceil(q * n - 1e-9)))


def _independent(below: Sequence[NDArray[np.bool_]], tail: float) -> float:
    """Independent runs that runs of several rounds amount to, at most their number.

    Parameters
    ----------
    below : sequence of ndarray
        Whether each run of a round is below the percentile.
    tail : float
        Of the interval, whose quantile stands for how little few rounds tell of their spread.
    """
    sizes = np.array([len(each) for each in below], np.float64)
    n, r = sizes.sum(), len(sizes)
    p = sum(int(each.sum()) for each in below) / n
    if r < 2 or not 0 < p < 1:
        return float(n)
    residuals = np.array([each.sum() for each in below]) - p * sizes
    variance = r / (r - 1) * (residuals**2).sum() / n**2
    effect = max(1.0, variance / (p * (1 - p) / n))
    if effect == 1.0:
        return float(n)
    unsure = (ndtri(tail) / stdtrit(r - 1, tail)) ** 2
    return max(1.0, float(n / effect * unsure))


def mean(rounds: Sequence[Floats], level: float = 0.95) -> Estimate:
    """The mean of all runs, with Student's t over rounds; no interval of one round."""
    kept = [np.asarray(each, np.float64) for each in rounds if len(each)]
    if not kept:
        return Estimate(None)
    sizes = np.array([len(each) for each in kept], np.float64)
    value = float(np.concatenate(kept).mean())
    r = len(kept)
    if r < 2:
        return Estimate(value)
    residuals = np.array([each.sum() for each in kept]) - value * sizes
    error = math.sqrt(r / (r - 1) * (residuals**2).sum()) / sizes.sum()
    half = float(stdtrit(r - 1, (1 + level) / 2)) * error
    return Estimate(value, value - half, value + half)


def middle(values: Floats, level: float = 0.95) -> Estimate:
    """Hodges and Lehmann's estimate of one number per round, such as its rate; in its unit.

    Parameters
    ----------
    values : ndarray, shape (rounds,)
    level : float

    Returns
    -------
    Estimate
        Without an interval where there are too few rounds for its level: 6 are needed for .95.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    n = len(kept)
    if n == 0:
        return Estimate(None)
    first, second = np.triu_indices(n)
    means = np.sort((kept[first] + kept[second]) / 2)
    value = float(np.median(means))
    outside = _outside(n, (1 - level) / 2)
    if outside == 0:
        return Estimate(value)
    return Estimate(value, means[outside - 1], means[-outside])


@lru_cache
def _outside(n: int, tail: float) -> int:
    """Place of an interval's end among the sorted pairwise means, from 1; 0: none is wide enough.

    By the exact null distribution of the signed-rank statistic.
    """
    chance = np.zeros(n * (n + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, n + 1):
        chance[rank:] = chance[rank:] + chance[:-rank]
        chance /= 2  # at once: 2ⁿ is beyond what a float64 holds from n = 1,024 on
    return int((np.cumsum(chance) <= tail).sum())


def ratio(first: Floats, second: Floats, level: float = 0.95) -> Estimate:
    """How many times larger `first` is than `second`, paired round by round.

    Parameters
    ----------
    first, second : ndarray, shape (rounds,)
        One positive number per round, such as the median time; NaN where there is none.
    level : float
    """
    logs = np.log(np.asarray(first, np.float64)) - np.log(np.asarray(second, np.float64))
    found = middle(logs, level)
    ends = (
        None if each is None else math.exp(each) for each in (found.value, found.low, found.high)
    )
    return Estimate(*ends)


def settled(times: Floats, window: int) -> bool:
    """Whether times have stopped falling: no window of the last few was faster than those before.

    Parameters
    ----------
    times : ndarray, shape (n,)
        Of runs in their order, since the first.
    window : int
        Runs of one window.
    """
    n = len(times) // window
    if n <= WINDOWS:
        return False
    medians = np.median(np.reshape(times[: n * window], (n, window)), axis=1)
    return bool(medians[-WINDOWS:].min() >= (1 - FASTER) * medians[:-WINDOWS].min())


def orders(n: int, rounds: int, rng: np.random.Generator) -> list[list[int]]:
    """In which order n engines are measured in each round.

    Of two rounds the first is shuffled and the second is its reverse (ABBA), so that what drifts
    evenly falls on all alike.
    """
    made: list[list[int]] = []
    while len(made) < rounds:
        order = rng.permutation(n).tolist()
        made += [order, order[::-1]]
    return made[:rounds]
