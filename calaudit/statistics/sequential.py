"""Always-valid tests: an experiment that may be watched after every request, and ended any time.

The difference of two arms, in standard errors Z, is watched by the normal mixture of H. Robbins
(1970), Ann. Math. Statist. 41, 1397–1409: with information I (one over the variance) and a prior
N(0, 1/ρ) for the true difference, E = √(ρ/(I + ρ))·exp(Z²·I/(2(I + ρ))) is a martingale where
there is no difference, so that it ever exceeds 1/α with a chance of at most α. min(1, 1/max E) is
a p-value at every moment, and what it doesn't reject a confidence sequence (S. Howard, A. Ramdas,
J. McAuliffe & J. Sekhon (2021), Ann. Statist. 49, 1055–1080).

The variance is estimated, with users as clusters, so that this holds in the long run
(I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy & A. Ramdas (2024), Ann. Statist. 52, 2613–2640):
nothing is told before each arm has `START` users. Users who come back make later requests say less
than as many new ones; requests count as information all the same, which can only make the test
slower: Z then moves less between looks than a Brownian motion would (D. Slepian's inequality,
1962).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import Answers, joined_variance, ratio_variance, unseen
from calaudit.statistics.verdict import holm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START: Final = 20
"""Users with a score in each arm, from which on the test is watched."""
SOONEST: Final = 32.0
"""The prior weighs as much as the planned requests over this number: the sequence is narrowest,
for its level, at about a quarter of them. Of 2, 8, 32 and 100 none found more drops of 1 point, and
one found drops of 3 points a little sooner (benchmarks/ab_replays.py)."""


@dataclass(frozen=True, eq=False, slots=True)
class Watch:
    """One slice as it was watched; arrays are (looks,), one look per request with a score."""

    request: Ints
    """Number of the request among all, from 1 on."""
    estimate: Floats
    """Treatment minus control."""
    radius: Floats
    """Of the confidence sequence at level 1 − α: half of its width; infinite before the start.
    Where few users differ at all, at least as far as users of a kind that didn't come yet might
    move the estimate."""
    p_value: Floats
    """Always valid: never rises; 1 before the start."""

    @property
    def low(self) -> Floats:
        """(looks,) lower ends of the confidence sequence."""
        return self.estimate - self.radius

    @property
    def high(self) -> Floats:
        """(looks,) upper ends of the confidence sequence."""
        return self.estimate + self.radius

    @property
    def started(self) -> int | None:
        """The request from which it was watched; None where it never was."""
        looks = np.flatnonzero(np.isfinite(self.radius))
        return int(self.request[looks[0]]) if len(looks) else None

    def thinned(self, n: int) -> "Watch":
        """At most `n` looks, spread evenly, the last one among them."""
        if len(self.request) <= n:
            return self
        kept = np.unique(np.linspace(0, len(self.request) - 1, n).astype(np.int64))
        return Watch(
            self.request[kept],
            self.estimate[kept],
            self.radius[kept],
            self.p_value[kept],
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What an always-valid test has come to after all requests."""

    estimate: float | None
    low: float | None
    high: float | None
    """Of the confidence sequence, for this slice alone; None where nothing bounds it yet."""
    p_value: float | None
    """Always valid; None where it never was watched."""
    p_adjusted: float | None
    """By Holm's method over all slices, those that were never watched among them; None where this
    one never was."""
    started: int | None
    """Number of the request from which it was watched."""
    decided: int | None
    """Number of the first request after which `p_adjusted` was at most α."""
    within: int | None
    """Number of the first request after which the sequence excluded a harm as large as the gate."""


def watch_arms(
    answers: Answers,
    rows: Ints,
    *,
    planned: int | None = None,
    alpha: float = 0.05,
    start: int = START,
) -> Watch:
    """Watch one slice of two arms after every request.

    Parameters
    ----------
    answers : Answers
        Of n requests, in the order in which they came.
    rows : int64 (k,)
        The slice's requests, ascending.
    planned : int, optional
        Requests of the slice at which the test is to be most sensitive; fixed beforehand. None: as
        many as the slice has, where the whole log is known.
    alpha : float
        Error at any moment.
    start : int
        Users with a score that each arm must have.

    Raises
    ------
    SettingsError
        `planned` isn't above 0.
    """
    own = _scored(answers.take(rows), rows)
    before, after = (_course(own, side, alpha) for side in (0, 1))
    variance, freedom = joined_variance(
        (before.variance, before.freedom), (after.variance, after.freedom)
    )
    whole = _Course(
        after.ratio - before.ratio,
        variance,
        freedom,
        np.minimum(before.users, after.users),
        np.hypot(before.unseen, after.unseen),
    )
    return _watched(own.request, whole, _Plan(planned, alpha, start))


