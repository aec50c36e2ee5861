"""Exemplars: the units that flip under most engines, for people to look at.

Hooker et al. 2019, "What do compressed deep neural networks forget?" call the samples on which
compressed and original models disagree most compression-identified exemplars.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calaudit.evaluate.division import divide
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.scores import (
    RatioScores,
    Scores,
    SetScores,
    UnitScores,
    answered,
    differs,
    of_units,
)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A unit that most engines treat otherwise than FP32 does."""

    unit: int
    """Position among the units."""
    lost: int
    """Engines under which it is worse than under FP32."""
    gained: int
    """Engines under which it is better."""
    reference: float
    """Its score under FP32: 0 or 1, a number, or its errors."""
    mean_drop: float
    """Mean over the engines of what it lost; positive is worse."""


@dataclass(frozen=True, slots=True)
class Exemplars:
    """What was found by one metric."""

    metric: Metric
    n_engines: int
    n_flipping: int
    """Units that flip under more than half of the engines."""
    shown: tuple[Exemplar, ...]
    """The first of them: most flips first, then the largest loss."""


def find_exemplars(
    metric: Metric,
    reference: Scores,
    candidates: Sequence[Scores],
    *,
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
    held = [answered(reference, each) for each in candidates]
    scores = [each for each in held if isinstance(each, UnitScores | RatioScores)]
    before = of_units(reference)
    after = np.array([of_units(each) for each in scores])
    sign = 1.0 if metric.higher_is_better else -1.0
    drop = sign * (before - after)
    broken = np.isnan(after) & ~np.isnan(before)
    changed = np.array([differs(reference, each) for each in scores])
    lost = ((changed & (drop > least)) | broken).sum(axis=0)
    gained = (changed & (drop < -least)).sum(axis=0)
    flips = lost + gained
    known = np.where(np.isnan(drop), 0.0, drop)
    mean = divide(known.sum(axis=0), (~np.isnan(drop)).sum(axis=0), 0.0)
    flipping = np.flatnonzero(2 * flips > len(candidates))
    order = flipping[np.lexsort((flipping, -mean[flipping], -flips[flipping]))]
    return Exemplars(
        metric=metric,
        n_engines=len(candidates),
        n_flipping=len(flipping),
        shown=tuple(
            Exemplar(int(u), int(lost[u]), int(gained[u]), float(before[u]), float(mean[u]))
            for u in order[:most]
        ),
    )
