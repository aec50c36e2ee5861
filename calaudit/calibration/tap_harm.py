"""Squared errors that quantizing one tap makes on groups of samples, for `harm`.

Each level's error is Σx² − 2l·Σx + l²·Σ1, from differences of cumulative moments: 128 of them per
amax, whatever the number of values and bins.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import FRACTION_BITS, N_BINS, Histograms, edges, first_bin
from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.scales import SMALLEST_NORMAL
from calaudit.runtime.compiled import compiled

Floats = NDArray[np.float64]
Members = NDArray[np.bool_] | NDArray[np.float64]

_LOWEST: Final = 0.5
"""The lowest candidate, in root mean squares of the non-zero values of the group with the smallest:
clipping alone costs more than a quarter of the signal power there."""
SMALLEST: Final = N_STEPS * SMALLEST_NORMAL
"""No amax is lower: its step would be no normal float32."""
_AT_ONCE: Final = 256
"""Groups whose histograms are made together: 16 MiB of a tap."""
_DROPPED: Final = 52 - FRACTION_BITS
_FIRST_NORMAL: Final = (1023 - 127) << FRACTION_BITS
_DENORMAL: Final = 2.0 ** (126 + FRACTION_BITS)


class TapGroups:
    """One tap's histograms over G groups, some groups at a time: those of thousands are gigabytes.

    Parameters
    ----------
    histograms : Histograms
        T taps over the G groups, or over parts that `members` sums up.
    tap : int
        Which one.
    members : bool or float64 (G, P), optional
        How often each group counts each part.
    """

    def __init__(self, histograms: Histograms, tap: int, members: Members | None) -> None:
        self._every, self._tap, self._members = histograms, tap, members
        self.n_groups = histograms.n_groups if members is None else len(members)
        self._kept: Histograms | None = None

    def pieces(self) -> Iterator[tuple[int, Histograms]]:
        """Successive groups with the number of the first."""
        for start in range(0, self.n_groups, _AT_ONCE):
            piece = self._kept or self._piece(slice(start, start + _AT_ONCE))
            if self.n_groups <= _AT_ONCE:
                self._kept = piece
            yield start, piece

    def _piece(self, groups: slice) -> Histograms:
        every, here = self._every, slice(self._tap, self._tap + 1)
        own = slice(None) if self._members is not None else groups
        one = Histograms(
            every.taps[here],
            every.counts[here, own],
            every.n_zero[here, own],
            every.amax[here, own],
        )
        return one if self._members is None else one.group(self._members[groups])


def tap_curves(tap: TapGroups, ladder: Floats | int) -> tuple[Floats, Floats, Floats]:
    """Ladder (A,), squared errors (G, A, 2) by clipping and by resolution, and power (G,)."""
    moments = np.zeros((N_BINS + 1, 3))

    def counted(one: Histograms, group: int) -> tuple[int, float, Floats]:
        """First bin, exact maximum and counts; leaves their moments."""
        top = float(one.amax[0, group])
        first = first_bin(top)
        counts: Floats = one.counts[0, group].astype(np.float64)
        counts[0] = max(counts[0] - float(one.n_zero[0, group]), 0.0)
        _accumulate(edges(first), counts, top, moments)
        return first, top, counts

    if isinstance(ladder, int):
        tops, whole = np.zeros(tap.n_groups), np.zeros((tap.n_groups, 3))
        for start, one in tap.pieces():
            for group in range(one.n_groups):
                _, tops[start + group], _ = counted(one, group)
                whole[start + group] = moments[-1]
        ladder = _rungs(ladder, tops, whole[:, 2], whole[:, 0])
    rungs = ladder.astype(np.float32)
    steps = np.asarray(rungs / np.float32(N_STEPS), np.float64)
    errors, power = np.zeros((tap.n_groups, len(ladder), 2)), np.zeros(tap.n_groups)
    for start, one in tap.pieces():
        for group in range(one.n_groups):
            first, top, counts = counted(one, group)
            power[start + group] = moments[-1, 2]
            if power[start + group] > 0:
                _errors(edges(first), counts, moments, top, first, steps, errors[start + group])
    return rungs.astype(np.float64), errors, power


def _rungs(n_rungs: int, tops: Floats, power: Floats, n: Floats) -> Floats:
    held = power > 0
    if not held.any():
        return np.ones(n_rungs)
    root = np.sqrt(power[held] / n[held])
    top = max(float(tops.max()), SMALLEST)
    lowest = min(max(_LOWEST * float(root.min()), SMALLEST), top)
    return np.geomspace(lowest, top, n_rungs)


@compiled
def _accumulate(lower: Floats, counts: Floats, top: float, moments: Floats) -> None:
    """Number, sum and sum of squares of the values below each edge, (N_BINS + 1, 3)."""
    n = mean = square = 0.0
    for place in range(len(counts)):
        count = counts[place]
        if count > 0:
            low = lower[place]
            high = max(low, min(lower[place + 1], top))
            n += count
            mean += count * (low + high) / 2
            square += count * (low * low + low * high + high * high) / 3
        moments[place + 1, 0] = n
        moments[place + 1, 1] = mean
        moments[place + 1, 2] = square


@compiled
def _errors(  # noqa: PLR0917  # numba has no keyword-only arguments
    lower: Floats,
    counts: Floats,
    moments: Floats,
    top: float,
    first: int,
    steps: Floats,
    found: Floats,
) -> None:
    """Squared errors (A, 2) of quantizing with each of `steps` (A,): clipping, resolution."""
    last = len(counts)
    bounds = np.empty(N_STEPS + 1, np.float64)
    for rung in range(len(steps)):
        step = steps[rung]
        for level in range(N_STEPS + 1):
            bounds[level] = step * (level + 0.5)
        bits = bounds.view(np.int64)
        resolution = 0.0
        n, x, xx = 0.0, 0.0, 0.0
        for level in range(N_STEPS + 1):
            bound = bounds[level]
            if bound >= top:
                below, mean, square = moments[last, 0], moments[last, 1], moments[last, 2]
            else:
                number = (bits[level] >> _DROPPED) - _FIRST_NORMAL
                if number < 1 << FRACTION_BITS:
                    number = int(bound * _DENORMAL)
                at = max(number - first, 0)
                low = lower[at]
                high = min(lower[at + 1], top)
                share = counts[at] * (bound - low) / (high - low)
                below = moments[at, 0] + share
                mean = moments[at, 1] + share * (low + bound) / 2
                square = moments[at, 2] + share * (low * low + low * bound + bound * bound) / 3
            value = step * level
            resolution += max((square - xx) - value * (2 * (mean - x) - value * (below - n)), 0.0)
            n, x, xx = below, mean, square
            if bound >= top:
                break
        value = step * N_STEPS
        n, x, xx = moments[last, 0] - n, moments[last, 1] - x, moments[last, 2] - xx
        found[rung, 0] = max(xx - value * (2 * x - value * n), 0.0)
        found[rung, 1] = resolution
