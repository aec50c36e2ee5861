"""Binary scores: Tango's interval, exact McNemar test."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, ndtr

from calaudit.evaluate.statistics.interval import Estimate, Levels
from calaudit.evaluate.statistics.tango import tango_bound, tango_z

Floats = NDArray[np.float64]


def compare_binary(
    lost: NDArray[np.int64], gained: NDArray[np.int64], n: int, levels: Levels, margin: float = 0.0
) -> Estimate:
    """Drop of a share of good units, for several cells on one slice.

    Parameters
    ----------
    lost, gained : ndarray, shape (cells,)
        Units good under FP32 only, and under the engine only.
    n : int
        Units of the slice; at least 1.
    levels : Levels
    margin : float
        The test is of "the drop is at most this": exact McNemar for 0, else Tango's score.
    """
    two_sided, one_sided = levels.tails
    tails = np.array([two_sided, 1 - two_sided, one_sided, 1 - one_sided])[:, None]
    p_value = mcnemar(lost, gained) if margin == 0 else ndtr(-tango_z(lost, gained, n, margin))
    return Estimate(
        drop=(lost - gained) / n,
        ends=tango_bound(lost, gained, n, tails),
        p_value=p_value,
        interval=("tango",) * len(lost),
        n_changed=lost + gained,
    )


def mcnemar(lost: NDArray[np.int64], gained: NDArray[np.int64]) -> Floats:
    """Exact one-sided McNemar test of "no more are lost than gained", (cells,).

    P(X ≥ lost) for X binomial with lost + gained trials of chance ½; 1 without flips.
    """
    flips = lost + gained
    exceeds = bdtrc(np.maximum(lost - 1, 0), np.maximum(flips, 1), 0.5)
    return np.where(lost > 0, exceeds, 1.0)
