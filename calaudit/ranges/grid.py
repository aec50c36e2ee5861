"""The grid that every histogram lies on: 256 equal bins to each power of two.

A float32 is truncated to its exponent and the first 8 bits of its fraction; those bits, read as
an integer, *are* the number of its bin. Bin widths are powers of two: 2^(k - 8) in the octave
[2^k, 2^(k + 1)).

Why this grid, and not equal bins that double in width when a value overflows:

- The bin of a value doesn't depend on any other value. Histograms add without being coarsened,
  and no batch size, order or split can change one.
- One outlier can't blur the rest. With 4096 equal bins, a single 1e6 among N(0, 1) values puts
  all others into one bin, and every method that looks below the maximum is blind. Here each
  octave keeps its own 256 bins.
- Filling needs no arithmetic: a shift of the bits, exact for every value.
- Bins are as fine as they have to be. Quantized to 127 steps, the octave below the clip has at
  least two bins to a step, the one below four, then eight, sixteen, ...: where the mass of a
  distribution lies, the grid is as fine as 2048 or more equal bins.

A histogram stores the `N_OCTAVES` octaves up to its own maximum. Smaller values share the first
stored bin; which values those are depends only on the maximum, so this too is independent of
order. At 32 octaves they are values below 2^-31 of the maximum.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 8
"""Bits of the fraction that tell bins apart: 2^8 bins to an octave."""
BINS_PER_OCTAVE = 1 << FRACTION_BITS
N_OCTAVES = 32
N_BINS = N_OCTAVES * BINS_PER_OCTAVE
"""Stored bins of one histogram: 8192."""

DROPPED_BITS = 23 - FRACTION_BITS
INFINITY_BIN = 255 << FRACTION_BITS
"""Bin number at which float32's infinities and NaN begin."""
_MAGNITUDE = np.uint32(0x7FFFFFFF)


def magnitude_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bits of |x|, in the shape of `values`; they order as |x| does."""
    return values.view(np.uint32) & _MAGNITUDE


def bin_number(amax: float | np.float32) -> int:
    """Number of the bin that holds a magnitude, in 0 … 65279."""
    return int(np.float32(amax).view(np.uint32) & _MAGNITUDE) >> DROPPED_BITS


def first_bin(amax: float | np.float32) -> int:
    """Number of the first bin stored by a histogram whose largest magnitude is `amax`."""
    octave = bin_number(amax) >> FRACTION_BITS
    return max(0, octave - (N_OCTAVES - 1)) << FRACTION_BITS


@lru_cache(maxsize=32)
def edges(first: int) -> NDArray[np.float64]:
    """Edges (`N_BINS` + 1,) of the stored bins from number `first` on; the lowest is 0.

    Bin i holds ``edges[i] <= |x| < edges[i + 1]``. All are exact float32 values, but for 2^128,
    the edge above the largest float32. The array is shared: read-only.
    """
    numbers = np.arange(first, first + N_BINS + 1, dtype=np.uint32)
    fractions = (numbers & np.uint32(BINS_PER_OCTAVE - 1)).astype(np.float64)
    octaves = (numbers >> FRACTION_BITS).astype(np.int64)
    leading = np.where(octaves > 0, float(BINS_PER_OCTAVE), 0.0)
    exponents = np.maximum(octaves, 1) - 127 - FRACTION_BITS
    found: NDArray[np.float64] = np.ldexp(leading + fractions, exponents)
    found[0] = 0.0
    found.flags.writeable = False
    return found


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Contiguous float32 of float16, float32 or float64 values, each in its right bin.

    float64 is truncated towards zero, so that no value crosses the edge above it; magnitudes
    from 2^128 on become infinite.

    Raises
    ------
    TypeError
        The values aren't floating point: integer tensors are not quantized.
    """
    if values.dtype.kind != "f" or values.dtype.itemsize > 8:
        raise TypeError(f"activations are float16, float32 or float64, got {values.dtype}")
    if values.dtype == np.float32:
        return np.ascontiguousarray(values)
    if values.dtype == np.float16:
        return np.ascontiguousarray(values, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(values, dtype=np.float32)
        too_large = (np.abs(rounded) > np.abs(values)) & (np.abs(values) < 2.0**128)
    return np.where(too_large, np.nextafter(rounded, np.float32(0)), rounded)
