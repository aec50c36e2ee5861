"""Bounds from counts, where almost every unit is the same, and for what an unseen one may lose.

No change among n units doesn't prove that nothing changes ("rule of three"). With u the
Clopper–Pearson upper bound of the share of units that lose, and `span` the most that one can lose,
the mean drop is at most u·span.

Of bounded scores the mean of n units is at most that of Dirichlet-weighted units, one more among
them that loses as much as a unit can: E. Learned-Miller & P. Thomas (2020), A new confidence
interval for the mean of a bounded random variable, arXiv:1905.06208. Where units lose all or
nothing it is Clopper–Pearson's bound; losses that are smaller count by their size.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from calaudit.metrics.division import divide
from calaudit.statistics.bootstrap import Blocks
from calaudit.statistics.estimate import Levels
from calaudit.statistics.random_numbers import random_exponentials

Floats = NDArray[np.float64]


def clopper_pearson_upper(found: float, n: float, tail: float) -> float:
    """Upper bound, exceeded with chance `tail`, of the chance of what was found in n trials.

    An effective number of trials need not be whole.
    """
    return 1.0 if found >= n else float(betaincinv(found + 1, n - found, 1.0 - tail))


def few_changed(
    changed: tuple[float, float],
    n: float,
    span: float | None,
    levels: Levels,
    *,
    common: float = 0.0,
    gain: float | None = None,
) -> Floats:
    """Ends (low, high, one-sided low, one-sided high) of a mean drop of which few units differ.

    Parameters
    ----------
    changed : two floats
        Units (or clusters) that lose more, and less, than `common`.
    n : float
        Of how many; an effective number if they count differently. At least 1, or nothing is
        bounded.
    span : float or None
        The most that one unit can lose or gain; without one nothing bounds the mean.
    levels : Levels
    common : float
        What all others lose: 0, or what every unit does.
    gain : float, optional
        The most that one unit can gain; by default as much as it can lose.

    Notes
    -----
    The mean is at most v + u·(span − v), v the common value, u the bound of the share above v;
    likewise below.
    """
    ends = np.array([-np.inf, np.inf, -np.inf, np.inf])
    if span is None or n < 1:
        return ends
    above, below = changed
    for index, tail in enumerate(levels.tails):
        down = clopper_pearson_upper(below, n, tail) * ((span if gain is None else gain) + common)
        up = clopper_pearson_upper(above, n, tail) * (span - common)
        ends[2 * index : 2 * index + 2] = common - down, common + up
    return ends


def few_changed_in_set(
    drop: float, n_changed: float, n: float, influence: float, levels: Levels
) -> Floats:
    """Ends of the drop of a set metric when few units change, (4,).

    Parameters
    ----------
    drop : float
        Observed drop.
    n_changed, n : float
        Units (or clusters) that changed, of how many.
    influence : float
        The most that one changed unit (or cluster) of n can move the metric.
    levels : Levels

    Notes
    -----
    Of n units like these at most u·n change, with u the bound of the share that does, and move
    the metric by at most u·n·influence.
    """
    reach = [clopper_pearson_upper(n_changed, n, tail) * n * influence for tail in levels.tails]
    ends = [(min(-step, drop), max(step, drop)) for step in reach]
    return np.array(ends, dtype=np.float64).reshape(4)


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
