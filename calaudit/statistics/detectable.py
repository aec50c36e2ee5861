"""What an experiment can find, told before it starts: minimum detectable effects.

From the log's users (who comes how often) and scores that are known beforehand, such as those of
FP32 on the samples that will be asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import (
    FEWEST_USERS,
    Answers,
    joined_variance,
    ratio_variance,
    six_sums,
    user_sums,
)
from calaudit.statistics.sequential import SOONEST

_ROUNDS: Final = 30
"""Of a fixed point that is approached by halves or faster."""

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
    expected: Floats | None = None,
    share: float | None = 0.5,
    arm: NDArray[np.int8] | None = None,
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
    expected : float64 (n,), optional
        As `Answers.expected`, which the comparison will use.
    share : float or None
        Of users that get the treatment; None: both arms answer every request.
    arm : int8 (n,), optional
        What `share` will come to, as the hash deals these users: where a few of them make most of
        the requests it matters who gets them.
    alpha : float
        Two-sided error over all slices; each is given an equal part, which is what Holm's method
        asks of the first.
    power : float
        Chance to find a difference of that size.

    Returns
    -------
    dict
        In the order of `slices`. With a span the effect's own variance is counted, as if requests
        lost all or nothing. Of the watched test the effect is one that is found with this
        power at the last request alone: that it may be found before isn't counted.

    Raises
    ------
    SettingsError
        `share`, `alpha` or `power` isn't between 0 and 1.
    """
    for name, value in (("share", share), ("alpha", alpha), ("power", power)):
        if value is not None and not 0 < value < 1:
            raise SettingsError(f"{name} is {value}", next_step="Give a number between 0 and 1.")
    dealt = np.zeros(len(user), dtype=np.int8) if arm is None or share is None else arm
    if share is None and expected is None:
        expected = np.zeros(len(user))
    everyone = Answers(dealt, user, score, size, span, expected)
    level = alpha / max(len(slices), 1)
    return {
        name: _detectable(everyone.take(rows), share, level, power, dealt=arm is not None)
        for name, rows in slices.items()
    }


def _detectable(
    own: Answers, share: float | None, alpha: float, power: float, *, dealt: bool
) -> Detectable:
    one = user_sums(own)
    n, users, six = sum(one.n), len(one.user), six_sums(one)
    whole = six.sum(axis=0)
    if share is None:
        sides = [whole]
    elif dealt:
        sides = [whole - six[one.arm].sum(axis=0), six[one.arm].sum(axis=0)]
    else:  # an arm has a share of the users, and of every sum
        sides = [whole * (1 - share), whole * share]
    if min(float(each[5]) for each in sides) < FEWEST_USERS:
        return Detectable(n, users, None, None, None)
    found = [ratio_variance(each, one.reach)[1:] for each in sides]
    both = found[0] if share is None else joined_variance(found[0], found[1])
    variance, freedom = (float(each) for each in both)
    error = math.sqrt(variance)
    if not error:
        return Detectable(n, users, None, None, None)
    treated = n if share is None else one.n[1] if dealt else n * share
    lossy = _Lossy(variance, one.reach if own.span is not None else 0.0, treated)
    beyond = float(ndtri(power))
    fixed = float(stdtrit(freedom, 1 - alpha / 2)) + beyond
    prior = 1 / SOONEST
    watched = math.sqrt((1 + prior) * (math.log((1 + prior) / prior) + 2 * math.log(1 / alpha)))
    return Detectable(n, users, error, lossy.effect(fixed), lossy.effect(watched + beyond))


@dataclass(frozen=True, slots=True)
class _Lossy:
    """A difference whose variance grows with it: what some requests lose, others don't."""

    variance: float
    """Without an effect."""
    reach: float
    """The most that a request can lose; 0 where nothing bounds it."""
    n: float
    """Requests that the treatment answers."""

    def effect(self, errors: float) -> float:
        """The effect that is so many of its own standard errors from 0.

        Requests that lose all or nothing, δ on average, vary by δ·(reach − δ).
        """
        effect = errors * math.sqrt(self.variance)
        for _ in range(_ROUNDS):
            own = max(effect * (self.reach - effect), 0.0) / max(self.n, 1.0)
            effect = errors * math.sqrt(self.variance + own)
        return effect
