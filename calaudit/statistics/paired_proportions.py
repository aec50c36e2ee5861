"""Right/wrong scores: Tango's interval, exact McNemar test; both also for clusters of units.

Tango's is the score interval for the difference of two paired proportions:
b units are good under FP32 and bad under the engine, c the reverse, of n; the drop is (b − c)/n.
T. Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
paired-sample design, Statistics in Medicine 17, 891–908.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, ndtr, ndtri, stdtr, stdtrit

from calaudit.metrics.division import divide
from calaudit.statistics.bootstrap import statistic
from calaudit.statistics.clusters import Design
from calaudit.statistics.estimate import Estimate, Levels, no_estimate
from calaudit.statistics.permutation import FEW, signs_of_whole_numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALVINGS = 60
"""Of [−1, 1]: leaves an error below 2e-18, less than float64 resolves."""

_ROUNDING = 1e-9


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


def compare_binary(
    lost: Ints, gained: Ints, n: Ints, levels: Levels, margin: Floats | float = 0.0
) -> Estimate:
    """Drops of shares of good units that are independent.

    Parameters
    ----------
    lost, gained, n : ndarray, shape (…,)
        Units good under FP32 only, under the engine only, and all; broadcast.
    levels : Levels
    margin : float or ndarray
        The test is of "the drop is at most this": exact McNemar for 0, else Tango's score.
    """
    b, c, size, most = np.broadcast_arrays(lost, gained, n, margin)
    found = no_estimate(b.shape)
    any_unit = size > 0
    b, c, size, most = b[any_unit], c[any_unit], size[any_unit], most[any_unit]
    score_test = ndtr(-tango_z(b, c, size, most))
    found.drop[any_unit] = (b - c) / size
    found.ends[:, any_unit] = tango_bound(b, c, size, _tails(levels)[:, None])
    found.p_value[any_unit] = np.where(most == 0, mcnemar(b, c), score_test)
    found.interval[any_unit] = "tango"
    found.n_changed[any_unit] = b + c
    found.design_effect[any_unit] = 1.0
    found.error[any_unit] = np.sqrt(np.maximum(b + c - (b - c) ** 2 / size, 0.0)) / size
    return found


def compare_clustered(
    lost: Ints,
    gained: Ints,
    blocks: tuple[Floats, Floats],
    design: Design,
    levels: Levels,
    *,
    margin: Floats | float = 0.0,
) -> Estimate:
    """Drops of shares of good units, where units of a cluster belong together.

    Tango's interval over the effective number of units, n over the design effect, with quantiles
    of Student's t; the test flips the signs of whole clusters (exact McNemar, if each is one unit).

    Parameters
    ----------
    lost, gained : ndarray, shape (…,)
    blocks : two ndarrays, shape (…, blocks)
        Units lost minus units gained, and units, per cluster.
    design : Design
    levels, margin
        As for `compare_binary`.
    """
    total, size = np.broadcast_arrays(*blocks)
    n = size.sum(axis=-1)
    most = np.broadcast_to(margin, n.shape)
    found = no_estimate(n.shape)
    held = n > 0
    b, c, effect = lost[held], gained[held], design.effect[held]
    found.drop[held] = (b - c) / n[held]
    found.n_changed[held] = b + c
    found.design_effect[held] = effect
    alone = np.maximum(b + c - (b - c) ** 2 / n[held], 0.0)
    found.error[held] = np.sqrt(alone * effect) / n[held]
    found.ends[:, held] = np.array([-np.inf, np.inf, -np.inf, np.inf])[:, None]
    found.p_value[held] = 1.0

    known = held & (design.freedom > 1.0 - _ROUNDING)
    b, c, effect = lost[known], gained[known], design.effect[known]
    freedom = design.freedom[known]
    tails = _tails(levels)[:, None]
    wider = effect * (stdtrit(freedom, tails) / ndtri(tails)) ** 2
    found.ends[:, known] = tango_bound(b / wider, c / wider, n[known] / wider, tails)
    found.interval[known] = "tango-clustered"
    z = tango_z(b / effect, c / effect, n[known] / effect, most[known])
    found.p_value[known] = stdtr(freedom, -z)
    # Where all units flip alike, their spread doesn't say what clustering does to it.
    alike = known & (np.abs(found.drop) == 1.0)
    z = statistic(found.drop[alike] - most[alike], np.zeros(alike.sum()), n[alike])
    found.p_value[alike] = stdtr(design.freedom[alike], -z)
    for place in zip(*np.nonzero(known & (most == 0)), strict=True):
        few = np.count_nonzero(size[place]) < FEW
        beyond = float(found.p_value[place]) if few else 1.0
        found.p_value[place] = signs_of_whole_numbers(total[place], beyond=beyond)
    return found


def mcnemar(lost: Ints, gained: Ints) -> Floats:
    """Exact one-sided McNemar test of "no more are lost than gained", (…,).

    P(X ≥ lost) for X binomial with lost + gained trials of chance ½; 1 without flips.
    """
    flips = lost + gained
    exceeds = bdtrc(np.maximum(lost - 1, 0), np.maximum(flips, 1), 0.5)
    return np.where(lost > 0, exceeds, 1.0)


def _tails(levels: Levels) -> Floats:
    two_sided, one_sided = levels.tails
    return np.array([two_sided, 1 - two_sided, one_sided, 1 - one_sided])
