"""Two arms that different users got: fixed-horizon tests, users being what was dealt.

A user's requests belong together, so that sums per user are what varies. The metric of an arm is
R = ΣY/ΣW over its users (Y what their requests scored, W how many there were, or how much they
weigh), and the difference R₁ − R₀ has the linearised, cluster-robust variance (delta method:
A. Deng, U. Knoblich & J. Lu (2018), KDD, 233–242).

The test deals the users anew, as the hash might have, and counts how often the studentized
difference is as large: exact where the arms do the same to every user, and right in the long run
where they only have the same mean (A. Janssen (1997), Statist. Probab. Lett. 36, 9–21; E. Chung &
J. Romano (2013), Ann. Statist. 41, 484–507). Its quantiles make the interval.

Where it is known beforehand what a request's sample scores under FP32, arms are compared by what is
left beside that: which samples an arm happened to get then doesn't matter (a control variate with
coefficient 1; A. Deng, Y. Xu, R. Kohavi & T. Walker (2013), Improving the sensitivity of online
controlled experiments by utilizing pre-experiment data, WSDM, 123–132).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.metrics.division import divide
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.mean import FEW_CHANGED
from calaudit.statistics.random_numbers import random_uniforms
from calaudit.statistics.verdict import holm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPLICATES: Final = 2000
FEWEST_USERS: Final = 5
"""In each arm: with fewer nothing is tested."""
_USERS_AT_ONCE: Final = 2048
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What requests scored, in the order in which they came.

    Raises
    ------
    SettingsError
        Lengths differ, an arm is neither 0 nor 1, a user is in both arms, or a size is negative
        or infinite.
    """

    arm: NDArray[np.int8]
    """(n,) 0 for control, 1 for treatment."""
    user: Ints
    """(n,) users' numbers, at least 0."""
    score: Floats
    """(n,) NaN where a request has no score: it failed, or the metric has nothing to say."""
    size: Floats | None = None
    """(n,) of a ratio of sums: the denominators; None: 1 each. `score` has the numerators."""
    span: float | None = None
    """The most by which two scores of a request can differ; None where nothing bounds it."""
    expected: Floats | None = None
    """(n,) what is expected of each request whichever arm answers, known beforehand: FP32's score
    of its sample. NaN: the request isn't compared."""

    def __post_init__(self) -> None:
        n = len(self.arm)
        for name in ("user", "score", "size", "expected"):
            each = getattr(self, name)
            if each is not None and each.shape != (n,):
                raise SettingsError(f"{name} has shape {each.shape}, expected ({n},)")
        if not np.isin(self.arm, (0, 1)).all():
            raise SettingsError("an arm is neither 0 (control) nor 1 (treatment)")
        if n and self.user.min() < 0:
            raise SettingsError("users must be numbers of at least 0")
        if self.size is not None and not (np.isfinite(self.size) & (self.size >= 0)).all():
            raise SettingsError("sizes must be finite numbers of at least 0")
        both = np.intersect1d(self.user[self.arm == 0], self.user[self.arm == 1])
        if len(both):
            raise SettingsError(
                f"user {both[0]} is in both arms",
                next_step="Deal users, not requests, to the arms.",
            )

    def __len__(self) -> int:
        return len(self.arm)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) requests that have a score."""
        return np.asarray(np.isfinite(self.apart))

    @property
    def apart(self) -> Floats:
        """(n,) how far each score is from what was expected; the score itself without that."""
        return self.score if self.expected is None else self.score - self.expected

    @property
    def sizes(self) -> Floats:
        """(n,) what each request weighs; 0 without a score."""
        size = np.ones(len(self)) if self.size is None else self.size
        return np.where(self.present, size, 0.0)

    def reach(self, each: Floats) -> float:
        """How far a request can be from the usual, of what was seen of some; else the span.

        Without an expectation two requests may be this far apart.
        """
        if not len(each):
            return self.span or 0.0
        seen = np.ptp(each) if self.expected is None else np.abs(each).max()
        return float(seen) or (self.span or 0.0)

    def take(self, rows: Ints) -> "Answers":
        """The requests at `rows`, in their order."""
        size, expected = (None if e is None else e[rows] for e in (self.size, self.expected))
        arm, user, score = self.arm[rows], self.user[rows], self.score[rows]
        return replace(self, arm=arm, user=user, score=score, size=size, expected=expected)


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """Treatment minus control on one slice; None where there is nothing to tell it by."""

    control: float | None
    treatment: float | None
    n_control: int
    """Requests with a score."""
    n_treatment: int
    users_control: int
    users_treatment: int
    n_left_out: int = 0
    """Requests without a score."""
    estimate: float | None = None
    """In the metric's unit. Where scores were expected, it allows for which samples each arm got,
    and isn't just the difference of the two values above."""
    low: float | None = None
    high: float | None = None
    """Two-sided interval at the level that was asked for."""
    p_value: float | None = None
    """Two-sided, of no difference."""
    p_adjusted: float | None = None
    """By Holm's method over all slices that have a p-value."""
    standard_error: float | None = None


