"""Bounds of a mean of bounded scores that don't forget what an unseen unit may lose.

The mean of n units is at most that of Dirichlet-weighted units, one more among them that loses as
much as a unit can: E. Learned-Miller & P. Thomas (2020), A new confidence interval for the mean of
a bounded random variable, arXiv:1905.06208. Where units lose all or nothing it is
Clopper–Pearson's bound; losses that are smaller count by their size.
"""

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.statistics.bootstrap import Blocks
from calaudit.evaluate.statistics.draws import random_exponentials
from calaudit.evaluate.statistics.interval import Levels
from calaudit.metrics.division import divide

Floats = NDArray[np.float64]


def unseen_bounds(
    blocks: Blocks,
    n: Floats,
    span: float,
    levels: Levels,
    *,
    key: str,
    replicates: int,
    margin: Floats | float = 0.0,
    gain: float | None = None,
) -> tuple[Floats, Floats]:
    """Bounds and p-values of several means or ratios of sums.

    Parameters
    ----------
    blocks : Blocks
    n : ndarray, shape (comparisons,)
        Independent units that they amount to: the unseen one is as large as one of these.
    span : float
        The most that one unit can lose, and gain, without `gain`.
    levels : Levels
    key : str
        Of the weights.
    replicates : int
    margin : float or ndarray (comparisons,)
        The test is of "the drop is at most this".
    gain : float, optional
        The most that one unit can gain.

    Returns
    -------
    ends : ndarray, shape (4, comparisons)
        Low, high, one-sided low, one-sided high.
    p_value : ndarray, shape (comparisons,)
        One-sided; at least 1/(replicates + 1).
    """
    weights = random_exponentials(f"{key}\0unseen", blocks.size.shape[1] + 1, replicates)
    unseen = weights[:, :1] * divide(blocks.size.sum(axis=1), n, 0.0)
    lost = weights[:, 1:] @ blocks.total.T
    weight = weights[:, 1:] @ blocks.size.T + unseen
    low = np.sort(divide(lost - (span if gain is None else gain) * unseen, weight, 0.0), axis=0)
    high = np.sort(divide(lost + span * unseen, weight, 0.0), axis=0)
    ends = []
    for tail in levels.tails:
        place = max(1, int(np.floor((replicates + 1) * tail + 1e-9)))
        ends += [low[place - 1], high[replicates - place]]
    return np.array(ends), (1.0 + (low <= margin).sum(axis=0)) / (replicates + 1)
