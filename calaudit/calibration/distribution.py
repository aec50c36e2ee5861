"""A histogram with what several methods need of it, each found once and by machine code.

The *bulk* is a histogram's non-zero values on bins as fine as int8 needs, outliers told apart.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import FRACTION_BITS, Counts, Histogram
from calaudit.runtime.compiled import compiled

BULK: Final = 0.9999
"""Share of the non-zero values that make the bulk."""
OUTLIER_FACTOR: Final = 8.0
"""Values more than this many times the bulk's edge are outliers."""
N_FINE: Final = 11
"""Bins are no narrower than 2^-N_FINE of the range without outliers, rounded down to a power of
two: at least 2048 of them lie in it."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """A histogram's non-zero values, with bins no finer than their range needs."""

    edges: NDArray[np.float64]
    """(k + 1,)."""
    counts: NDArray[np.float64]
    """(k,), zeros left out."""
    edge: float
    """Smallest edge that covers the share `BULK` of them."""
    top: float
    """Where outliers begin: `OUTLIER_FACTOR` times `edge`, or the maximum where that is lower."""
    floor: float
    """Width of the narrowest bins: a power of two, 1/2048 of `top` or less."""


class Distribution:
    """A histogram that isn't all zero, with what several methods need of it: each found once.

    Parameters
    ----------
    histogram : Histogram
    """

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self.edges = histogram.edges
        """Of the histogram's bins (`N_BINS` + 1,)."""

    @cached_property
    def _summed(self) -> tuple[NDArray[Any], int]:
        return _sum_up(self.histogram.counts, self.histogram.n_zero)

    @property
    def cumulative(self) -> Counts:
        """Non-zero values up to and with each bin (`N_BINS`,)."""
        return self._summed[0]

    @property
    def constant(self) -> bool:
        """Whether several values lie in one bin."""
        return self._summed[1] == 1 and self.histogram.n > 1

    @cached_property
    def bulk_edge(self) -> float:
        """The smallest edge that covers the share `BULK` of the non-zero values."""
        return float(self.edges[covering(self.cumulative, BULK) + 1])

    @cached_property
    def bulk(self) -> Bulk:
        """Bins merged that are narrower than 1/2048 of the range without outliers.

        The published entropy scheme lays 2048 bins over [0, amax]. Where nothing is an outlier
        these are the same range and at least as many bins; where something is, it can't blur the
        rest.
        """
        histogram = self.histogram
        top = min(histogram.amax, OUTLIER_FACTOR * self.bulk_edge)
        floor = math.ldexp(0.5, math.frexp(top)[1] - N_FINE)
        merged_edges, merged = _merge(self.edges, histogram.counts, histogram.n_zero, floor)
        return Bulk(merged_edges, merged, self.bulk_edge, top, floor)


def covering(cumulative: NDArray[Any], share: float) -> int:
    """The first bin up to which `share` of all counts lie."""
    # 0.9999 · 10000 must ask for 9999 values, however the product is rounded.
    wanted = share * float(cumulative[-1]) * (1 - 1e-14)
    return _first_from(cumulative, wanted)


@compiled
def _first_from(cumulative: NDArray[Any], wanted: float) -> int:
    """The first place from which on ascending numbers are no less than `wanted`."""
    low, high = 0, len(cumulative)
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _sum_up(counts: NDArray[Any], n_zero: float) -> tuple[NDArray[Any], int]:
    """Cumulative counts without the zeros (k,), and how many bins hold something."""
    cumulative = np.empty_like(counts)
    total, n_filled = 0 * counts[0], 0
    for place in range(len(counts)):
        total += counts[place]
        cumulative[place] = total - n_zero
        n_filled += counts[place] != 0
    return cumulative, n_filled


@compiled
def _merge(
    edges: NDArray[np.float64], counts: NDArray[Any], n_zero: float, floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bins merged into multiples of `floor` where they are narrower: their edges and counts.

    The `n_zero` zeros in the first are left out.
    """
    merged_edges, merged = np.empty(len(edges)), np.zeros(len(counts))
    n = 0
    end_of_fine = floor * (1 << FRACTION_BITS)
    bound = 0.0
    for place in range(len(counts)):
        if edges[place] >= bound:
            fine = edges[place] < end_of_fine
            bound = (np.floor(edges[place] / floor) + 1) * floor if fine else 0.0
            merged_edges[n] = edges[place]
            n += 1
        count = float(counts[place])
        merged[n - 1] += count if place else count - n_zero
    merged_edges[n] = edges[-1]
    return merged_edges[: n + 1], merged[:n]
