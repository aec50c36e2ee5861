"""The power contract: what each slice of a pool can prove, before any inference."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.catalogue import parse_metric
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.comparison import MinSupport
from calaudit.statistics.power import Expectation, smallest_provable_drop, units_to_prove


@dataclass(frozen=True, slots=True)
class SlicePower:
    """What one slice can prove of a right/wrong score."""

    n: int
    n_independent: float
    """Samples that are certain to be independent: a cluster may flip as a whole."""
    smallest_provable_drop: float | None
    """Smallest gate it PASSes with a chance of 80 %; None: it is too thin for any."""
    n_needed: int | None
    """Samples it needs for the gate, in clusters as large as its own; None: no number is enough."""

    @property
    def enough(self) -> bool:
        """Whether it holds as many as it needs."""
        return self.n_needed is not None and self.n >= self.n_needed


def slice_power(
    slices: SliceSet,
    max_drop: float,
    *,
    flip_rate: float,
    clusters: NDArray[np.int64] | None = None,
) -> dict[str, SlicePower]:
    """What every slice can prove.

    Parameters
    ----------
    slices : SliceSet
    max_drop : float
        The gate, in (0, 1).
    flip_rate : float
        Share of samples that a harmless engine flips.
    clusters : int64 (n_rows,), optional
        Samples of equal number count as one.
    """
    metric, expected = parse_metric("top1"), Expectation(flip_rate)
    alone = units_to_prove(metric, max_drop, expected=expected)
    found = {}
    for name, n in slices.counts().items():
        independent = float(n)
        if clusters is not None and n:
            held = np.bincount(clusters[slices.rows(name)]).astype(np.float64)
            independent = float(effective_blocks(held))
        support = MinSupport().at_least(slices.min_support(name))
        drop = smallest_provable_drop(metric, independent, expected=expected, min_support=support)
        per_unit = n / independent if independent else 1.0
        needed = None if alone is None else max(math.ceil(alone * per_unit), support.counted)
        found[name] = SlicePower(n, independent, drop, needed)
    return found
