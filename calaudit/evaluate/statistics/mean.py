"""Means of per-unit drops: bootstrap-t, or bounds from counts where few units change."""

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.division import divide
from calaudit.evaluate.statistics.bootstrap import MOST_BLOCKS, Blocks, bootstrap_t
from calaudit.evaluate.statistics.draws import scatter
from calaudit.evaluate.statistics.interval import Estimate, Levels
from calaudit.evaluate.statistics.sparse import few_changed

Floats = NDArray[np.float64]

FEW_CHANGED = 20
"""With fewer changed units bootstrap-t promises too much (simulated: with about 15 of 300 changed
it passes 8 % instead of 5 %), and a replicate may hold none of them."""

_NOISE = 1e-12
"""Smaller differences are rounding, not change."""


def compare_means(
    drops: Floats,
    rows: NDArray[np.int64],
    *,
    key: str,
    span: float | None,
    levels: Levels,
    margin: float = 0.0,
) -> Estimate:
    """Mean drop of several cells on one slice.

    Parameters
    ----------
    drops : ndarray, shape (cells, n)
        Quality that each unit lost; NaN where the engine gave no score. n ≥ 1.
    rows : ndarray, shape (n,)
        The units' numbers, by which large slices are dealt into blocks.
    key : str
        Of the random draws, which all cells share: a cell's result doesn't depend on the others.
    span : float or None
        The most that one unit can lose or gain.
    levels : Levels
    margin : float
        The test is of "the drop is at most this".
    """
    steady = np.where(np.abs(drops) < _NOISE, 0.0, drops)
    kept = ~np.isnan(steady)
    steady[~kept] = 0.0
    n_changed = np.count_nonzero(steady, axis=1)
    ends, p_value = bootstrap_t(_blocks(steady, kept, rows), key, levels, margin)
    names: list[str | None] = ["bootstrap-t"] * len(steady)
    for cell, count in enumerate(n_changed):
        values = steady[cell, kept[cell]]
        if count < FEW_CHANGED or np.ptp(values) < _NOISE:
            ends[:, cell], p_value[cell] = few_changed(values, span, levels, margin)
            names[cell] = None if span is None or not values.size else "clopper-pearson"
        elif span is not None:
            ends[:, cell] = np.clip(ends[:, cell], -span, span)
    mean = divide(steady.sum(axis=1), kept.sum(axis=1), np.nan)
    return Estimate(mean, ends, p_value, tuple(names), n_changed)


def _blocks(drops: Floats, kept: NDArray[np.bool_], rows: NDArray[np.int64]) -> Blocks:
    """One block per unit, or `MOST_BLOCKS` of them."""
    if drops.shape[1] <= MOST_BLOCKS:
        return Blocks(drops, kept.astype(np.float64))
    block = scatter(rows, MOST_BLOCKS)
    total = [np.bincount(block, weights=one, minlength=MOST_BLOCKS) for one in drops]
    size = [np.bincount(block, weights=one, minlength=MOST_BLOCKS) for one in kept]
    return Blocks(np.array(total), np.array(size))
