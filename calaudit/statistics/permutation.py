"""Permutation tests: under "the engine changes nothing", a drop is as likely as the opposite gain.

Means, by flipping signs: swapping the labels FP32 and INT8 of a unit, or of a whole cluster, turns
the sign of its drop; the p-value is the share of all swaps that show a total drop as large.

Set metrics, by swapping labels: a coin toss decides, unit by unit, which of two answers is FP32's.
The p-value is the share of tosses that show a drop as large. Tosses are drawn until enough of them
do (J. Besag & P. Clifford 1991, Sequential Monte Carlo p-values, Biometrika 78, 301–304).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.swapping import SwapsOfEngines
from calaudit.statistics.random_numbers import random_signs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW = 20
"""Of fewer clusters no pattern of signs is rare: 2⁻¹⁹ is 2e-6."""

_ROUNDING = 1e-12
"""Equal sums differ by rounding: a share of the sum of sizes."""

MOST_SWAPS = 999
FEWEST_SWAPS = 99
"""However long one takes."""
_ENOUGH = 20
"""Tosses that show as much, after which the p-value is known well enough."""
_AT_ONCE = 111
_NOISE = 1e-12
"""Of a metric's value: what rounding leaves of 0."""
MOST_BLOCKS = 512
"""Swapped as a whole: the test stays exact, and its cost no longer grows with n."""


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


def signs_of_few(drops: Floats) -> float:
    """Exact p-value over all 2^k signs of k ≤ 20 numbers that aren't 0.

    By the sums of each half of them, of which there are 2^(k/2) (E. Horowitz & S. Sahni 1974).
    """
    changed = np.abs(drops[drops != 0])
    least = float(drops.sum()) - _ROUNDING * float(changed.sum())
    one, other = _signed_sums(changed[::2]), np.sort(_signed_sums(changed[1::2]))
    lower = np.searchsorted(other, least - one)  # of the other's, with each of the one's
    return 1.0 - int(lower.sum()) / (len(one) * len(other))


def _signed_sums(sizes: Floats) -> Floats:
    """Sums of the sizes by all patterns of signs, (2^k,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


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


def swap_tests(
    metric: Metric,
    swaps: SwapsOfEngines,
    n_blocks: Ints,
    *,
    key: str,
    beyond: Floats,
    few: NDArray[np.bool_],
) -> Floats:
    """One-sided p-values of "swapping FP32 and the engine changes nothing", (engines,).

    Parameters
    ----------
    metric : Metric
    swaps : SwapsOfEngines
        The metric by FP32 and by each engine, with blocks of units swapped.
    n_blocks : ndarray of int64, shape (engines,)
        Those that changed.
    key : str
        Of the tosses.
    beyond : ndarray, shape (engines,)
        Taken, if smaller, where no toss shows as much; with `few` also where none does that swaps
        anything.
    few : ndarray of bool, shape (engines,)
        Whether there are so few clusters that no pattern of swaps is rare.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    most = min(MOST_SWAPS, max(swaps.affordable, FEWEST_SWAPS))
    found, tossed = np.zeros((2, len(n_blocks)), dtype=np.int64)
    others = np.zeros(len(n_blocks), dtype=bool)
    least = np.full(len(n_blocks), np.inf)
    start, left = 0, np.flatnonzero(n_blocks)
    while start < most and len(left):  # most tests end with the first tosses
        stop = min(start + _AT_ONCE, most)
        swapped = [random_signs(key, n, stop)[start:] for n in n_blocks[left].tolist()]
        if not start:
            swapped = [np.concatenate([np.zeros_like(each[:1]), each]) for each in swapped]
        before, after = swaps(left, swapped)
        drop = sign * (before - after)
        if not start:  # what is seen, without a swap; equal drops differ by rounding
            size = np.maximum(np.abs(before[:, 0]), np.abs(after[:, 0]))
            least[left] = drop[:, 0] - _NOISE * size
            drop, swapped = drop[:, 1:], [each[1:] for each in swapped]
        shown = drop >= least[left, None]
        found[left] += np.count_nonzero(shown, axis=1)
        for at in np.flatnonzero(few[left]).tolist():
            others[left[at]] |= bool((shown[at] & swapped[at].any(axis=1)).any())
        start = tossed[left] = stop
        left = left[found[left] < _ENOUGH]
    p_value = np.where(found >= _ENOUGH, divide(found, tossed, 1.0), (found + 1.0) / (tossed + 1.0))
    alone = (n_blocks > 0) & ((found == 0) | (few & ~others))
    return np.where(alone, np.minimum(p_value, beyond), p_value)


def _heads(tosses: int) -> Floats:
    """Chances of 0 … `tosses` heads."""
    k = np.arange(tosses + 1)
    ways = gammaln(tosses + 1) - gammaln(k + 1) - gammaln(tosses - k + 1)
    return np.asarray(np.exp(ways - tosses * np.log(2.0)), dtype=np.float64)
