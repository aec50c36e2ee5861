"""The bulk: a histogram's non-zero values on bins as fine as int8 needs, outliers told apart."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges.compiled import compiled
from calaudit.ranges.grid import FRACTION_BITS
from calaudit.ranges.histogram import Histogram

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


def bulk_of(histogram: Histogram) -> Bulk:
    """Merge the bins that are narrower than 1/2048 of the range without outliers.

    The published entropy scheme lays 2048 bins over [0, amax]. Where nothing is an outlier these
    are the same range and at least as many bins; where something is, it can't blur the rest.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] -= histogram.n_zero
    edges = histogram.edges
    edge = float(edges[covering(np.cumsum(counts), BULK) + 1])
    top = min(histogram.amax, OUTLIER_FACTOR * edge)
    floor = float(np.ldexp(0.5, int(np.frexp(top)[1]) - N_FINE))
    merged_edges, merged = np.empty_like(edges), np.zeros_like(counts)
    n = merge_bins(edges, counts, floor, merged_edges, merged)
    return Bulk(merged_edges[: n + 1], merged[:n], edge, top, floor)


def bulk_edge(histogram: Histogram) -> float:
    """The smallest edge that covers the share `BULK` of the non-zero values."""
    cumulative = np.cumsum(histogram.counts) - histogram.n_zero
    return float(histogram.edges[covering(cumulative, BULK) + 1])


def covering(cumulative: NDArray[Any], share: float) -> int:
    """The first bin up to which `share` of all counts lie."""
    # 0.9999 · 10000 must ask for 9999 values, however the product is rounded.
    wanted = share * float(cumulative[-1]) * (1 - 1e-14)
    return int(np.searchsorted(cumulative, wanted))


@compiled
def merge_bins(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    floor: float,
    merged_edges: NDArray[np.float64],
    merged: NDArray[np.float64],
) -> int:
    """Merge bins into multiples of `floor` where they are narrower; gives how many there are."""
    n = 0
    last = -1.0
    end_of_fine = floor * (1 << FRACTION_BITS)
    for place in range(len(counts)):
        fine = edges[place] < end_of_fine
        slot = np.floor(edges[place] / floor)
        if not fine or slot != last:
            merged_edges[n] = edges[place]
            n += 1
        last = slot
        merged[n - 1] += counts[place]
    merged_edges[n] = edges[-1]
    return n
