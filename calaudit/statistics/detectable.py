"""What an experiment can find, told before it starts: minimum detectable effects.

From the log's users (who comes how often) and scores that are known beforehand, such as those of
FP32 on the samples that will be asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import FEWEST_USERS, Answers, joined_variance, ratio_variance
from calaudit.statistics.sequential import SOONEST

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest difference that a slice shows with the power that is asked for."""

    n: int
    """Requests with a score."""
    users: int
    standard_error: float | None
    """Of the difference, as foreseen."""
    fixed: float | None
    """By the fixed-horizon test after all requests; None where users are too few."""
    watched: float | None
    """By the always-valid test, at the last request or before."""


def detectable(
    user: Ints,
    score: Floats,
    slices: Mapping[str, Ints],
    *,
    size: Floats | None = None,
    span: float | None = None,
    share: float | None = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> dict[str, Detectable]:
    """Minimum detectable effects, slice by slice.

    Parameters
    ----------
    user : int64 (n,)
        Of the requests in the log.
    score : float64 (n,)
        Scores that are known beforehand; NaN where there is none. In shadow mode: differences
        that are expected, request by request.
    slices : mapping
        Slice → its requests, as positions.
    size : float64 (n,), optional
        Of a ratio of sums: the denominators.
    span : float, optional
        The most by which two scores differ.
    share : float or None
        Of users that get the treatment; None: both arms answer every request.
    alpha : float
        Two-sided error over all slices; each is given an equal part, which is what Holm's method
        asks of the first.
    power : float
        Chance to find a difference of that size.

    Returns
    -------
    dict
        In the order of `slices`. Of the watched test the effect is one that is found with this
        power at the last request alone: that it may be found before isn't counted.

    Raises
    ------
    SettingsError
        `share`, `alpha` or `power` isn't between 0 and 1.
    """
    for name, value in (("share", share), ("alpha", alpha), ("power", power)):
        if value is not None and not 0 < value < 1:
            raise SettingsError(f"{name} is {value}", next_step="Give a number between 0 and 1.")
    everyone = Answers(np.zeros(len(user), dtype=np.int8), user, score, size, span)
    level = alpha / max(len(slices), 1)
    return {
        name: _detectable(everyone.take(rows), share, level, power) for name, rows in slices.items()
    }


def _detectable(own: Answers, share: float | None, alpha: float, power: float) -> Detectable:
    size = own.sizes
    kept = size > 0
    n = int(np.count_nonzero(kept))
    known, place = np.unique(own.user[kept], return_inverse=True)
    y = np.bincount(place, own.score[kept], minlength=len(known))
    w = np.bincount(place, size[kept], minlength=len(known))
    least = FEWEST_USERS if share is None else FEWEST_USERS / min(share, 1 - share)
    if len(known) < least:
        return Detectable(n, len(known), None, None, None)
    each = own.score[kept] / size[kept]
    reach = float(np.ptp(each)) or (own.span or 0.0)
    users = float(len(known))
    sums = np.array([y.sum(), w.sum(), y @ y, y @ w, w @ w, users])
    arms = (1.0,) if share is None else (1.0 - share, share)
    # an arm has a share of the users, and of every sum
    found = [ratio_variance(sums * part, reach)[1:] for part in arms]
    whole = found[0] if share is None else joined_variance(found[0], found[1])
    variance, freedom = (float(each) for each in whole)
    error = math.sqrt(variance)
    if not error:
        return Detectable(n, len(known), None, None, None)
    beyond = float(ndtri(power))
    fixed = float(stdtrit(freedom, 1 - alpha / 2)) + beyond
    prior = 1 / SOONEST
    watched = math.sqrt((1 + prior) * (math.log((1 + prior) / prior) + 2 * math.log(1 / alpha)))
    return Detectable(n, len(known), error, fixed * error, (watched + beyond) * error)
