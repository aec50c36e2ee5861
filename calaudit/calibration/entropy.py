"""Entropy: what a clip to 128 levels loses of a histogram, by the scheme of Migacz (GTC 2017).

P is the histogram up to the clip, what lies above folded into its last bin. Q is the histogram up
to the clip, without the tail, levelled within 128 equal levels: bins that hold something share
their level's mass in proportion to their widths, empty bins get none. The loss is KL(P‖Q).
``entropy-trt`` takes it on 2048 equal bins over [0, amax], as the published scheme lays them.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.compiled import compiled

N_LEVELS: Final = 128
"""Levels of int8 magnitudes in the published scheme."""
SAME_DIVERGENCE: Final = 1e-10
"""Nats within which two clips lose the same; above what the order of summing can change."""
_STRIDE: Final = 16
"""Every 16th candidate is looked at first, to know early what can't be best."""


def kl_divergences(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    candidates: NDArray[np.int64],
    *,
    only_best: bool = False,
) -> NDArray[np.float64]:
    """KL(P‖Q) in nats of clipping at ``edges[candidates]`` (n,).

    With c counts and w widths of bins, C and W their sums over the filled bins of a level, t the
    tail and N all values::

        N·KL = Σ_levels [ Σ_bins c·log(c/w) − C·log(C/W) ]     what levelling loses, each ≥ 0
               + (c+t)·log((c+t)/w) − c·log(c/w) − t·log(C/W)   in the last bin and level
               + N·log((N−t)/N)

    Sums over bins are differences of prefix sums: O(128) per candidate.

    Parameters
    ----------
    edges : float64 (k + 1,)
    counts : float64 (k,)
    candidates : int64 (n,)
        Ascending positions of edges above filled bins.
    only_best : bool
        Give up on a candidate when its loss is above the best by more than `SAME_DIVERGENCE`: its
        entry is infinite. The others are the same either way.
    """
    return _divergences(edges, counts, candidates, only_best)


@compiled
def least_divergence(
    edges: NDArray[np.float64], counts: NDArray[np.float64], candidates: NDArray[np.int64]
) -> int:
    """The widest of the candidates that lose least; parameters as of `kl_divergences`."""
    loss = _divergences(edges, counts, candidates, True)
    least, best = loss.min(), 0
    for place in range(len(candidates)):
        if loss[place] <= least + SAME_DIVERGENCE:
            best = place
    return int(candidates[best])


@compiled
def _prefixes(edges: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (3, k + 1) of c, of w in filled bins, and of c·log(c/w), up to each edge."""
    sums = np.zeros((3, len(edges)))
    for place in range(len(counts)):
        sums[:, place + 1] = sums[:, place]
        count, width = counts[place], edges[place + 1] - edges[place]
        if count > 0:
            sums[0, place + 1] += count
            sums[1, place + 1] += width
            sums[2, place + 1] += count * np.log(count / width)
    return sums


@compiled
def _divergences(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    candidates: NDArray[np.int64],
    only_best: bool,
) -> NDArray[np.float64]:
    mass, width, terms = _prefixes(edges, counts)
    total = mass[-1]
    slack = SAME_DIVERGENCE if only_best else np.inf
    found = np.full(len(candidates), np.inf)
    best = np.inf
    for stride in np.array([_STRIDE, 1]) if only_best else np.array([1]):
        # Bounds of levels only move up from one candidate to the next.
        bounds = np.zeros(N_LEVELS + 1, np.int64)
        for place in range(0, len(candidates), stride):
            end = candidates[place]
            clip, inside = edges[end], mass[end]
            double = 2 * clip / N_LEVELS
            bounds[N_LEVELS] = end
            level, start = N_LEVELS, end
            while start >= end:  # the level that holds the last bin; wide bins may span several
                level -= 1
                start = bounds[level]
                while start < end and edges[start] + edges[start + 1] < double * level:
                    start += 1
                bounds[level] = start
            tail, last, bin_width = total - inside, counts[end - 1], edges[end] - edges[end - 1]
            loss = (last + tail) * np.log((last + tail) / bin_width)
            loss -= last * np.log(last / bin_width)
            loss -= tail * np.log((inside - mass[start]) / (width[end] - width[start]))
            loss += total * np.log(inside / total)
            limit = (best + slack) * total
            start = 0
            for level in range(1, N_LEVELS + 1):
                stop = bounds[level]
                if level < N_LEVELS:
                    # Of the first candidate every bound is still to be found.
                    stop = max(stop, start)
                    while (
                        stop < end and edges[stop] + edges[stop + 1] < 2 * clip * level / N_LEVELS
                    ):
                        stop += 1
                    bounds[level] = stop
                filled = mass[stop] - mass[start]
                if filled > 0:
                    spread = filled * np.log(filled / (width[stop] - width[start]))
                    loss += terms[stop] - terms[start] - spread
                if loss > limit:
                    break
                start = stop
            else:
                found[place] = loss / total
                best = min(best, found[place])
    return found


@compiled
def least_loss(
    edges: NDArray[np.float64], counts: NDArray[np.float64], edge: float, top: float, floor: float
) -> float:
    """The edge that the method `entropy` clips at.

    Parameters as of `calaudit.calibration.distribution.Bulk`.
    """
    tops = np.flatnonzero(counts > 0) + 1
    tops = tops[(edges[tops] >= edge) & (edges[tops - 1] <= top)]
    # In units of the floor, so that data scaled by a power of two gives the very same numbers.
    return float(edges[least_divergence(edges / floor, counts, tops)])
