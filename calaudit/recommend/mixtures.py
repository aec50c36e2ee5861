"""Shares of slices that a calibration set should have, found on their histograms before any draw.

A set that draws these shares has about the mixed histogram, so that each method's ranges, and what
they do to every slice, follow without one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.methods import estimate_amax
from calaudit.calibration.observation import Observation
from calaudit.recommend.predicting import Predictor
from calaudit.runtime.compiled import map_on_cores
from calaudit.runtime.progress import counter
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import SliceSet

Floats = NDArray[np.float64]

STEPS: Final = 8
"""Shares are multiples of 1/STEPS."""
MOST_PARTS: Final = 10
"""Slices of a dimension that shares are sought for, at most."""
MOST_TRIES: Final = 120
"""Mixtures that are looked at for one dimension and method."""
_FEWEST: Final = 8
"""Tuning rows of a slice that a share may be given to."""
_SMALLEST_AMAX: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the slices of one dimension, and what they are predicted to do."""

    dimension: Dimension
    method: str
    shares: dict[str, float]
    """Slice → share of the set; those of 0 left out."""
    worst: float
    """Predicted harm to the slice that is harmed most."""


def search_shares(
    cost: Callable[[tuple[int, ...]], float], n: int, *, steps: int = STEPS, most: int = MOST_TRIES
) -> tuple[tuple[int, ...], float]:
    """Numbers that sum to `steps` and have the smallest cost found.

    From equal parts, or the best single part, units are moved between two parts as long as that
    helps.

    Parameters
    ----------
    cost : callable
        Of (n,) whole numbers that sum to `steps`.
    n : int
        Parts.
    steps : int
    most : int
        Costs to ask for at most.

    Returns
    -------
    tuple of int, float
        The numbers and their cost.
    """
    known: dict[tuple[int, ...], float] = {}

    def ask(parts: tuple[int, ...]) -> float:
        if parts not in known:
            known[parts] = cost(parts)
        return known[parts]

    for start in _starts(n, steps):
        ask(start)
    best = min(known, key=lambda parts: known[parts])
    unit = max(1, steps // 4)
    while len(known) < most:
        moved = min(_moves(best, unit), key=lambda each: _within(known, ask, each, most))
        if known.get(moved, np.inf) < known[best]:
            best = moved
        elif unit > 1:
            unit //= 2
        else:
            break
    return best, known[best]


def _within(
    known: dict[tuple[int, ...], float],
    ask: Callable[[tuple[int, ...]], float],
    parts: tuple[int, ...],
    most: int,
) -> float:
    return ask(parts) if parts in known or len(known) < most else np.inf


def _starts(n: int, steps: int) -> Iterator[tuple[int, ...]]:
    even, left = divmod(steps, n)
    yield tuple(even + (place < left) for place in range(n))
    for place in range(n):
        yield tuple(steps if other == place else 0 for other in range(n))


def _moves(parts: tuple[int, ...], unit: int) -> Iterator[tuple[int, ...]]:
    yield parts
    for source, held in enumerate(parts):
        if held < unit:
            continue
        for target in range(len(parts)):
            if target != source:
                changed = list(parts)
                changed[source] -= unit
                changed[target] += unit
                yield tuple(changed)


def best_mixtures(
    predictor: Predictor,
    slices: SliceSet,
    dimensions: Sequence[Dimension],
    methods: Sequence[str],
) -> list[Mixture]:
    """The best mixture of each dimension, by its best method; the best first.

    Parameters
    ----------
    predictor : Predictor
    slices : SliceSet
        Over the observed tuning rows.
    dimensions : sequence of Dimension
        Crosses and predicates are passed over: shares need slices that don't overlap.
    methods : sequence of str
        Those that a histogram is enough for.
    """
    found = []
    tried = [(each, parts) for each in dimensions if len(parts := _parts(each, slices)) > 1]
    with counter(len(tried) * len(methods), what="mixtures", unit="search") as done:
        for dimension, parts in tried:
            own = []
            for method in methods:
                own.append(_best(predictor, dimension, parts, method))
                done.advance(1)
            found += [min(own, key=lambda each: each.worst)] if own else []
    return sorted(found, key=lambda each: each.worst)


def _parts(dimension: Dimension, slices: SliceSet) -> tuple[str, ...]:
    """Slices of a dimension that a share can be given to."""
    if dimension.cross is not None or dimension.where is not None:
        return ()
    coded = slices.dimension(dimension.title)
    held = [label for label, n in zip(coded.labels, coded.counts(), strict=True) if n >= _FEWEST]
    return tuple(held) if len(held) <= MOST_PARTS else ()


def _best(
    predictor: Predictor, dimension: Dimension, parts: tuple[str, ...], method: str
) -> Mixture:
    def cost(numbers: tuple[int, ...]) -> float:
        shares = {part: float(n) for part, n in zip(parts, numbers, strict=True) if n}
        amax = mixed_amax(predictor.observation, shares, method)
        return float(predictor.roughly(amax).max())

    numbers, worst = search_shares(cost, len(parts))
    shares = {part: n / STEPS for part, n in zip(parts, numbers, strict=True) if n}
    return Mixture(dimension, method, shares, worst)


def mixed_amax(observation: Observation, shares: dict[str, float], method: str) -> Floats:
    """Amax of each tap (T,) by a method, of a set that mixes slices in these shares."""
    mixed = observation.mixture(shares)

    def estimate(tap: int) -> float:
        histogram = mixed.one(tap, 0)
        return max(estimate_amax(histogram, method), _SMALLEST_AMAX) if histogram.amax else 1.0

    return np.array(map_on_cores(estimate, range(len(mixed.taps))), np.float64)
