"""Where almost every unit is the same: bounds from counts, not from a variance.

No change among n units doesn't prove that nothing changes ("rule of three"). With u the
Clopper–Pearson upper bound of the share of units that lose, and `span` the most that one can lose,
the mean drop is at most u·span.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from calaudit.evaluate.statistics.interval import Levels

Floats = NDArray[np.float64]


def clopper_pearson_upper(found: int, n: int, tail: float) -> float:
    """Upper bound, exceeded with chance `tail`, of the chance of what was found in n trials."""
    return 1.0 if found >= n else float(betaincinv(found + 1, n - found, 1.0 - tail))


def few_changed(
    drops: Floats, span: float | None, levels: Levels, margin: float
) -> tuple[Floats, float]:
    """Ends (low, high, one-sided low, one-sided high) and p-value of one cell's mean drop.

    Parameters
    ----------
    drops : ndarray, shape (n,)
        Few of them nonzero, or all the same. n may be 0.
    span : float or None
        The most that one unit can lose or gain; without one nothing bounds the mean.
    levels : Levels
    margin : float

    Notes
    -----
    Around the common value v (0, or that of all), the mean is at most v + u·(span − v), u the
    bound of the share above v; likewise below. The p-value is that of the exact sign-flip test,
    which needs the drops to be symmetric if the engine changes nothing.
    """
    n = len(drops)
    common = float(drops[0]) if n and np.ptp(drops) == 0 else 0.0
    ends = np.array([-np.inf, np.inf, -np.inf, np.inf])
    if span is not None and n:
        above, below = int((drops > common).sum()), int((drops < common).sum())
        for index, tail in enumerate(levels.tails):
            down = clopper_pearson_upper(below, n, tail) * (span + common)
            up = clopper_pearson_upper(above, n, tail) * (span - common)
            ends[2 * index : 2 * index + 2] = common - down, common + up
    return ends, _p_value(drops, common, margin)


def few_changed_in_set(
    drop: float, n_changed: int, n: int, influence: float, levels: Levels
) -> Floats:
    """Ends of the drop of a set metric when few units change, (4,).

    Parameters
    ----------
    drop : float
        Observed drop.
    n_changed, n : int
        Units that changed, of how many.
    influence : float
        The most that one changed unit of n can move the metric.
    levels : Levels

    Notes
    -----
    Of n units like these at most u·n change, with u the bound of the share that does, and move
    the metric by at most u·n·influence.
    """
    reach = [clopper_pearson_upper(n_changed, n, tail) * n * influence for tail in levels.tails]
    ends = [(min(-step, drop), max(step, drop)) for step in reach]
    return np.array(ends, dtype=np.float64).reshape(4)


def _p_value(drops: Floats, common: float, margin: float) -> float:
    if common != 0.0:
        return float(0.5 ** len(drops)) if common > margin else 1.0
    changed = np.abs(drops[drops != 0])
    if margin != 0.0 or not len(changed):
        return 1.0
    sums = np.zeros(1)
    for size in changed:
        sums = np.concatenate([sums - size, sums + size])
    # Equal sums differ by rounding.
    return float(np.mean(sums >= float(drops.sum()) - 1e-12 * float(changed.sum())))
