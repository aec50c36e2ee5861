"""Activations in, batch by batch, histograms out; NaN and infinity among them are found.

One pass measures, one counts.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import (
    BINS_PER_OCTAVE,
    DROPPED_BITS,
    FRACTION_BITS,
    N_BINS,
    N_OCTAVES,
    Histogram,
    Histograms,
    as_float32,
    no_histograms,
)
from calaudit.runtime.compiled import compiled
from calaudit.runtime.errors import RangesError
from calaudit.runtime.words import counted

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_DROPPED = np.uint32(DROPPED_BITS)
_ONE = np.uint64(1)
_TOP_OCTAVE = N_OCTAVES - 1
LONG = N_BINS
"""Values from which a row is long."""
ALL_BINS: Final = 1 << (31 - DROPPED_BITS)
"""Numbers of bins that there are, those of infinities and NaN among them."""
_FEW_ENOUGH: Final = 1 << 30
"""Values whose zeros can be counted in 32 bits."""

LARGEST_NARROW: Final = int(np.iinfo(np.uint32).max)
_INFINITY = np.float32(np.inf).view(np.uint32)


@compiled
def measure_rows(
    bits: NDArray[np.uint32],
    maxima: NDArray[np.uint32],
    minima: NDArray[np.uint32],
    zeros: NDArray[np.int64],
) -> None:
    """Bits of the largest and of the least magnitude, and the number of zeros, of each row.

    The order of the bits is the order of magnitudes, and infinities and NaN come last. Zeros don't
    count for the least, which is 0 where there is nothing else.

    Parameters
    ----------
    bits : uint32 (b, m)
    maxima, minima : uint32 (b,)
    zeros : int64 (b,)
    """
    # All in 32 bits, to which numba must be held: then eight or more values are looked at at once.
    one, none = np.uint32(1), np.uint32(0)
    for row in range(bits.shape[0]):
        n_zero = np.int64(0)
        largest, below = none, np.uint32(0xFFFFFFFF)
        for start in range(0, bits.shape[1], _FEW_ENOUGH):
            piece = bits[row, start : start + _FEW_ENOUGH]
            zero = none
            for place in range(len(piece)):
                magnitude = np.uint32(piece[place] & _MAGNITUDE)
                largest = np.uint32(max(largest, magnitude))
                below = np.uint32(min(below, np.uint32(magnitude - one)))  # of 0: the largest
                zero = np.uint32(zero + np.uint32(magnitude == none))
            n_zero += np.int64(zero)
        maxima[row], minima[row], zeros[row] = largest, np.uint32(below + one), n_zero


@compiled
def raise_amax(
    counts: NDArray[np.int64] | NDArray[np.uint32],
    amax: NDArray[np.uint32],
    part: int,
    largest: np.uint32,
) -> None:
    """Raise the maximum of one part (bits) and move its counts to the octaves that end there."""
    old = max(0, int(amax[part] >> np.uint32(23)) - _TOP_OCTAVE)
    new = max(0, int(largest >> np.uint32(23)) - _TOP_OCTAVE)
    amax[part] = largest
    shift = min((new - old) * BINS_PER_OCTAVE, N_BINS)
    if shift == 0:
        return
    below = 0
    for place in range(shift):
        below += counts[part, place]
    for place in range(N_BINS - shift):
        counts[part, place] = counts[part, place + shift]
    for place in range(N_BINS - shift, N_BINS):
        counts[part, place] = 0
    counts[part, 0] += below


@compiled
def count_short_rows(
    bits: NDArray[np.uint32],
    parts: NDArray[np.int64],
    counts: NDArray[np.int64] | NDArray[np.uint32],
    amax: NDArray[np.uint32],
) -> None:
    """Count each row of `bits` (b, m) into its parts, value by value.

    Parameters
    ----------
    bits : uint32 (b, m)
        All finite.
    parts : int64 (b, k)
        Rows of `counts` that each row of `bits` belongs to; negative: none.
    counts : int64 or uint32 (P, N_BINS)
    amax : uint32 (P,)
        Bits of the parts' maxima, no lower than those of their rows.
    """
    for row in range(bits.shape[0]):
        for part in parts[row]:
            if part < 0:
                continue
            kept = counts[part]
            first = max(0, int(amax[part] >> np.uint32(23)) - _TOP_OCTAVE) << FRACTION_BITS
            for place in range(bits.shape[1]):
                number = int((bits[row, place] & _MAGNITUDE) >> _DROPPED) - first
                kept[max(number, 0)] += 1


@compiled
def count_long_rows(  # noqa: PLR0917  # numba has no keyword-only arguments
    bits: NDArray[np.uint32],
    maxima: NDArray[np.uint32],
    minima: NDArray[np.uint32],
    zeros: NDArray[np.int64],
    parts: NDArray[np.int64],
    counts: NDArray[np.int64] | NDArray[np.uint32],
    amax: NDArray[np.uint32],
    tables: NDArray[np.uint32],
    filled: NDArray[np.int64],
) -> None:
    """As `count_short_rows`, but count a row once and then add its filled bins to its parts.

    Values take turns between four tables: where many are equal, as behind a ReLU, one count would
    have to wait for the one before it. The tables have a place for every bin there is, so that no
    value needs to be compared with the first that is kept.

    Parameters
    ----------
    bits, parts, counts, amax
        As in `count_short_rows`.
    maxima, minima : uint32 (b,)
    zeros : int64 (b,)
        Of the rows, from `measure_rows`.
    tables : uint32 (4, ALL_BINS)
        All zero, before and after.
    filled : int64 (2, ALL_BINS)
        Scratch.
    """
    first, second, third, fourth = tables
    numbers, sizes = filled
    one = np.uint32(1)
    for row in range(bits.shape[0]):
        values = bits[row]
        n_fours = len(values) // 4
        for four in range(n_fours):
            at = 4 * four
            first[np.uint64((values[at] & _MAGNITUDE) >> _DROPPED)] += one
            second[np.uint64((values[at + 1] & _MAGNITUDE) >> _DROPPED)] += one
            third[np.uint64((values[at + 2] & _MAGNITUDE) >> _DROPPED)] += one
            fourth[np.uint64((values[at + 3] & _MAGNITUDE) >> _DROPPED)] += one
        for place in range(4 * n_fours, len(values)):
            first[np.uint64((values[place] & _MAGNITUDE) >> _DROPPED)] += one
        # Bin 0, of zeros, lies far below the others.
        low, high = np.uint64(minima[row] >> _DROPPED), np.uint64(maxima[row] >> _DROPPED) + _ONE
        for number in range(low, high):
            both = np.uint32(first[number] + second[number])
            first[number] = np.uint32(both + np.uint32(third[number] + fourth[number]))
        numbers[0] = 0
        sizes[0] = zeros[row] if low else 0
        n_filled = 1 if sizes[0] else 0
        for number in range(low, high):
            if first[number]:
                numbers[n_filled], sizes[n_filled] = number, first[number]
                n_filled += 1
        tables[:, 0] = 0
        tables[:, low:high] = 0
        for part in parts[row]:
            if part < 0:
                continue
            kept = counts[part]
            lowest = max(0, int(amax[part] >> np.uint32(23)) - _TOP_OCTAVE) << FRACTION_BITS
            for place in range(n_filled):
                kept[np.uint64(max(numbers[place] - lowest, 0))] += sizes[place]


class BadActivationsError(RangesError):
    """NaN or infinity among the activations of a tap."""

    def __init__(
        self,
        message: str,
        *,
        where: object = None,
        next_step: str | None = None,
        tap: str = "",
        positions: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message, where=where, next_step=next_step)
        self.tap = tap
        self.positions = positions
        """Positions of the samples in the batch."""


class _Scratch(threading.local):
    """What counting long rows needs, in each thread its own."""

    def __init__(self) -> None:
        self.tables = np.zeros((4, ALL_BINS), np.uint32)
        self.filled = np.empty((2, ALL_BINS), np.int64)


class Accumulator:
    """Collects histograms of taps over parts of the samples, batch by batch.

    A part is an atom (samples that belong to the same groups, so that each lies in one) or a whole
    group. What is collected depends only on the data: not on batch size, order or split.

    Parameters
    ----------
    taps : sequence of str
        Names of the observed tensors.
    n_parts : int
        Number of parts.
    narrow : bool
        Keep counts in 32 bits for as long as they suffice, which halves the memory of many parts.
        Then every batch must be announced to `reserve`, and name each part of a sample once.
    """

    def __init__(self, taps: Sequence[str], n_parts: int, *, narrow: bool = False) -> None:
        self._collected = no_histograms(taps, n_parts, narrow=narrow)
        self._most = LARGEST_NARROW if narrow else None
        self._reserved = 0
        self._added = np.zeros(len(taps), np.int64)
        self._scratch = _Scratch()

    @property
    def histograms(self) -> Histograms:
        """What was collected so far, as a view: further batches change it."""
        return self._collected

    def reserve(self, n_values: int) -> None:
        """Announce a batch: no tap will be given more than `n_values` before the next call.

        Counts are widened to 64 bits here, where 32 might overflow. No thread may be adding.
        """
        self._reserved += n_values
        if self._most is not None and self._reserved > self._most:
            kept = self._collected
            wide = kept.counts.astype(np.int64)
            self._collected = Histograms(kept.taps, wide, kept.n_zero, kept.amax)
            self._most = None

    def add(self, tap: int, values: NDArray[Any], parts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Observe one batch of one tap. Different taps may be added by several threads at once.

        Parameters
        ----------
        tap : int
            Which tap.
        values : float16, float32 or float64 (b, …)
            Activations, samples first.
        parts : int (b,) or (b, k)
            The part or parts of each sample; negative: none, such a sample isn't looked at.

        Returns
        -------
        float32 (b,)
            The largest |x| of each sample.

        Raises
        ------
        BadActivationsError
            NaN or infinity, with the positions of the samples. Nothing of the batch is kept.
        ValueError
            Counts are narrow, and more values come than were announced.
        """
        bits = _bits(values)
        self._added[tap] += bits.size
        if self._most is not None and self._added[tap] > self._reserved:
            raise ValueError(f"{self._added[tap]} values of {self._reserved} that were announced")
        places = np.ascontiguousarray(parts, dtype=np.int64)
        places = places[:, None] if places.ndim == 1 else places
        maxima, minima, zeros = _measured(bits)
        bad = np.flatnonzero((maxima >= _INFINITY) & (places >= 0).any(axis=1))
        if len(bad):
            raise _bad_activations(self._collected.taps[tap], bad)
        kept = self._collected
        counts, amax = kept.counts[tap], kept.amax[tap].view(np.uint32)
        flat = places.reshape(-1)
        inside = flat >= 0
        held = flat[inside]
        np.add.at(kept.n_zero[tap], held, np.repeat(zeros, places.shape[1])[inside])
        largest = np.zeros_like(amax)
        np.maximum.at(largest, held, np.repeat(maxima, places.shape[1])[inside])
        for part in np.flatnonzero(largest > amax):
            raise_amax(counts, amax, int(part), largest[part])
        if bits.shape[1] * places.shape[1] < LONG:
            count_short_rows(bits, places, counts, amax)
        else:
            own, seen = self._scratch, (maxima, minima, zeros)
            count_long_rows(bits, *seen, places, counts, amax, own.tables, own.filled)
        return maxima.view(np.float32)


