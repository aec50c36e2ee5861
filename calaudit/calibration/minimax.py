"""Ranges for the worst slice: choose one amax per tap so that the largest harm is smallest.

Costs are additive over taps: the harm of group g is Σ_t costs[t, g, choice_t]. With weights w over
the groups that sum to 1, taps are independent of one another, and

    bound(w) = Σ_t min_a Σ_g w_g · costs[t, g, a]

is at most the worst group's harm under *any* choice, since a weighted mean is at most the maximum.
The best such bound is a linear programme (its dual mixes choices); a choice that is near it is
certified by it, however it was found. A bound of ranges is one for the amaxes that were looked at:
a ladder over all that can make sense, and a finer one around the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.harm import HarmCurves, harm, harm_curves, weighted
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.tap_harm import Members

Floats = NDArray[np.float64]

TOLERANCE: Final = 1e-9
"""Relative; cuts that a bound misses by less aren't added."""
_MOST_ROUNDS: Final = 500
_ROUNDINGS: Final = 64
"""Mixtures of choices that are rounded at random, beside the likeliest."""
_STARTS: Final = 4
"""Roundings that are improved tap by tap, the best first."""
_MOST_SWEEPS: Final = 50
_FINER: Final = 32
"""Amaxes between each chosen one and the next on either side."""
MOST_TOGETHER: Final = 512
"""Groups whose harm at all candidates is held at once."""
_FIRST: Final = 128
"""Of more groups, those that are looked at first."""
_ADDED: Final = 64
_MOST_TIMES: Final = 1 + (MOST_TOGETHER - _FIRST) // _ADDED
"""Until as many are looked at as are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One amax per tap, and how far from the best it can be."""

    choice: NDArray[np.int64]
    """(T,) place on each tap's ladder."""
    harm: Floats
    """(G,) Σ over the taps."""
    bound: float
    """No choice at all has a smaller worst harm."""
    weights: Floats
    """(G,) that prove the bound; at least 0, sum 1. Groups of weight 0 don't limit it."""

    @property
    def worst(self) -> float:
        """The largest harm of a group."""
        return float(self.harm.max())

    @property
    def gap(self) -> float:
        """Share of the worst harm that a better choice might still save; 0: it is the best."""
        return max(0.0, 1.0 - self.bound / self.worst) if self.worst > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FreeRanges:
    """Ranges that no calibration set gave: those that make the worst group's harm smallest."""

    taps: tuple[str, ...]
    groups: tuple[str, ...]
    amax: Floats
    """(T,)."""
    found: Choice
    """Its harm and bound; places are those of `n_amax` candidates."""
    n_amax: int
    """Candidates per tap that the bound holds for."""

    @property
    def ranges(self) -> dict[str, float]:
        """Tap → amax."""
        return dict(zip(self.taps, self.amax.tolist(), strict=True))


def minimax_ranges(
    histograms: Histograms,
    *,
    groups: Sequence[str],
    members: Members | None = None,
    weights: Floats | None = None,
    coarse: HarmCurves | None = None,
) -> FreeRanges:
    """Ranges that make the largest predicted harm of any group smallest.

    Parameters
    ----------
    histograms : Histograms
        T taps over the G groups, or over parts that `members` sums up.
    groups : sequence of str
        Their names.
    members : bool or float64 (G, P), optional
        As `calaudit.calibration.harm.harm` has it.
    weights : float64 (T,), optional
        Of the taps' harm.
    coarse : HarmCurves, optional
        `harm_curves` of the same histograms, groups and members, where they are known. Without
        them, ranges of more than `MOST_TOGETHER` groups are found by those that limit them.

    Raises
    ------
    ValueError
        No taps or no groups.
    """
    if coarse is None and len(groups) > MOST_TOGETHER:
        return _of_many(histograms, groups, members, weights)
    coarse = coarse or harm_curves(histograms, groups=groups, members=members)
    each = weighted(coarse.taps, weights)[:, None, None]
    first = minimise_worst(coarse.total * each)
    taps, last = np.arange(len(coarse.taps)), coarse.ladder.shape[1] - 1
    low = coarse.ladder[taps, np.maximum(first.choice - 1, 0)]
    high = coarse.ladder[taps, np.minimum(first.choice + 1, last)]
    between = np.geomspace(low, high, 2 * _FINER + 1, axis=1)
    fine = harm_curves(histograms, between, groups=groups, members=members)
    ladder = np.concatenate([coarse.ladder, fine.ladder], axis=1)
    found = minimise_worst(np.concatenate([coarse.total, fine.total], axis=2) * each)
    return FreeRanges(
        coarse.taps, tuple(groups), ladder[taps, found.choice], found, ladder.shape[1]
    )


