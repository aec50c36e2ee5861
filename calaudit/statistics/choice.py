"""Choose among engines on rows that no claim is made about.

Drops of many slices are noisy, and the largest of them is the noisiest. Before engines are compared
by their worst slice, each slice's drop is shrunk towards the mean of all of that engine's, by as
much as the slices' differences are noise (random effects: R. DerSimonian & N. Laird 1986,
Controlled Clinical Trials 7, 177–188). Where slices differ by chance alone all are taken for alike;
where one is harmed it stays apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.results.comparison import Verdict
from calaudit.statistics.criteria import Comparison

Floats = NDArray[np.float64]

ROOM: Final = 0.5
"""Share of a gate that may be used up: what is left is room for other rows, and to prove it."""
LEAST_ROWS: Final = 30
"""Rows below which nothing is told apart, whatever the gates."""


def shrink(drops: Floats, errors: Floats) -> Floats:
    """Drops of one engine by one metric, shrunk towards their mean.

    Parameters
    ----------
    drops : float64 (S,)
        Of the slices.
    errors : float64 (S,)
        Their standard errors, positive; infinite where nothing is known.

    Returns
    -------
    float64 (S,)
        Between the weighted mean and the drop itself.
    """
    weights = 1.0 / np.square(errors)
    total = float(weights.sum())
    if total <= 0:
        return np.zeros_like(drops)
    mean = float(weights @ drops) / total
    spread = float(weights @ np.square(drops - mean)) - (np.count_nonzero(weights) - 1)
    scale = total - float(weights @ weights) / total
    between = max(0.0, spread / scale) if scale > 0 else 0.0
    with np.errstate(invalid="ignore"):
        kept = np.where(np.isinf(errors), 0.0, between / (between + np.square(errors)))
    return mean + kept * (drops - mean)


@dataclass(frozen=True, slots=True)
class Standing:
    """How an engine did on the tuning rows."""

    price: int
    """Of its remedy: 0 is free."""
    worst: Comparison | None
    """Where most of a gate is used up; None where nothing could be compared."""
    used: float
    """Largest share of a gate that is used up, after shrinkage; without gates the largest drop."""
    error: float
    """Its standard error, in the same unit."""
    lost: bool = False
    """Whether a drop is significantly above 0 that isn't provably below its gate."""
    gated: bool = True
    drops: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """Metric and slice → what `used` and `error` are of the worst."""

    @property
    def holds(self) -> bool:
        """Whether it is taken to keep the gates."""
        return self.gated and not self.lost and self.used <= ROOM


def standing(comparisons: Sequence[Comparison], *, price: int) -> Standing:
    """How one engine did.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Judged. Those with a gate count; without any gate, all.
    price : int
        Of its remedy.
    """
    gated = any(one.max_drop is not None for one in comparisons)
    counted = [
        one
        for one in comparisons
        if one.drop is not None and (one.max_drop is not None or not gated)
    ]
    lost = any(one.verdict == Verdict.REGRESSED for one in comparisons)
    found: list[tuple[float, float, Comparison]] = []
    for metric in dict.fromkeys(one.metric for one in counted):
        own = [one for one in counted if one.metric == metric]
        drops = np.array([one.drop for one in own], np.float64)
        errors = _errors(own)
        shares = [one.max_drop or 1.0 for one in own]
        shrunk = shrink(drops, errors)
        found += [
            (float(drop) / share, float(error) / share, one)
            for drop, error, share, one in zip(shrunk, errors, shares, own, strict=True)
        ]
    if not found:
        return Standing(price, None, np.inf, 0.0, lost=True, gated=gated)
    places = {(one.metric, one.slice): (drop, noise) for drop, noise, one in found}
    used, error, worst = max(found, key=lambda each: each[0])
    return Standing(price, worst, used, error, lost=lost, gated=gated, drops=places)


def rows_needed(gates: Iterable[tuple[float, float | None]]) -> int:
    """Rows to choose by: so many that no single one uses up all the room that gates leave.

    Parameters
    ----------
    gates : iterable of (float, float or None)
        Gates, each with how far a unit's score can change; None where nothing bounds it.
    """
    rows = (span / (ROOM * gate) for gate, span in gates if span is not None and gate > 0)
    return max(LEAST_ROWS, ceil(max(rows, default=0.0) - 1e-9))