def compare_arms(
    answers: Answers,
    slices: Mapping[str, Ints],
    *,
    share: float = 0.5,
    level: float = 0.95,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> dict[str, ArmDifference]:
    """Differences between two arms, slice by slice, once all requests are in.

    Parameters
    ----------
    answers : Answers
        Of n requests.
    slices : mapping
        Slice → its requests, as positions; slices may overlap.
    share : float
        Chance of a user to get the treatment.
    level : float
        Two-sided level of the intervals.
    seed : int
        Of the replicates.
    replicates : int
        Times that users are dealt anew.

    Returns
    -------
    dict
        In the order of `slices`. The p-value is (1 + how often as far)/(1 + replicates), or, where
        it never is, that of Student's t if it is smaller: Holm's method over many slices would
        leave nothing of 1/2001. An interval reaches at least as far as a user of another kind,
        who didn't come, might move the difference.
    """
    users = np.unique(answers.user)
    sums = [user_sums(answers.take(rows)) for rows in slices.values()]
    far = _redealt(sums, users, share, f"{seed}", replicates)
    found = {
        name: _compared(one, far[:, place], level)
        for place, (name, one) in enumerate(zip(slices, sums, strict=True))
    }
    return adjusted(found)


def adjusted(found: Mapping[str, ArmDifference]) -> dict[str, ArmDifference]:
    """Slices with `p_adjusted`, by Holm's method over those that have a p-value."""
    tested = [name for name, one in found.items() if one.p_value is not None]
    adjusted = holm([found[name].p_value or 0.0 for name in tested])
    values = dict(zip(tested, adjusted.tolist(), strict=True))
    return {name: replace(one, p_adjusted=values.get(name)) for name, one in found.items()}


@dataclass(frozen=True, eq=False, slots=True)
class UserSums:
    """What users of one slice amount to; arrays are (users,)."""

    arm: NDArray[np.bool_]
    """True for treatment."""
    total: Floats
    size: Floats
    user: Ints
    """Their numbers, ascending."""
    n: tuple[int, int]
    """Requests with a score, in control and treatment."""
    n_left_out: int
    reach: float
    """How far a request can be from the usual: as far as was seen, or the span."""
    values: tuple[float | None, float | None]
    """The metric itself, in control and treatment."""


def user_sums(answers: Answers) -> UserSums:
    """Add up each user's requests; users without a score are left out."""
    weighing = np.flatnonzero(answers.sizes > 0)
    user, place = np.unique(answers.user[weighing], return_inverse=True)
    score, size = answers.apart[weighing], answers.sizes[weighing]
    sides = answers.arm[weighing]
    arm = np.zeros(len(user), dtype=bool)
    arm[place] = sides == 1
    total, weight = (
        np.bincount(place, each, minlength=len(user)).astype(np.float64) for each in (score, size)
    )
    counts = np.bincount(sides, minlength=2)
    whole, heavy = (np.bincount(sides, e, 2) for e in (answers.score[weighing], size))
    before, after = (float(a / b) if b else None for a, b in zip(whole, heavy, strict=True))
    return UserSums(
        arm,
        total,
        weight,
        user.astype(np.int64),
        (int(counts[0]), int(counts[1])),
        len(answers) - len(weighing),
        answers.reach(score / size),
        (before, after),
    )


def ratio_variance(sums: Floats, reach: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Ratio, variance and degrees of freedom of arms, from six sums over their users.

    Parameters
    ----------
    sums : float64 (6, …)
        ΣY, ΣW, ΣY², ΣYW, ΣW² and the number of users.
    reach : float or float64 (…,)
        How far a request can be from the usual.

    Returns
    -------
    ratio, variance, freedom : float64 (…,)
        Variance G/(G − 1)·Σ(Y − RW)²/(ΣW)², and that of one more user of mean size, whose requests
        each are off by `reach`: no error seen is no proof that there is none. Kish's effective
        number of users less 1 are its degrees of freedom.
    """
    total, size, total2, mixed, size2, users = sums
    ratio = divide(total, size, 0.0)
    squares = np.maximum(total2 - 2 * ratio * mixed + ratio**2 * size2, 0.0)
    few = divide(users, users - 1.0, 1.0)
    usual = divide(size, users, 0.0)
    variance = divide(few * squares + reach**2 * usual, size**2, np.inf)
    return ratio, variance, np.maximum(divide(size**2, size2, 0.0) - 1.0, 1.0)


def joined_variance(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Variance of a difference, and Welch and Satterthwaite's degrees of freedom of it, (…,)."""
    variance = first[0] + second[0]
    known = np.isfinite(variance)
    one, other = (np.where(known, each[0], 0.0) for each in (first, second))
    spread = one**2 / first[1] + other**2 / second[1]
    return variance, divide((one + other) ** 2, spread, 1.0)


def six_sums(one: UserSums) -> Floats:
    """What `ratio_variance` adds up, (users, 6)."""
    y, w = one.total, one.size
    return np.stack([y, w, y * y, y * w, w * w, np.ones(len(y))], axis=1)


def _studentized(treated: Floats, whole: Floats, reach: float) -> tuple[Floats, Floats, Floats]:
    """Difference, its error and degrees of freedom, of sums (…, 6) over the treated users."""
    first = ratio_variance(np.moveaxis(whole - treated, -1, 0), reach)
    second = ratio_variance(np.moveaxis(treated, -1, 0), reach)
    variance, freedom = joined_variance(first[1:], second[1:])
    return second[0] - first[0], np.sqrt(variance), freedom


def _compared(one: UserSums, far: Floats, level: float) -> ArmDifference:
    own = six_sums(one)
    whole, treated = own.sum(axis=0), own[one.arm].sum(axis=0)
    users = int(whole[5] - treated[5]), int(treated[5])
    before, after = one.values
    plain = ArmDifference(before, after, *one.n, *users, one.n_left_out)
    if before is None or after is None:
        return plain
    gap, error, freedom = (float(each) for each in _studentized(treated, whole, one.reach))
    if min(users) < FEWEST_USERS or not error:
        return replace(plain, estimate=gap)
    observed = abs(gap) / error
    exceeding = int(np.count_nonzero(far >= observed * (1 - _ROUNDING)))
    p_value = (1 + exceeding) / (1 + len(far))
    if not exceeding:
        p_value = min(p_value, 2 * float(stdtr(freedom, -observed)))
    tail = (1 - level) / 2
    quantile = float(np.quantile(far, level, method="higher"))
    reach = max(
        max(quantile, float(stdtrit(freedom, 1 - tail))) * error,
        float(np.hypot(*(unseen(each, one.reach, tail) for each in (whole - treated, treated)))),
    )
    return replace(
        plain,
        estimate=gap,
        low=gap - reach,
        high=gap + reach,
        p_value=p_value,
        standard_error=error,
    )


def unseen(sums: Floats, reach: Floats | float, tail: float) -> Floats:
    """How far users of a kind that didn't come might move an arm, (…,); 0 where enough differed.

    The Clopper–Pearson bound of the share of users that are of a kind of which none came, times
    `reach`; both arms' are put together as independent (R. Newcombe (1998), Statist. Med. 17,
    873–890, method 10). From a spread on that is as large as `FEW_CHANGED` users of mean size would
    make who are off by `reach`, the spread itself tells.

    Parameters
    ----------
    sums, reach
        As for `ratio_variance`.
    tail : float
        Of the bound.
    """
    total, size, total2, mixed, size2, users = sums
    ratio = divide(total, size, 0.0)
    squares = total2 - 2 * ratio * mixed + ratio**2 * size2
    few = squares < FEW_CHANGED * np.square(reach) * divide(size, users, 0.0)
    bound = reach * (1.0 - tail ** (1.0 / np.maximum(users, 1.0)))
    return np.where(few, bound, 0.0)


def _redealt(
    sums: Sequence[UserSums], users: Ints, share: float, key: str, replicates: int
) -> Floats:
    """How far apart arms are that are dealt anew, in standard errors (replicates, slices).

    All slices share the deals, and a user is dealt once.
    """
    treated = np.zeros((replicates, len(sums), 6))
    own = [six_sums(one) for one in sums]
    places = [np.searchsorted(users, one.user) for one in sums]
    for start in range(0, len(users), _USERS_AT_ONCE):
        width = min(_USERS_AT_ONCE, len(users) - start)
        part = np.zeros((width, len(sums), 6))
        for index, (each, place) in enumerate(zip(own, places, strict=True)):
            first, last = np.searchsorted(place, (start, start + width))
            part[place[first:last] - start, index] = each[first:last]
        uniform = random_uniforms(f"deal {key} {start}", width, replicates)
        dealt = (uniform < share).astype(np.float64) @ part.reshape(width, -1)
        treated += dealt.reshape(treated.shape)
    far = np.empty((replicates, len(sums)))
    for index, (one, each) in enumerate(zip(sums, own, strict=True)):
        gap, error, _ = _studentized(treated[:, index], each.sum(axis=0), one.reach)
        far[:, index] = np.abs(divide(gap, error, 0.0))
    return far
