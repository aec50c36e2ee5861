"""Sign-flip tests: under "the engine changes nothing", a drop is as likely as the opposite gain.

Swapping the labels FP32 and INT8 of a unit, or of a whole cluster, turns the sign of its drop; the
p-value is the share of all swaps that show a total drop as large.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

from calaudit.metrics.division import divide

Floats = NDArray[np.float64]

FEW = 20
"""Of fewer clusters no pattern of signs is rare: 2⁻¹⁹ is 2e-6."""

_ROUNDING = 1e-12
"""Equal sums differ by rounding: a share of the sum of sizes."""


def signs_of_whole_numbers(drops: Floats, *, beyond: float = 1.0) -> float:
    """Exact p-value over all 2^k signs of whole numbers; McNemar's for ones.

    Parameters
    ----------
    drops : ndarray, shape (clusters,)
        Units lost minus units gained, per cluster; zeros don't matter.
    beyond : float
        Taken, if smaller, where only the observed signs reach the total: with few clusters no
        pattern of signs is rare.
    """
    sizes, counts = np.unique(np.abs(drops[drops != 0]).astype(np.int64), return_counts=True)
    total = round(float(drops.sum()))
    if not len(sizes):
        return 1.0
    chance = np.ones(1)  # of every sum, from −reach to reach in steps of 2
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(count * size + 1)
        spaced[::size] = _heads(count)
        chance = np.convolve(chance, spaced)
    reach = int(np.dot(sizes, counts))
    p_value = float(chance[(total + reach) // 2 :].sum())
    return min(p_value, beyond) if total == reach else min(p_value, 1.0)


def _heads(tosses: int) -> Floats:
    """Chances of 0 … `tosses` heads."""
    k = np.arange(tosses + 1)
    ways = gammaln(tosses + 1) - gammaln(k + 1) - gammaln(tosses - k + 1)
    return np.asarray(np.exp(ways - tosses * np.log(2.0)), dtype=np.float64)


def signs_of_few(drops: Floats) -> float:
    """Exact p-value over all 2^k signs of k ≤ 20 numbers that aren't 0, by enumeration."""
    changed = np.abs(drops[drops != 0])
    if not len(changed):
        return 1.0
    sums = np.zeros(1)
    for size in changed:
        sums = np.concatenate([sums - size, sums + size])
    return float(np.mean(sums >= float(drops.sum()) - _ROUNDING * float(changed.sum())))


def signs_of_many(totals: Floats, coins: Floats) -> Floats:
    """p-values of several total drops, (comparisons,), by random signs.

    Where none of them shows as much, the tail of the normal distribution at Σd/√Σd², which is at
    most √k for k numbers.

    Parameters
    ----------
    totals : ndarray, shape (comparisons, blocks)
        Drops of each unit, cluster or bucket of them.
    coins : ndarray, shape (replicates, blocks)
        +1 or −1.
    """
    observed, reach = totals.sum(axis=1), np.abs(totals).sum(axis=1)
    exceeding = (coins @ totals.T >= observed - _ROUNDING * reach).sum(axis=0)
    p_value = (1.0 + exceeding) / (len(coins) + 1)
    far = divide(observed, np.sqrt((totals**2).sum(axis=1)), 0.0)
    beyond = np.minimum(p_value, ndtr(-far))
    return np.asarray(np.where(exceeding == 0, beyond, p_value), dtype=np.float64)
