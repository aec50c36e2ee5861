"""Means of which almost every unit is the same: bounds from counts, not from a variance.

No change among n units doesn't prove that nothing changes ("rule of three"). With u the
Clopper–Pearson upper bound of the share of units that lose, and `span` the most that one can lose,
the mean drop is at most u·span.
"""

import itertools

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
        Bound of |drop|; without one nothing bounds the mean, and the ends are infinite.
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
    if span is None or n == 0:
        ends = np.array([-np.inf, np.inf, -np.inf, np.inf])
    else:
        above, below = int((drops > common).sum()), int((drops < common).sum())
        ends = np.array(
            [
                end
                for tail in levels.tails
                for end in (
                    common - clopper_pearson_upper(below, n, tail) * (span + common),
                    common + clopper_pearson_upper(above, n, tail) * (span - common),
                )
            ]
        )
    return ends, _p_value(drops, common, margin)


def _p_value(drops: Floats, common: float, margin: float) -> float:
    if common != 0.0:
        return float(0.5 ** len(drops)) if common > margin else 1.0
    changed = np.abs(drops[drops != 0])
    if margin != 0.0 or not len(changed):
        return 1.0
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(changed))))
    total = float(drops.sum())
    return float(np.mean(signs @ changed >= total - 1e-12 * float(changed.sum())))
