"""Tango's score interval for the difference of two paired proportions.

b units are good under FP32 and bad under the engine, c the reverse, of n; the drop is (b − c)/n.
T. Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
paired-sample design, Statistics in Medicine 17, 891–908.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from calaudit.metrics.division import divide

Floats = NDArray[np.float64]

_HALVINGS = 60
"""Of [−1, 1]: leaves an error below 2e-18, less than float64 resolves."""


def tango_z(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Floats:
    """Score statistic of "the true drop is `drop`"; falls as `drop` grows.

    z(δ) = (b − c − nδ)/√(n(2q̃ + δ(1 − δ))), q̃ = (√(B² − 4AC) − B)/(2A) with A = 2n,
    B = −b − c + (2n − b + c)δ, C = −cδ(1 − δ).

    Parameters
    ----------
    lost, gained, n, drop : array_like
        b, c, n ≥ 1 and δ in [−1, 1]; broadcast.

    Returns
    -------
    ndarray
        ±inf where the data are impossible under δ (variance 0), 0 where they are certain.
    """
    b, c, size, delta = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (lost, gained, n, drop))
    )
    linear = -b - c + (2 * size - b + c) * delta
    constant = -c * delta * (1 - delta)
    root = np.sqrt(np.maximum(linear**2 - 8 * size * constant, 0.0))
    # (√(B² − 4AC) − B)/(2A), written without cancellation where B > 0.
    stable = divide(-2 * constant, np.where(linear > 0, root + linear, 0.0), 0.0)
    q = np.where(linear > 0, stable, (root - linear) / (4 * size))
    variance = size * np.maximum(2 * q + delta * (1 - delta), 0.0)
    excess = b - c - size * delta
    certain = np.where(excess > 0, np.inf, np.where(excess < 0, -np.inf, 0.0))
    return divide(excess, np.sqrt(variance), certain)


def tango_bound(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, tail: ArrayLike) -> Floats:
    """The drop δ at which z(δ) = Φ⁻¹(1 − tail): a lower bound for tail < ½, an upper for > ½.

    Parameters
    ----------
    lost, gained, n : array_like
        Counts; broadcast with `tail`.
    tail : array_like
        Probability in (0, 1) that lies beyond the bound from below: 0.025 and 0.975 are the ends
        of the 95 % interval.

    Returns
    -------
    ndarray
        In [−1, 1]; −1 or 1 where n is 0.
    """
    b, c, size, beyond = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (lost, gained, n, tail))
    )
    target = -ndtri(beyond)
    low, high = np.full(b.shape, -1.0), np.full(b.shape, 1.0)
    safe = np.maximum(size, 1.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = tango_z(b, c, safe, middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(size > 0, (low + high) / 2, np.where(beyond < 0.5, -1.0, 1.0))
