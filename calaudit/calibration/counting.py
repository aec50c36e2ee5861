"""Loops that count activations: bits of |x| in, filled bins out, at the speed of memory."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import (
    BINS_PER_OCTAVE,
    DROPPED_BITS,
    FRACTION_BITS,
    N_BINS,
    N_OCTAVES,
)
from calaudit.runtime.compiled import compiled

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_DROPPED = np.uint32(DROPPED_BITS)
_ONE = np.uint64(1)
_TOP_OCTAVE = N_OCTAVES - 1
LONG = N_BINS
"""Values from which a row is long, counted as often as it has parts."""
ALL_BINS: Final = 1 << (31 - DROPPED_BITS)
"""Numbers of bins that there are, those of infinities and NaN among them."""
TABLE: Final = ALL_BINS + 16
"""Places of a table, the last of them unused: without that cache line the same bin of all tables
would fall into one set of the cache, and they would drive one another out."""
_AT_ONCE: Final = 1 << 12
"""Values that stay in a core's first cache until they were looked at twice."""

INFINITY: Final = np.float32(np.inf).view(np.uint32)


@compiled
def measure(
    values: NDArray[np.uint32], largest: np.uint32, below: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Largest magnitude, least magnitude less 1, and how many zeros; zeros count for neither.

    Parameters
    ----------
    values : uint32 (m,)
        Fewer than 2^32. The order of the bits is the order of magnitudes, and infinities and NaN
        come last.
    largest, below : uint32
        Of the values before: 0 and 2^32 - 1 of none.
    """
    # All in 32 bits, to which numba must be held: then eight or more values are looked at at once.
    one, zeros = np.uint32(1), np.uint32(0)
    for place in range(len(values)):
        magnitude = np.uint32(values[place] & _MAGNITUDE)
        largest = np.uint32(max(largest, magnitude))
        below = np.uint32(min(below, np.uint32(magnitude - one)))  # of 0: the largest
        zeros = np.uint32(zeros + np.uint32(magnitude == np.uint32(0)))
    return largest, below, zeros


@compiled
def tabulate(values: NDArray[np.uint32], tables: NDArray[np.uint32]) -> None:
    """Count values (m,) in four tables (4, TABLE), which they take turns between.

    Where many are equal, as behind a ReLU, one count would have to wait for the one before it.
    The tables have a place for every bin there is, so that no value needs to be compared with the
    first that is kept.
    """
    first, second, third, fourth = tables
    one = np.uint32(1)
    n_fours = len(values) // 4
    for four in range(n_fours):
        at = 4 * four
        first[np.uint64((values[at] & _MAGNITUDE) >> _DROPPED)] += one
        second[np.uint64((values[at + 1] & _MAGNITUDE) >> _DROPPED)] += one
        third[np.uint64((values[at + 2] & _MAGNITUDE) >> _DROPPED)] += one
        fourth[np.uint64((values[at + 3] & _MAGNITUDE) >> _DROPPED)] += one
    for place in range(4 * n_fours, len(values)):
        first[np.uint64((values[place] & _MAGNITUDE) >> _DROPPED)] += one


@compiled
def list_filled(
    tables: NDArray[np.uint32],
    low: np.uint64,
    high: np.uint64,
    zeros: np.int64,
    filled: NDArray[Any],
) -> int:
    """List numbers and sizes of the filled bins in `filled` (2, ALL_BINS), and empty the tables.

    Bin 0, of the zeros, lies far below the others, which are `low` … `high` - 1. Gives how many
    there are.
    """
    first, second, third, fourth = tables
    numbers, sizes = filled
    numbers[0], sizes[0] = 0, zeros if low else 0
    n_filled = 1 if sizes[0] else 0
    for number in range(low, high):
        both = np.uint32(first[number] + second[number])
        size = np.uint32(both + np.uint32(third[number] + fourth[number]))
        if size:
            numbers[n_filled], sizes[n_filled] = number, size
            n_filled += 1
    tables[:, 0] = 0
    tables[:, low:high] = 0
    return n_filled


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
def add_filled(  # noqa: PLR0917  # numba has no keyword-only arguments
    parts: NDArray[np.int64],
    filled: NDArray[np.int64],
    n_zeros: np.int64,
    largest: np.uint32,
    counts: NDArray[np.int64] | NDArray[np.uint32],
    n_zero: NDArray[np.int64],
    amax: NDArray[np.uint32],
) -> None:
    """Add the filled bins of a row (2, n), numbers and sizes, to its parts (k,)."""
    numbers, sizes = filled
    for part in parts:
        if part < 0:
            continue
        if largest > amax[part]:
            raise_amax(counts, amax, part, largest)
        n_zero[part] += n_zeros
        kept = counts[part]
        lowest = max(0, int(amax[part] >> np.uint32(23)) - _TOP_OCTAVE) << FRACTION_BITS
        for place in range(len(numbers)):
            kept[np.uint64(max(numbers[place] - lowest, 0))] += sizes[place]


@compiled
def count_rows(  # noqa: PLR0917  # numba has no keyword-only arguments
    bits: NDArray[np.uint32],
    parts: NDArray[np.int64],
    counts: NDArray[np.int64] | NDArray[np.uint32],
    n_zero: NDArray[np.int64],
    amax: NDArray[np.uint32],
    maxima: NDArray[np.uint32],
    tables: NDArray[np.uint32],
    filled: NDArray[np.int64],
) -> None:
    """Measure each row of `bits` (b, m), and add its filled bins to its parts.

    Every few thousand values are measured and then counted, so that they come from memory once.
    Short rows are spared the search for filled bins: each of their values is taken as one. A row
    with an infinity or NaN is measured alone.

    Parameters
    ----------
    bits : uint32 (b, m)
    parts : int64 (b, k)
        Rows of `counts` that each row of `bits` belongs to; negative: none.
    counts : int64 or uint32 (P, N_BINS)
    n_zero : int64 (P,)
    amax : uint32 (P,)
        Bits of the parts' maxima.
    maxima : uint32 (b,)
        Filled: the largest magnitude of each row.
    tables : uint32 (4, TABLE)
        All zero, before and after.
    filled : int64 (2, ALL_BINS)
        Scratch.
    """
    numbers, sizes = filled
    short = bits.shape[1] * parts.shape[1] < LONG
    for row in range(bits.shape[0]):
        largest, below, n_zeros = np.uint32(0), np.uint32(0xFFFFFFFF), np.int64(0)
        for start in range(0, bits.shape[1], _AT_ONCE):
            values = bits[row, start : start + _AT_ONCE]
            largest, below, zeros = measure(values, largest, below)
            n_zeros += np.int64(zeros)
            if not short:
                tabulate(values, tables)
        maxima[row] = largest
        n_filled = bits.shape[1]
        if short:
            for place in range(n_filled):
                numbers[place] = np.uint64((bits[row, place] & _MAGNITUDE) >> _DROPPED)
                sizes[place] = 1
        else:
            low = np.uint64(np.uint32(below + np.uint32(1)) >> _DROPPED)
            high = np.uint64(largest >> _DROPPED) + _ONE
            n_filled = list_filled(tables, low, high, n_zeros, filled)
        if largest >= INFINITY:
            continue
        found = filled[:, :n_filled]
        add_filled(parts[row], found, n_zeros, largest, counts, n_zero, amax)


@compiled
def measure_rows(bits: NDArray[np.uint32], maxima: NDArray[np.uint32]) -> None:
    """The largest magnitude (b,) of each row of `bits` (b, m)."""
    for row in range(bits.shape[0]):
        largest = np.uint32(0)
        for place in range(bits.shape[1]):
            largest = np.uint32(max(largest, np.uint32(bits[row, place] & _MAGNITUDE)))
        maxima[row] = largest
