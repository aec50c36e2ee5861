"""Filling: bits of float32 values in, counts out, one pass to measure and one to count."""

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges.compiled import compiled
from calaudit.ranges.grid import BINS_PER_OCTAVE, DROPPED_BITS, FRACTION_BITS, N_BINS, N_OCTAVES

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_DROPPED = np.uint32(DROPPED_BITS)
_TOP_OCTAVE = N_OCTAVES - 1
LONG = N_BINS
"""Values from which a row is long."""


@compiled
def measure_rows(
    bits: NDArray[np.uint32], maxima: NDArray[np.uint32], zeros: NDArray[np.int64]
) -> None:
    """Bits of the largest magnitude, and the number of zeros, of each row of `bits` (b, m).

    The order of the bits is the order of magnitudes, and infinities and NaN come last.
    """
    for row in range(bits.shape[0]):
        largest = np.uint32(0)
        n_zero = 0
        for place in range(bits.shape[1]):
            magnitude = bits[row, place] & _MAGNITUDE
            largest = max(largest, magnitude)
            n_zero += magnitude == 0
        maxima[row] = largest
        zeros[row] = n_zero


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
def count_long_rows(
    bits: NDArray[np.uint32],
    maxima: NDArray[np.uint32],
    parts: NDArray[np.int64],
    counts: NDArray[np.int64] | NDArray[np.uint32],
    amax: NDArray[np.uint32],
) -> None:
    """As `count_short_rows`, but count a row once and then add its filled bins to its parts.

    Values take turns between two tables: where many are equal, as behind a ReLU, one count would
    have to wait for the one before it.
    """
    even, odd = np.zeros(N_BINS, np.uint32), np.zeros(N_BINS, np.uint32)
    filled, sizes = np.empty(N_BINS, np.int64), np.empty(N_BINS, np.int64)
    for row in range(bits.shape[0]):
        values = bits[row]
        first = max(0, int(maxima[row] >> np.uint32(23)) - _TOP_OCTAVE) << FRACTION_BITS
        lowest, start = np.uint32(first << DROPPED_BITS), np.uint64(first)
        for pair in range(len(values) // 2):
            one = np.uint64(max(values[2 * pair] & _MAGNITUDE, lowest) >> _DROPPED)
            two = np.uint64(max(values[2 * pair + 1] & _MAGNITUDE, lowest) >> _DROPPED)
            even[one - start] += np.uint32(1)
            odd[two - start] += np.uint32(1)
        if len(values) % 2:
            one = np.uint64(max(values[-1] & _MAGNITUDE, lowest) >> _DROPPED)
            even[one - start] += np.uint32(1)
        n_filled = 0
        for number in range(N_BINS):
            count = even[number] + odd[number]
            if count:
                filled[n_filled], sizes[n_filled] = number, count
                n_filled += 1
                even[number] = odd[number] = 0
        for part in parts[row]:
            if part < 0:
                continue
            kept = counts[part]
            octave = max(0, int(amax[part] >> np.uint32(23)) - _TOP_OCTAVE)
            lower = (octave << FRACTION_BITS) - first
            for place in range(n_filled):
                kept[np.uint64(max(filled[place] - lower, 0))] += sizes[place]