def _errors(comparisons: Sequence[Comparison]) -> Floats:
    """Standard errors (S,) of one metric's drops; a slice without changes isn't certain either.

    None is smaller than what the mean variance per unit of all slices gives as many units, or one
    unit that changes by all it can.
    """
    n = np.array([max(one.n_effective or one.n, 1.0) for one in comparisons])
    own = np.array([one.standard_error or 0.0 for one in comparisons])
    per_unit = float((np.square(own) * n * n).sum() / n.sum())
    largest = max(abs(one.drop or 0.0) for one in comparisons) or 1.0
    span = comparisons[0].by.span or largest
    found: Floats = np.maximum(np.maximum(own, np.sqrt(per_unit / n)), span / n)
    return found


def ranked(standings: Sequence[Standing], *, few: bool = False) -> list[int]:
    """Places of the engines, the one to ship first; of equal ones the earlier.

    Engines that hold come first, the cheapest remedy first; within a remedy the earlier, unless
    another uses up less of its gate beyond the noise. Where none holds, the cheapest one that does
    as well as the best, up to the noise of both, comes first. The rest follow by how much they use
    up, those that hold before the others.

    Without gates the first of the cheapest is kept, unless another saves more on the slice where it
    loses most than it costs on any, beyond the noise: worst drops of different slices aren't
    compared. It is also kept where `few` rows chose and no other does better beyond the noise.
    """
    holding = [place for place, one in enumerate(standings) if one.holds]
    kept = _cheapest(standings, range(len(standings)))[0]
    if not any(one.gated for one in standings):
        first = _least_by_slices(standings, kept)
    elif holding:
        first = _least_within(standings, _cheapest(standings, holding))
    else:
        best = min(range(len(standings)), key=lambda place: standings[place].used)
        near = [
            place
            for place, one in enumerate(standings)
            if one.used - standings[best].used <= float(np.hypot(one.error, standings[best].error))
        ]
        first = _least_within(standings, _cheapest(standings, near))
    if few and not standings[kept].lost and not _less(standings[first], standings[kept]):
        first = kept
    rest = sorted(
        (place for place in range(len(standings)) if place != first),
        key=lambda place: (not standings[place].holds, standings[place].used, place),
    )
    return [first, *rest]


def _cheapest(standings: Sequence[Standing], places: Sequence[int]) -> list[int]:
    least = min(standings[place].price for place in places)
    return [place for place in places if standings[place].price == least]


def _less(one: Standing, other: Standing) -> bool:
    """Whether it uses up less, beyond the noise."""
    return other.used - one.used > float(np.hypot(one.error, other.error))


def _least_by_slices(standings: Sequence[Standing], kept: int) -> int:
    first = kept
    for place in sorted(range(len(standings)), key=lambda place: standings[place].price):
        if all(_improves(standings[place], standings[each]) for each in {first, kept}):
            first = place
    return first


def _improves(one: Standing, other: Standing) -> bool:
    """Whether it saves more where the other loses most than it costs anywhere, beyond the noise."""
    if one.worst is None or other.worst is None:
        return other.worst is None and one.worst is not None
    saved, noise = _lost_more(other, one, (other.worst.metric, other.worst.slice))
    costs = [_lost_more(one, other, where) for where in one.drops]
    cost, its_noise = max(costs, default=(0.0, 0.0))
    if cost <= 0:
        return saved > noise
    return saved - cost > float(np.hypot(noise, its_noise))


def _lost_more(one: Standing, other: Standing, where: tuple[str, str]) -> tuple[float, float]:
    """How much more it loses on a slice, and the noise of that."""
    if where not in one.drops or where not in other.drops:
        return 0.0, 0.0
    (drop, noise), (own, its) = one.drops[where], other.drops[where]
    return drop - own, float(np.hypot(noise, its))


def _least_within(standings: Sequence[Standing], places: Sequence[int]) -> int:
    """The first, or one that uses up less than it beyond the noise."""
    first = places[0]
    best = min(places, key=lambda place: standings[place].used)
    noise = float(np.hypot(standings[first].error, standings[best].error))
    return best if standings[first].used - standings[best].used > noise else first