def _of_many(
    histograms: Histograms, groups: Sequence[str], members: Members | None, weights: Floats | None
) -> FreeRanges:
    """Of thousands of groups few limit the ranges: begin with some, and add those that are worse.

    A bound of some groups is one of all, and the harm of the ranges is looked up for all.
    """

    def of_all(amax: Floats) -> Floats:
        return harm(histograms, amax, groups=groups, members=members).sums(weights)

    def of_some(chosen: NDArray[np.intp]) -> FreeRanges:
        names = [groups[place] for place in chosen.tolist()]
        some = np.zeros((len(names), histograms.n_groups)) if members is None else members[chosen]
        if members is None:
            some[np.arange(len(names)), chosen] = 1.0
        return minimax_ranges(histograms, groups=names, members=some, weights=weights)

    largest = histograms.amax.max(axis=1).astype(np.float64)
    worst = of_all(np.where(largest > 0, largest, 1.0))
    chosen = np.sort(np.argsort(-worst, kind="stable")[:_FIRST])
    best: FreeRanges | None = None
    bound, limiting = 0.0, np.zeros(len(groups))
    for _ in range(_MOST_TIMES):
        free = of_some(chosen)
        worst = of_all(free.amax)
        if free.found.bound >= bound:
            bound = free.found.bound
            limiting = np.zeros(len(groups))
            limiting[chosen] = free.found.weights
        if best is None or worst.max() < best.found.worst:
            found = Choice(free.found.choice, worst, bound, limiting)
            best = FreeRanges(free.taps, tuple(groups), free.amax, found, free.n_amax)
        worse = np.setdiff1d(np.flatnonzero(worst > free.found.worst * (1 + TOLERANCE)), chosen)
        if not len(worse):
            break
        most = worse[np.argsort(-worst[worse], kind="stable")[:_ADDED]]
        chosen = np.sort(np.concatenate([chosen, most]))
    assert best is not None
    return replace(best, found=replace(best.found, bound=bound, weights=limiting))


def minimise_worst(costs: Floats, *, seed: int = 0) -> Choice:
    """The choice per tap that makes the worst group's harm smallest, with a bound for any choice.

    Parameters
    ----------
    costs : float64 (T, G, A)
        Harm of each tap to each group at each of A amaxes; 0 or more. Infinite where a tap can't
        take it: each tap can take one at least.
    seed : int
        Of the roundings.

    Returns
    -------
    Choice
        ``bound <= worst`` up to rounding. At most G taps are mixed in the linear programme's
        solution, so the gap vanishes with many taps of like weight.

    Raises
    ------
    ValueError
        No taps, groups or amaxes; a negative cost or NaN; a tap that can take none.
    """
    _check(costs)
    unit = _unit(costs)
    scaled = costs / unit
    weights, mixture = _solve(scaled)
    chosen = _rounded(scaled, weights, mixture, np.random.default_rng(seed))
    harm = _harm(scaled, chosen) * unit
    return Choice(chosen, harm, min(_bound(scaled, weights) * unit, float(harm.max())), weights)


def bound_of(costs: Floats, weights: Floats) -> float:
    """What no choice's worst harm is below, by these weights (G,): at least 0, sum 1."""
    _check(costs)
    return _bound(costs, weights)


def _check(costs: Floats) -> None:
    if costs.ndim != 3 or 0 in costs.shape:
        raise ValueError(f"costs must be (T, G, A), none of them 0; got {costs.shape}")
    if np.isnan(costs).any() or (costs < 0).any():
        raise ValueError("costs must be 0 or more")
    if not np.isfinite(costs.max(axis=1).min(axis=1)).all():
        raise ValueError("a tap has no amax at which all its costs are finite")


def _unit(costs: Floats) -> float:
    """About the worst harm: solvers want numbers near 1."""
    total = np.where(np.isfinite(costs), costs, np.inf).max(axis=1).min(axis=1).sum()
    return float(total) if total > 0 else 1.0


def _weighted(costs: Floats, weights: Floats) -> Floats:
    """(T, A); infinity stays infinity under a weight of 0."""
    usable = np.isfinite(costs).all(axis=1)
    finite = costs if usable.all() else np.where(np.isfinite(costs), costs, 0.0)
    mean: Floats = np.einsum("tga,g->ta", finite, weights)
    return np.where(usable, mean, np.inf)


def _own_best(costs: Floats) -> NDArray[np.int64]:
    """(T, G): the amax that each tap would take for one group alone."""
    best = [np.where(np.isfinite(own).all(axis=0), own, np.inf).argmin(axis=1) for own in costs]
    return np.array(best, np.int64)


def _bound(costs: Floats, weights: Floats) -> float:
    return float(_weighted(costs, weights).min(axis=1).sum())


def _harm(costs: Floats, choice: NDArray[np.int64]) -> Floats:
    taps = np.arange(len(costs))
    harm: Floats = costs[taps, :, choice].sum(axis=0)
    return harm


