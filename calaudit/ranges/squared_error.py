"""Squared error of quantizing a histogram to 127 steps, exact for values spread over their bins."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges.compiled import compiled

N_STEPS: Final = 127
"""Steps of symmetric int8: scale = amax / 127."""
_STRIDE: Final = 16


def squared_errors(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    clips: NDArray[np.float64],
    *,
    only_best: bool = False,
) -> NDArray[np.float64]:
    """Total squared error (n,) of rounding to 127 steps of ``clips / 127`` and saturating there.

    The error of the values that round to a step at l is Σ(x − l)² = Σx² − 2l·Σx + l²·Σ1; those
    moments are differences of cumulative ones: O(127) per clip.

    Parameters
    ----------
    edges : float64 (k + 1,)
    counts : float64 (k,)
    clips : float64 (n,)
        Ascending.
    only_best : bool
        Give up on a clip when its error is above the least: its entry is infinite.
    """
    unit = float(clips[-1])
    scaled = edges / unit
    density = counts / np.diff(scaled)
    moments = np.zeros((3, len(edges)))
    for power in range(3):
        each = density * np.diff(scaled ** (power + 1)) / (power + 1)
        np.cumsum(each, out=moments[power, 1:])
    found = np.full(len(clips), np.inf)
    strides = np.array([_STRIDE, 1] if only_best else [1])
    _errors(scaled, density, moments, clips / unit, strides, only_best, found)
    return found * unit**2


@compiled
def _errors(  # noqa: PLR0917  # numba has no keyword-only arguments
    edges: NDArray[np.float64],
    density: NDArray[np.float64],
    moments: NDArray[np.float64],
    clips: NDArray[np.float64],
    strides: NDArray[np.int64],
    only_best: bool,
    found: NDArray[np.float64],
) -> None:
    count, mean, square = moments
    last = len(density) - 1
    best = np.inf
    for stride in strides:
        # The bins that steps begin in only move up from one clip to the next.
        bins = np.zeros(N_STEPS + 1, np.int64)
        for place in range(0, len(clips), stride):
            step = clips[place] / N_STEPS
            error = 0.0
            begin = (0.0, 0.0, 0.0)
            # What saturates first: where a clip is too low, that alone is more than the least.
            for turn in range(N_STEPS + 1):
                number = turn if turn else N_STEPS
                bound = min(step * (number - 0.5), edges[-1])
                at = bins[number]
                while at < last and edges[at + 1] <= bound:
                    at += 1
                bins[number] = at
                low, inner = edges[at], density[at]
                stop = (
                    count[at] + inner * (bound - low),
                    mean[at] + inner * (bound**2 - low**2) / 2,
                    square[at] + inner * (bound**3 - low**3) / 3,
                )
                if turn == 0:
                    level = step * N_STEPS
                    n, x, xx = count[-1] - stop[0], mean[-1] - stop[1], square[-1] - stop[2]
                else:
                    level = step * (number - 1)
                    n, x, xx = stop[0] - begin[0], stop[1] - begin[1], stop[2] - begin[2]
                    begin = stop
                error += xx - level * (2 * x - level * n)
                if only_best and error > best:
                    break
            else:
                found[place] = error
                best = min(best, error)
