"""Exemplars: the units that flip under most engines, for people to look at.

Hooker et al. 2019, "What do compressed deep neural networks forget?" call the samples on which
compressed and original models disagree most compression-identified exemplars.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.unit_scores import (
    RatioScores,
    Scores,
    SetScores,
    UnitScores,
    answered,
    differs,
    of_units,
    part_of,
)
from calaudit.results.comparison import ALL
from calaudit.results.drops import Exemplar, Exemplars
from calaudit.slices.sliceset import SliceSet

_AT_ONCE = 1 << 17
"""Units."""


def find_exemplars(
    metric: Metric,
    reference: Scores,
    candidates: Sequence[Scores],
    *,
    ids: Callable[[NDArray[np.int64]], Sequence[str]],
    slices: SliceSet,
    unit: str = "sample",
    least: float = 0.0,
    most: int = 10,
) -> Exemplars | None:
    """Find the units that flip under more than half of the engines.

    Parameters
    ----------
    metric : Metric
    reference : Scores
        FP32's.
    candidates : sequence of Scores
        One engine's each, of the same units.
    ids : callable
        Positions of units → what they are called.
    slices : SliceSet
        Over the units.
    unit : str
        What a unit is: ``"sample"`` or ``"query"``.
    least : float
        A unit's score flips where it changes by more than this; rounding never counts. A binary
        score flips where it changes. An engine without a finite answer loses the unit.
    most : int
        How many to list.

    Returns
    -------
    Exemplars or None
        None for a metric of whole sets, in which no unit has a score, and without engines.
    """
    if isinstance(reference, SetScores) or not candidates:
        return None
    before = of_units(reference)
    sign = 1.0 if metric.higher_is_better else -1.0
    lost, gained, known = (np.zeros(len(before), dtype=np.int64) for _ in range(3))
    total = np.zeros(len(before))
    # some units under one engine at a time: all of them are many times what is kept
    for start in range(0, len(before), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        own = part_of(reference, span)
        for each in candidates:
            assert isinstance(each, UnitScores | RatioScores)
            scores = answered(own, part_of(each, span))
            assert isinstance(scores, UnitScores | RatioScores)
            after = of_units(scores)
            drop = sign * (before[span] - after)
            changed = differs(own, scores)
            lost[span] += (changed & (drop > least)) | (np.isnan(after) & ~np.isnan(before[span]))
            gained[span] += changed & (drop < -least)
            has_drop = ~np.isnan(drop)
            known[span] += has_drop
            total[span] += np.where(has_drop, drop, 0.0)
    flips = lost + gained
    mean = divide(total, known, 0.0)
    flipping = np.flatnonzero(2 * flips > len(candidates))
    order = flipping[np.lexsort((flipping, -mean[flipping], -flips[flipping]))]
    shown = order[:most]
    return Exemplars(
        metric=metric.name,
        unit=unit,
        engines=len(candidates),
        least=least,
        flipping=len(flipping),
        shown=tuple(
            Exemplar(
                id=name,
                lost=int(lost[at]),
                gained=int(gained[at]),
                reference=float(before[at]),
                mean_drop=float(mean[at]),
                slices=_around(slices, at),
            )
            for at, name in zip(shown.tolist(), ids(shown) if len(shown) else (), strict=True)
        ),
    )


def _around(slices: SliceSet, unit: int) -> tuple[str, ...]:
    """Slices that a unit is in, but for that of everything."""
    here = slices.take(np.array([unit], dtype=np.int64)).counts()
    return tuple(name for name, n in here.items() if n and name != ALL)
