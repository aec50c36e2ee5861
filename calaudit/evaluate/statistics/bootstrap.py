"""Bootstrap-t of a mean: replicates of the studentized deviation, not of the mean itself.

B. Efron & R. Tibshirani (1993), An Introduction to the Bootstrap, §12.5. Zero-inflated, skewed
drops are what it is for: at n = 300 the percentile bootstrap passes 11 % where 5 % is promised,
bootstrap-t 6 %.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from calaudit.evaluate.division import divide
from calaudit.evaluate.statistics.draws import resample_counts
from calaudit.evaluate.statistics.interval import Levels

Floats = NDArray[np.float64]

REPLICATES = 1999
"""Such that (replicates + 1) · 2.5 % is a whole number: ends are order statistics."""

MOST_BLOCKS = 5000
"""Larger slices are added up in so many blocks: the cost no longer grows with n."""

_NOISE = 1e-12


@dataclass(frozen=True, eq=False, slots=True)
class Blocks:
    """Units added up in blocks, which are resampled as a whole.

    A block is a unit, or many units of a large slice; it could be a cluster of units that belong
    together. The mean is Σ total / Σ size.
    """

    total: Floats
    """(cells, blocks) sum of the drops."""
    size: Floats
    """(cells, blocks) number of units with a drop."""

    @property
    def mean(self) -> Floats:
        """(cells,) mean drop; 0 without units."""
        return divide(self.total.sum(axis=1), self.size.sum(axis=1), 0.0)


def bootstrap_t(
    blocks: Blocks, key: str, levels: Levels, margin: float = 0.0
) -> tuple[Floats, Floats]:
    """Ends of the intervals and p-values of several cells' mean drops.

    Returns
    -------
    ends : ndarray, shape (4, cells)
        Low, high, one-sided low, one-sided high; infinite where more replicates than the tail
        holds had no variance.
    p_value : ndarray, shape (cells,)
        One-sided, of "the mean is at most `margin`". Where no replicate exceeds the observed
        statistic, the tail of Student's t, as replicates can't show less than 1/2000, which
        Holm over many slices would turn into nothing.
    """
    mean = blocks.mean
    residual = blocks.total - mean[:, None] * blocks.size
    n_blocks = residual.shape[1]
    spread = (residual**2).sum(axis=1) * n_blocks / max(n_blocks - 1, 1)
    error = divide(np.sqrt(spread), blocks.size.sum(axis=1), 0.0)
    t_star = np.sort(_replicates(residual, blocks.size, key), axis=0)

    ends = np.empty((4, len(mean)))
    for index, tail in enumerate(levels.tails):
        place = max(1, int(np.floor((REPLICATES + 1) * tail + 1e-9)))
        ends[2 * index] = _minus(mean, t_star[-place], error)
        ends[2 * index + 1] = _minus(mean, t_star[place - 1], error)
    observed = divide(mean - margin, error, 0.0)
    exceeding = (t_star >= observed).sum(axis=0)
    p_value = (1.0 + exceeding) / (REPLICATES + 1)
    beyond = np.minimum(p_value, stdtr(max(n_blocks - 1, 1), -observed))
    return ends, np.where(exceeding == 0, beyond, p_value)


def _replicates(residual: Floats, size: Floats, key: str) -> Floats:
    """Studentized deviations of the resampled means, (REPLICATES, cells).

    The variance of a resampled ratio Σr/Σm is linearised, Σ(r − shift·m)²/(Σm)² · n/(n − 1), which
    for blocks of one unit is the usual one of a mean.
    """
    n_blocks = residual.shape[1]
    columns = np.concatenate([residual, residual**2, residual * size, size, size**2]).T
    draws = resample_counts(key, n_blocks, REPLICATES)
    sums = np.concatenate([counts @ columns for counts in draws])
    first, second, mixed, weight, weight2 = np.split(sums, 5, axis=1)
    shift = divide(first, weight, 0.0)
    squares = second - 2 * shift * mixed + shift**2 * weight2
    squares = np.where(squares > _NOISE * second, squares, 0.0)
    error = divide(np.sqrt(squares * n_blocks / max(n_blocks - 1, 1)), weight, 0.0)
    # A replicate without variance deviates infinitely, unless it doesn't deviate at all.
    unbounded = np.where(shift > 0, np.inf, np.where(shift < 0, -np.inf, 0.0))
    return divide(shift, error, unbounded)


def _minus(mean: Floats, t: Floats, error: Floats) -> Floats:
    """Mean − t·error, where an infinite t stands for an end that nothing bounds."""
    step = np.multiply(t, error, out=np.zeros_like(error), where=error > 0)
    return np.asarray(mean - step, dtype=np.float64)
