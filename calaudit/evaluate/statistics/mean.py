"""Means of per-unit drops: bootstrap-t, and a bound that needs no variance where few units change.

Bootstrap-t: B. Efron & R. Tibshirani (1993), An Introduction to the Bootstrap, §12.5.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from calaudit.evaluate.statistics.draws import resample_counts, scatter
from calaudit.evaluate.statistics.interval import Estimate, Levels
from calaudit.evaluate.statistics.sparse import few_changed

Floats = NDArray[np.float64]

REPLICATES = 1999
"""Such that (replicates + 1) · 2.5 % is a whole number: ends are order statistics."""

FEW_CHANGED = 10
"""Below so many changed units a replicate may hold none of them, and its variance is 0."""

MOST_BLOCKS = 5000
"""Larger slices are added up in so many blocks: the cost no longer grows with n."""

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
        Bound of |drop| of one unit.
    levels : Levels
    margin : float
        The test is of "the drop is at most this".
    """
    steady = np.where(np.abs(drops) < _NOISE, 0.0, drops)
    kept = ~np.isnan(steady)
    steady[~kept] = 0.0
    n_changed = np.count_nonzero(steady, axis=1)
    ends, p_value = _bootstrap_t(steady, kept, rows, key, levels, margin)
    names = ["bootstrap-t"] * len(steady)
    for cell in range(len(steady)):
        values = steady[cell, kept[cell]]
        if n_changed[cell] < FEW_CHANGED or np.ptp(values) < _NOISE:
            ends[:, cell], p_value[cell] = few_changed(values, span, levels, margin)
            names[cell] = "clopper-pearson" if span is not None else ""
    if span is not None:
        ends = np.clip(ends, -span, span)
    sizes = kept.sum(axis=1)
    mean = np.divide(steady.sum(axis=1), sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
    return Estimate(mean, *ends, p_value, tuple(name or None for name in names), n_changed)


def _bootstrap_t(
    drops: Floats,
    kept: NDArray[np.bool_],
    rows: NDArray[np.int64],
    key: str,
    levels: Levels,
    margin: float,
) -> tuple[Floats, Floats]:
    """Ends (4, cells): low, high, one-sided low and high; and p-values (cells,)."""
    total, size = _blocks(drops, kept, rows)
    n_blocks = total.shape[1]
    weight = size.sum(axis=1)
    mean = np.divide(total.sum(axis=1), weight, out=np.zeros(len(weight)), where=weight > 0)
    residual = total - mean[:, None] * size
    error = np.sqrt(
        _variance(np.zeros(len(mean)), (residual**2).sum(axis=1), 0.0, 0.0, weight, n_blocks)
    )
    t_star = np.sort(_replicates(residual, size, key), axis=0)

    ends = np.empty((4, len(mean)))
    for index, tail in enumerate(levels.tails):
        place = max(1, int(np.floor((REPLICATES + 1) * tail + 1e-9)))
        ends[2 * index] = _minus(mean, t_star[REPLICATES - place], error)
        ends[2 * index + 1] = _minus(mean, t_star[place - 1], error)
    observed = np.divide(mean - margin, error, out=np.zeros(len(mean)), where=error > 0)
    exceeding = (t_star >= observed).sum(axis=0)
    p_value = (1.0 + exceeding) / (REPLICATES + 1)
    # Replicates can't show less than 1/2000, which Holm over many slices would turn into nothing.
    tail_of_t = stdtr(max(n_blocks - 1, 1), -observed)
    return ends, np.where(exceeding == 0, np.minimum(p_value, tail_of_t), p_value)


def _blocks(
    drops: Floats, kept: NDArray[np.bool_], rows: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Sum of drops and number of units by block, (cells, blocks)."""
    n = drops.shape[1]
    if n <= MOST_BLOCKS:
        return drops, kept.astype(np.float64)
    block = scatter(rows, MOST_BLOCKS)
    total = [np.bincount(block, weights=one, minlength=MOST_BLOCKS) for one in drops]
    size = [np.bincount(block, weights=one, minlength=MOST_BLOCKS) for one in kept]
    return np.array(total), np.array(size)


def _replicates(residual: Floats, size: Floats, key: str) -> Floats:
    """Studentized deviations of the resampled means, (REPLICATES, cells)."""
    n_cells, n_blocks = residual.shape
    columns = np.concatenate([residual, residual**2, residual * size, size, size**2]).T
    found = np.concatenate(
        [counts @ columns for counts in resample_counts(key, n_blocks, REPLICATES)]
    )
    first, second, mixed, weight, weight2 = (
        found[:, part * n_cells : (part + 1) * n_cells] for part in range(5)
    )
    shift = np.divide(first, weight, out=np.zeros_like(first), where=weight > 0)
    variance = _variance(shift, second, mixed, weight2, weight, n_blocks)
    t_star = np.divide(shift, np.sqrt(variance), out=np.zeros_like(shift), where=variance > 0)
    return np.where((variance <= 0) & (shift != 0), np.sign(shift) * np.inf, t_star)


def _variance(
    shift: Floats,
    second: Floats,
    mixed: Floats | float,
    weight2: Floats | float,
    weight: Floats,
    n: int,
) -> Floats:
    """Linearised variance of a ratio Σr/Σm over n blocks, Σ(r − shift·m)² · n/(n − 1) / (Σm)²."""
    squares = second - 2 * shift * mixed + shift**2 * weight2
    squares = np.where(squares > _NOISE * second, squares, 0.0)
    scaled = squares * (n / max(n - 1, 1))
    return np.divide(scaled, weight**2, out=np.zeros_like(scaled), where=weight > 0)


def _minus(mean: Floats, t: Floats, error: Floats) -> Floats:
    """Mean − t·error, where an infinite t stands for an end that nothing bounds."""
    step = np.multiply(t, error, out=np.zeros_like(error), where=error > 0)
    return np.asarray(mean - step, dtype=np.float64)