def watch_pairs(
    user: Ints,
    difference: Floats,
    rows: Ints,
    *,
    size: Floats | None = None,
    span: float | None = None,
    planned: int | None = None,
    alpha: float = 0.05,
    start: int = START,
) -> Watch:
    """Watch one slice in shadow mode, where both arms answer every request.

    Parameters
    ----------
    user : int64 (n,)
    difference : float64 (n,)
        Treatment's score minus control's on the same request; NaN where one has none.
    rows : int64 (k,)
        The slice's requests, ascending.
    size : float64 (n,), optional
        Of a ratio of sums: the denominators.
    span : float, optional
        The most that one difference can be, either way.
    planned, alpha, start
        As `watch_arms`; `start` users with a score in all.
    """
    nothing = np.zeros(len(user))
    pairs = Answers(nothing.astype(np.int8), user, difference, size, span, expected=nothing)
    own = _scored(pairs.take(rows), rows)
    return _watched(own.request, _course(own, 0, alpha), _Plan(planned, alpha, start))


def decide(
    watches: Mapping[str, Watch],
    *,
    max_harm: Mapping[str, float] | None = None,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> dict[str, Decision]:
    """When each slice was decided, all slices being watched at once.

    Parameters
    ----------
    watches : mapping
        Slice → from `watch_arms` or `watch_pairs`.
    max_harm : mapping, optional
        Slice → gate: the largest loss of quality that is tolerable, above 0. Every slice within its
        gate is an intersection–union test, so that no correction is due.
    higher_is_better : bool
        Of the metric: which way quality is lost.
    alpha : float
        The level that they were watched at.

    Notes
    -----
    Holm's method at every moment, over all slices from the first request on, those that haven't
    started with p = 1: p-values never rise, so that what is decided stays decided, and the chance
    that any slice without a difference is ever called different is at most α.
    """
    moments = _moments(watches, alpha)
    started = {name: watch.started for name, watch in watches.items()}
    last = {
        name: 1.0 if started[name] is None else float(watch.p_value[-1])
        for name, watch in watches.items()
    }
    adjusted = dict(zip(last, holm(list(last.values())).tolist(), strict=True))
    found: dict[str, Decision] = {}
    for name, watch in watches.items():
        known = len(watch.request) > 0
        bounded = known and bool(np.isfinite(watch.radius[-1]))
        gate = (max_harm or {}).get(name)
        loss = -watch.low if higher_is_better else watch.high
        inside = np.flatnonzero(loss < gate) if gate is not None else np.zeros(0, np.int64)
        found[name] = Decision(
            float(watch.estimate[-1]) if bounded else None,
            float(watch.low[-1]) if bounded else None,
            float(watch.high[-1]) if bounded else None,
            None if started[name] is None else last[name],
            None if started[name] is None else adjusted[name],
            started[name],
            moments.get(name),
            int(watch.request[inside[0]]) if len(inside) else None,
        )
    return found


def _moments(watches: Mapping[str, Watch], alpha: float) -> dict[str, int]:
    """Slice → the request after which Holm's method rejects it; those it never rejects lack.

    Holm rejects slice by slice, the k-th at α/(m − k + 1): whenever one is rejected, the others
    have a lower bar to pass, at that moment or later.
    """
    found: dict[str, int] = {}
    now, m = 0, len(watches)
    while len(found) < m:
        level = alpha / (m - len(found))
        crossings = {
            name: max(now, int(watch.request[looks[0]]))
            for name, watch in watches.items()
            if name not in found and len(looks := np.flatnonzero(watch.p_value <= level))
        }
        if not crossings:
            break
        now = min(crossings.values())
        found |= {name: now for name, moment in crossings.items() if moment == now}
    return found


@dataclass(frozen=True, slots=True)
class _Plan:
    planned: int | None
    alpha: float
    start: int


@dataclass(frozen=True, eq=False, slots=True)
class _Scored:
    """The requests of a slice that have a score; arrays are (looks,)."""

    request: Ints
    arm: NDArray[np.int8]
    user: Ints
    score: Floats
    size: Floats
    reach: Floats
    """As `Answers.reach`, of the requests so far."""


def _scored(own: Answers, rows: Ints) -> _Scored:
    sizes = own.sizes
    kept = np.flatnonzero(sizes > 0)
    score, size = own.apart[kept], sizes[kept]
    seen = score / size
    if len(kept) and own.expected is None:
        seen = np.maximum.accumulate(seen) - np.minimum.accumulate(seen)
    elif len(kept):
        seen = np.maximum.accumulate(np.abs(seen))
    reach = np.where(seen > 0, seen, own.span or 0.0)
    return _Scored(rows[kept] + 1, own.arm[kept], own.user[kept], score, size, reach)


@dataclass(frozen=True, eq=False, slots=True)
class _Course:
    """One arm, or the difference of two, after every request of the slice; arrays are (looks,)."""

    ratio: Floats
    variance: Floats
    freedom: Floats
    users: Ints
    """Of the arm that has fewer."""
    unseen: Floats
    """How far users of a kind that didn't come yet might move it."""


def _course(own: _Scored, side: int, alpha: float) -> _Course:
    """How an arm's ratio and its cluster-robust variance went on.

    That none of a kind came among the first n users is less likely with every further one, so that
    the bound (1 − p)ⁿ = α/2 holds at all moments together.
    """
    mine = np.flatnonzero(own.arm == side)
    y, w = own.score[mine], own.size[mine]
    before_y, before_w, is_new = _earlier(own.user[mine], y, w)
    steps = np.stack(
        [
            y,
            w,
            2 * y * before_y + y * y,
            y * before_w + w * before_y + y * w,
            2 * w * before_w + w * w,
            is_new.astype(np.float64),
        ]
    )
    sums = np.zeros((6, len(own.arm)))
    sums[:, mine] = steps
    sums = sums.cumsum(axis=1)
    ratio, variance, freedom = ratio_variance(sums, own.reach)
    beyond = unseen(sums, own.reach, alpha / 2)
    return _Course(ratio, variance, freedom, sums[5].astype(np.int64), beyond)


def _earlier(who: Ints, y: Floats, w: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Each request's user's sums before it, and whether they are new."""
    order = np.argsort(who, kind="stable")
    first = np.ones(len(who), dtype=bool)
    first[1:] = who[order][1:] != who[order][:-1]
    found = []
    for each in (y[order], w[order]):
        so_far = each.cumsum() - each
        start = np.maximum.accumulate(np.where(first, np.arange(len(who)), 0))
        own = np.empty(len(who))
        own[order] = so_far - so_far[start]
        found.append(own)
    is_new = np.empty(len(who), dtype=bool)
    is_new[order] = first
    return found[0], found[1], is_new


def _watched(request: Ints, course: _Course, plan: _Plan) -> Watch:
    if plan.planned is not None and plan.planned < 1:
        raise SettingsError(f"{plan.planned} requests are planned", next_step="Give at least 1.")
    n = np.arange(1, len(request) + 1)
    prior = (plan.planned or max(len(request), 1)) / SOONEST / n
    finite = np.isfinite(course.variance) & (course.variance > 0)
    known = (course.users >= plan.start) & finite
    error = np.sqrt(np.where(known, course.variance, 1.0))
    freedom = np.where(known, course.freedom, 1.0)
    z = _normal(np.where(known, course.ratio, 0.0) / error, freedom)
    log_e = 0.5 * (np.log(prior / (1 + prior)) + z**2 / (1 + prior))
    log_e = np.where(known, log_e, 0.0)
    p_value = np.exp(-np.maximum(np.maximum.accumulate(log_e), 0.0)) if len(n) else log_e
    widest = np.sqrt((1 + prior) * (np.log((1 + prior) / prior) - 2 * np.log(plan.alpha)))
    with np.errstate(over="ignore"):
        reached = np.maximum(_student(widest, freedom) * error, course.unseen)
    radius = np.where(known, reached, np.inf)
    return Watch(request, course.ratio, radius, p_value)


def _normal(t: Floats, freedom: Floats) -> Floats:
    """The normal deviate as far out as Student's t (D. Wallace 1959, Ann. Math. Statist. 30, 1124).

    In closed form as far out as one likes, and never too far out: 6 standard deviations are taken
    for 5.96 with 10 degrees of freedom, for 5.74 with 3.
    """
    scale = (8 * freedom + 1) / (8 * freedom + 3)
    return np.asarray(np.sign(t) * scale * np.sqrt(freedom * np.log1p(t**2 / freedom)))


def _student(z: Floats, freedom: Floats) -> Floats:
    """The inverse of `_normal`, for z ≥ 0."""
    scale = (8 * freedom + 1) / (8 * freedom + 3)
    return np.asarray(np.sqrt(freedom * np.expm1((z / scale) ** 2 / freedom)))
