"""What a draw holds of each slice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.slices.sliceset import SliceSet


@dataclass(frozen=True, slots=True)
class SliceDraw:
    """One slice of the candidates and of the draw."""

    name: str
    candidates: int
    """Samples that the recipe could have drawn."""
    drawn: int
    share: float
    """Of the calibration set, in [0, 1]."""
    mean_weight: float | None
    """Mean weight of its drawn samples; None when there are none."""


def compose(
    slices: SliceSet, positions: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[SliceDraw, ...]:
    """Count every slice, in the order of ``slices.names``.

    Parameters
    ----------
    slices : SliceSet
        Over the n candidates.
    positions : int64 (size,)
        Which of them were drawn.
    weights : float64 (size,)
        Their weights.
    """
    populations = slices.counts()
    return tuple(
        SliceDraw(
            name,
            populations[name],
            drawn := int(np.count_nonzero(mask)),
            drawn / len(positions),
            float(weights[mask].mean()) if drawn else None,
        )
        for name, mask in slices.take(positions).masks()
    )
