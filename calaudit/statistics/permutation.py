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
from calaudit.metrics.set_statistics import Swaps
from calaudit.statistics.random_numbers import random_signs

Floats = NDArray[np.float64]

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


def swap_test(
    metric: Metric,
    swaps: Swaps,
    n_blocks: int,
    *,
    key: str,
    beyond: float = 1.0,
    few: bool = False,
) -> float:
    """One-sided p-value of "swapping FP32 and the engine changes nothing".

    Parameters
    ----------
    metric : Metric
    swaps : Swaps
        The metric by FP32 and by the engine, with blocks of units swapped.
    n_blocks : int
        Those that changed.
    key : str
        Of the tosses.
    beyond : float
        Taken, if smaller, where no toss shows as much; with `few` also where none does that swaps
        anything.
    few : bool
        Whether there are so few clusters that no pattern of swaps is rare.
    """
    if n_blocks == 0:
        return 1.0
    sign = 1.0 if metric.higher_is_better else -1.0
    most = min(MOST_SWAPS, max(swaps.affordable, FEWEST_SWAPS))
    tossed = found = 0
    others = False
    least = np.inf
    while tossed < most and found < _ENOUGH:
        # Most tests end with the first tosses.
        coins = random_signs(key, n_blocks, MOST_SWAPS if tossed else _AT_ONCE)
        swap = coins[tossed : min(tossed + _AT_ONCE, most)].astype(np.uint8)
        if not tossed:
            swap = np.concatenate([np.zeros((1, n_blocks), np.uint8), swap])
        before, after = swaps(swap)
        drop = sign * (before - after)
        if not tossed:  # what is seen, without a swap; equal drops differ by rounding
            least = drop[0] - _NOISE * max(abs(before[0]), abs(after[0]))
            swap, drop = swap[1:], drop[1:]
        shown = drop >= least
        found += int(np.count_nonzero(shown))
        others |= bool((shown & swap.any(axis=1)).any())
        tossed += len(swap)
    p_value = found / tossed if found >= _ENOUGH else (found + 1.0) / (tossed + 1.0)
    alone = found == 0 or (few and not others)
    return min(p_value, beyond) if alone else p_value


def blocks_of(member: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Blocks in which n clusters are swapped, for the cluster of each unit; -1 stays so."""
    return np.where(member < 0, member, member % min(n, MOST_BLOCKS)) if n else member


def _heads(tosses: int) -> Floats:
    """Chances of 0 … `tosses` heads."""
    k = np.arange(tosses + 1)
    ways = gammaln(tosses + 1) - gammaln(k + 1) - gammaln(tosses - k + 1)
    return np.asarray(np.exp(ways - tosses * np.log(2.0)), dtype=np.float64)