def observe(values: NDArray[Any]) -> Histogram:
    """The histogram of one array of any shape.

    Raises
    ------
    BadActivationsError
        NaN or infinity; positions are into the flattened array.
    """
    row = np.asarray(values).reshape(1, -1)
    collected = Accumulator(["values"], 1)
    try:
        collected.add(0, row, np.zeros(1, np.int64))
    except BadActivationsError:
        raise _bad_activations("values", np.flatnonzero(~np.isfinite(row[0]))) from None
    return collected.histograms.one(0, 0)


def warm_up() -> None:
    """Get the compiled loops ready: the first use of each takes a part of a second."""
    one = np.zeros(1, np.int64)
    collected = Accumulator(["nothing"], 1, narrow=True)
    for length in (1, LONG):
        collected.reserve(length)
        collected.add(0, np.ones((1, length), np.float32), one)


def bad_samples(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which samples of one batch of one tap (b, …) hold NaN or infinity (b,)."""
    maxima, _, _ = _measured(_bits(values))
    found: NDArray[np.bool_] = maxima >= _INFINITY
    return found


def _bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    rows = as_float32(values).reshape(len(values), math.prod(values.shape[1:]))
    return rows.view(np.uint32)


def _measured(
    bits: NDArray[np.uint32],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64]]:
    """Bits of the largest and of the least magnitude of each row (b,), and its zeros (b,)."""
    maxima, minima = np.empty((2, len(bits)), np.uint32)
    zeros = np.empty(len(bits), np.int64)
    measure_rows(bits, maxima, minima, zeros)
    return maxima, minima, zeros


def _bad_activations(tap: str, positions: NDArray[np.int64]) -> BadActivationsError:
    shown = ", ".join(map(str, positions[:8])) + (", …" if len(positions) > 8 else "")
    return BadActivationsError(
        f"tap {tap!r} is NaN or infinite in {counted(len(positions), 'sample')}, at "
        f"positions {shown}",
        next_step="Check those samples, or remove them from the calibration set.",
        tap=tap,
        positions=tuple(map(int, positions)),
    )
