"""The clip that TensorRT's entropy calibrator chooses on its own 2,048 equal bins.

``IInt8EntropyCalibrator2`` is closed. What follows is inferred from its results: it gives, to the
bit, what TensorRT 8.5 chose for 36 distributions, each calibrated in batches of 64, 16 and 4
samples. The scheme is Migacz' (GTC 2017), with these particulars:

- bin 0 is given the count of bin 1, so that zeros don't count;
- candidates are 128, 129, … 2,048 bins. P holds those bins, with what lies beyond added to the
  last. Q holds them without it, levelled within 128 levels with edges at the bins ceil(k·i/128);
  bins that hold something share their level's mass evenly, empty ones get none. Both are divided
  by their own sums, and the loss is KL(P‖Q): infinite where the last bin is empty and values lie
  beyond;
- candidates with one filled bin don't count, but for 2,048 bins;
- the least loss wins, the widest of equals, and 2,048 bins where none is finite;
- amax = (i + ½) · width, in float32.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.entropy import N_LEVELS, SAME_DIVERGENCE
from calaudit.runtime.compiled import compiled

N_EQUAL: Final = 2048
"""Bins of a calibrator's histogram."""
_LARGEST: Final = np.float32(np.finfo(np.float32).max)


def choose_amax(counts: NDArray[np.int64], width: float) -> float:
    """The amax of one tensor, from its equal bins.

    Parameters
    ----------
    counts : int64 (N_EQUAL,)
        Values with ``i * width <= |x| < (i + 1) * width``.
    width : float
        Positive.

    Returns
    -------
    float
        A float32: at most 2048.5 widths.
    """
    with np.errstate(over="ignore"):
        amax = np.float32(choose_bins(counts) + 0.5) * np.float32(width)
    return float(min(amax, _LARGEST))


def choose_bins(counts: NDArray[np.int64]) -> int:
    """How many bins the clip keeps: 128 … `N_EQUAL`."""
    loss = divergences(counts)
    least = loss.min()
    if not np.isfinite(least):
        return N_EQUAL
    return N_LEVELS + int(np.flatnonzero(loss <= least + SAME_DIVERGENCE)[-1])


def divergences(counts: NDArray[np.int64], *, only_best: bool = True) -> NDArray[np.float64]:
    """KL(P‖Q) in nats of keeping 128, 129, … `N_EQUAL` bins (1921,).

    With c counts, C and n the sum of a level's counts and its number of filled bins, t the tail and
    N all values::

        N·KL = Σ_levels [ Σ_bins c·log c − C·log(C/n) ]      what levelling loses, each ≥ 0
               + (c+t)·log(c+t) − c·log c − t·log(C/n)        in the last bin and level
               + N·log((N−t)/N)

    Sums over bins are differences of prefix sums: O(128) per candidate.

    Parameters
    ----------
    counts : int64 (N_EQUAL,)
    only_best : bool
        Give up on a candidate when its loss is above the best by more than `SAME_DIVERGENCE`: its
        entry is infinite. The others are the same either way.
    """
    bins = counts.astype(np.float64)
    bins[0] = bins[1]
    prefixes = np.zeros((3, N_EQUAL + 1))
    np.cumsum(bins, out=prefixes[0, 1:])
    np.cumsum(bins > 0, out=prefixes[1, 1:])
    np.cumsum(bins * np.log(np.maximum(bins, 1.0)), out=prefixes[2, 1:])
    found = np.full(N_EQUAL - N_LEVELS + 1, np.inf)
    _divergences(bins, prefixes, SAME_DIVERGENCE if only_best else np.inf, found)
    return found


@compiled
def _divergences(
    bins: NDArray[np.float64],
    prefixes: NDArray[np.float64],
    slack: float,
    found: NDArray[np.float64],
) -> None:
    mass, filled, terms = prefixes
    total = mass[-1]
    best = np.inf
    # From the widest on: where little is clipped, a low loss is known early.
    for end in range(len(bins), N_LEVELS - 1, -1):
        inside, last = mass[end], bins[end - 1]
        tail = total - inside
        if inside == 0 or (filled[end] == 1 and end < len(bins)) or (last == 0 and tail > 0):
            continue
        loss = total * np.log(inside / total)
        if tail > 0:
            start = ((N_LEVELS - 1) * end + N_LEVELS - 1) // N_LEVELS
            level = (inside - mass[start]) / (filled[end] - filled[start])
            loss += (last + tail) * np.log(last + tail) - last * np.log(last)
            loss -= tail * np.log(level)
        limit = (best + slack) * total
        start = 0
        for level_number in range(1, N_LEVELS + 1):
            stop = (level_number * end + N_LEVELS - 1) // N_LEVELS
            held = mass[stop] - mass[start]
            if held > 0:
                spread = held * np.log(held / (filled[stop] - filled[start]))
                loss += terms[stop] - terms[start] - spread
            if loss > limit:
                break
            start = stop
        else:
            found[end - N_LEVELS] = loss / total
            best = min(best, loss / total)
