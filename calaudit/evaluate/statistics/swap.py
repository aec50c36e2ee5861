"""Label-swap permutation test of set metrics.

Under "the engine changes nothing" it is a coin toss, unit by unit, which of two answers is FP32's.
The p-value is the share of tosses that show a drop as large. Tosses are drawn until enough of them
do (J. Besag & P. Clifford 1991, Sequential Monte Carlo p-values, Biometrika 78, 301–304).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.statistics.draws import random_signs
from calaudit.metrics.scores import SetScores

Floats = NDArray[np.float64]

MOST_SWAPS = 999
_ENOUGH = 20
"""Tosses that show as much, after which the p-value is known well enough."""
_AT_ONCE = 111
_NOISE = 1e-12
"""Of a metric's value: what rounding leaves of 0."""
_MOST_BLOCKS = 512
"""Swapped as a whole: the test stays exact, and its cost no longer grows with n."""


def swap_test(
    reference: SetScores,
    totals: tuple[Floats, Floats],
    moved: sparse.csr_array,
    *,
    key: str,
    beyond: float = 1.0,
    few: bool = False,
) -> float:
    """One-sided p-value of "swapping FP32 and the engine changes nothing".

    Parameters
    ----------
    reference : SetScores
        FP32's, for the metric's function and direction.
    totals : two ndarrays, shape (m,)
        Summed statistics of the slice under FP32 and under the engine.
    moved : csr_array, shape (clusters, m)
        The engine's statistics minus FP32's, summed over each cluster that changed.
    key : str
        Of the tosses.
    beyond : float
        Taken, if smaller, where no toss shows as much; with `few` also where none does that swaps
        anything.
    few : bool
        Whether there are so few clusters that no pattern of swaps is rare.
    """
    n = moved.shape[0]
    if n == 0:
        return 1.0
    if n > _MOST_BLOCKS:
        dealt = sparse.csr_array(
            (np.ones(n), (np.arange(n) % _MOST_BLOCKS, np.arange(n))), shape=(_MOST_BLOCKS, n)
        )
        moved = sparse.csr_array(dealt @ moved)
    sign = 1.0 if reference.metric.higher_is_better else -1.0
    before, after = totals
    values = float(reference.functional(before)), float(reference.functional(after))
    # Equal drops differ by rounding.
    least = sign * (values[0] - values[1]) - _NOISE * max(map(abs, values))
    coins = random_signs(key, moved.shape[0], MOST_SWAPS)
    tossed = found = 0
    others = False
    while tossed < MOST_SWAPS and found < _ENOUGH:
        swap = coins[tossed : tossed + _AT_ONCE].astype(np.float64)
        step = np.asarray((moved.T @ swap.T).T)
        drops = sign * (reference.functional(before + step) - reference.functional(after - step))
        shown = drops >= least
        found += int(np.count_nonzero(shown))
        others |= bool((shown & swap.any(axis=1)).any())
        tossed += len(swap)
    p_value = found / tossed if found >= _ENOUGH else (found + 1.0) / (tossed + 1.0)
    alone = found == 0 or (few and not others)
    return min(p_value, beyond) if alone else p_value
