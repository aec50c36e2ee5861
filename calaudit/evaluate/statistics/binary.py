"""Binary scores: Tango's interval, exact McNemar test; both also for clusters of units."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, ndtr, ndtri, stdtr, stdtrit

from calaudit.evaluate.statistics.bootstrap import statistic
from calaudit.evaluate.statistics.clusters import Design
from calaudit.evaluate.statistics.interval import Estimate, Levels, no_estimate
from calaudit.evaluate.statistics.signs import FEW, signs_of_whole_numbers
from calaudit.evaluate.statistics.tango import tango_bound, tango_z

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING = 1e-9


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