def _solve(costs: Floats) -> tuple[Floats, Floats]:
    """Weights of the best bound, and the mixture of choices that proves them best.

    Cutting planes, one family for each tap: the largest Σ_t θ_t with θ_t ≤ Σ_g w_g·costs[t, g, a]
    for the amaxes a seen so far. What a tap would rather take under the weights found is added,
    until there is nothing (J. Kelley 1960; column generation, seen from the mixtures).

    Returns
    -------
    weights : float64 (G,)
    mixture : float64 (T, A)
        How much of each amax a tap takes; rows sum to 1.
    """
    n_taps, n_groups, _ = costs.shape
    taps = np.arange(n_taps)
    seen = np.zeros((n_taps, costs.shape[2]), bool)
    seen[taps, _weighted(costs, np.full(n_groups, 1.0 / n_groups)).argmin(axis=1)] = True
    seen[taps[:, None], _own_best(costs)] = True
    for _ in range(_MOST_ROUNDS):
        weights, least, mixture = _master(costs, seen)
        values = _weighted(costs, weights)
        best = values.argmin(axis=1)
        short = least - values[taps, best] > TOLERANCE / n_taps
        if not (short & ~seen[taps, best]).any():
            break
        seen[taps[short], best[short]] = True
    return weights, mixture


def _master(costs: Floats, seen: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """The programme over the amaxes seen: weights (G,), θ (T,), and the dual mixture (T, A)."""
    from scipy.optimize import linprog  # slow to import
    from scipy.sparse import coo_array, csr_array, hstack

    n_taps, n_groups, _ = costs.shape
    tap, place = np.nonzero(seen)
    rows = np.arange(len(tap))
    of_tap = coo_array((np.ones(len(tap)), (rows, tap)), shape=(len(tap), n_taps))
    cuts: Any = hstack([csr_array(-costs[tap, :, place]), of_tap], format="csr")
    found = linprog(
        c=np.concatenate([np.zeros(n_groups), np.full(n_taps, -1.0)]),
        A_ub=cuts,
        b_ub=np.zeros(len(tap)),
        A_eq=np.concatenate([np.ones(n_groups), np.zeros(n_taps)])[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n_groups + [(None, None)] * n_taps,
        method="highs",
    )
    if found.x is None:
        raise ValueError(f"the linear programme wasn't solved: {found.message}")
    weights = np.maximum(found.x[:n_groups], 0.0)
    mixture = np.zeros(seen.shape)
    mixture[tap, place] = np.maximum(-found.ineqlin.marginals, 0.0)
    return weights / weights.sum(), found.x[n_groups:], _normal(mixture, seen)


def _normal(mixture: Floats, seen: NDArray[np.bool_]) -> Floats:
    total = mixture.sum(axis=1, keepdims=True)
    even = seen / seen.sum(axis=1, keepdims=True)
    return np.where(total > 0, mixture / np.where(total > 0, total, 1.0), even)


def _rounded(
    costs: Floats, weights: Floats, mixture: Floats, rng: np.random.Generator
) -> NDArray[np.int64]:
    """One amax per tap, near the mixture: the best of several roundings, improved tap by tap."""
    likeliest = mixture.argmax(axis=1)
    # under the weights alone, with a little of every group, so that no tap is left to chance
    even = 0.999 * weights + 0.001 / len(weights)
    starts = [likeliest, _weighted(costs, even).argmin(axis=1)]
    mixed = np.flatnonzero(mixture.max(axis=1) < 1 - 1e-9)
    if len(mixed):
        steps = np.cumsum(mixture[mixed], axis=1)
        for _ in range(_ROUNDINGS):
            drawn = likeliest.copy()
            drawn[mixed] = (rng.random((len(mixed), 1)) < steps / steps[:, -1:]).argmax(axis=1)
            starts.append(drawn)
    starts.sort(key=lambda each: _objective(_harm(costs, each)))
    improved = [_improved(costs, start) for start in starts[:_STARTS]]
    return min(improved, key=lambda each: _objective(_harm(costs, each)))


def _objective(harm: Floats) -> tuple[float, float]:
    return float(harm.max()), float(harm.mean())


def _improved(costs: Floats, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Change one tap at a time while the worst harm, or at the same worst the mean, gets less."""
    choice = start.copy()
    harm = _harm(costs, choice)
    for _ in range(_MOST_SWEEPS):
        changed = False
        for tap, own in enumerate(costs):
            others = harm - own[:, choice[tap]]
            tried = others[:, None] + own
            worst, mean = tried.max(axis=0), tried.mean(axis=0)
            near = worst <= worst.min() * (1 + TOLERANCE)
            best = int(np.where(near, mean, np.inf).argmin())
            better = worst[best] < worst[choice[tap]] * (1 - TOLERANCE)
            same = worst[best] <= worst[choice[tap]] * (1 + TOLERANCE)
            if better or (same and mean[best] < mean[choice[tap]] * (1 - TOLERANCE)):
                choice[tap], harm, changed = best, tried[:, best], True
        harm = _harm(costs, choice)  # no drift of rounded differences
        if not changed:
            break
    return choice
