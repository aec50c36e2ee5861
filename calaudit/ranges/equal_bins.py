"""TensorRT-like entropy: 2048 equal bins over [0, amax], as the published scheme lays them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges.compiled import compiled
from calaudit.ranges.divergence import N_LEVELS, SAME_DIVERGENCE, kl_divergences
from calaudit.ranges.histogram import Histogram

N_EQUAL: Final = 2048
LARGEST: Final = float(np.finfo(np.float32).max)


def entropy_trt(histogram: Histogram) -> float:
    """The clip that TensorRT's entropy calibration would choose, as far as it is known.

    Its code is closed. The published scheme (Migacz, GTC 2017): 2048 bins over [0, amax],
    candidates of 128, 129, … bins, KL(P‖Q) as in `calaudit.ranges.divergence`; T = (m + 0.5) bin
    widths for the best m. That fits caches TensorRT wrote, whose unclipped tensors have
    T = 2048.5/2048 · amax, so m = 2048 is a candidate. Zeros are left out, and of equal candidates
    the widest wins.

    Returns
    -------
    float
        T, up to 2048.5/2048 of the exact maximum, within float32.
    """
    counts = equal_bins(histogram)
    candidates = np.flatnonzero(counts[N_LEVELS - 1 :] > 0) + N_LEVELS
    edges = np.arange(N_EQUAL + 1, dtype=np.float64)
    loss = kl_divergences(edges, counts, candidates, only_best=True)
    best = candidates[np.flatnonzero(loss <= loss.min() + SAME_DIVERGENCE)[-1]]
    return min(float((best + 0.5) * (histogram.amax / N_EQUAL)), LARGEST)


def equal_bins(histogram: Histogram) -> NDArray[np.float64]:
    """Counts (2048,) of the non-zero values in equal bins over [0, amax].

    A bin of the stored grid that reaches over several equal ones is spread evenly over them: those
    in the upper half of the range over 4 to 8, the quarter below over 2 to 4, the eighth below
    that over 1 to 2. Further down the stored grid is the finer one, and counts are exact but for
    the bins that an edge cuts.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] -= histogram.n_zero
    spread = np.zeros(N_EQUAL)
    filled = np.flatnonzero(counts)
    # What is known of the maximum: it lies in the last bin, and so does a constant tap.
    alone = len(filled) == 1
    spread[-1] = counts[filled[-1]] if alone else min(1.0, counts[filled[-1]])
    counts[filled[-1]] -= spread[-1]
    spread_evenly(histogram.edges / (histogram.amax / N_EQUAL), counts, spread)
    return spread


@compiled
def spread_evenly(
    edges: NDArray[np.float64], counts: NDArray[np.float64], spread: NDArray[np.float64]
) -> None:
    """Spread counts over bins of width 1 that end at ``len(spread)``."""
    end = len(spread)
    for place in range(len(counts)):
        if counts[place] == 0:
            continue
        low, high = edges[place], min(edges[place + 1], end)
        first, last = int(low), int(np.ceil(high)) - 1
        if first >= last:
            spread[min(first, end - 1)] += counts[place]
            continue
        per_width = counts[place] / (high - low)
        for number in range(first, last + 1):
            spread[number] += per_width * (min(high, number + 1) - max(low, number))
