"""Histograms of |x| that add up exactly, on a grid of 256 equal bins to each power of two.

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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.compiled import compiled, map_pieces

Counts = NDArray[np.int64] | NDArray[np.float64]

FRACTION_BITS = 8
"""Bits of the fraction that tell bins apart: 2^8 bins to an octave."""
BINS_PER_OCTAVE = 1 << FRACTION_BITS
N_OCTAVES = 32
N_BINS = N_OCTAVES * BINS_PER_OCTAVE
"""Stored bins of one histogram: 8192."""

DROPPED_BITS = 23 - FRACTION_BITS
_MAGNITUDE = np.uint32(0x7FFFFFFF)


def bin_number(amax: float | np.float32) -> int:
    """Number of the bin that holds a magnitude, in 0 … 65279."""
    return int(np.float32(amax).view(np.uint32) & _MAGNITUDE) >> DROPPED_BITS


def first_bin(amax: float | np.float32) -> int:
    """Number of the first bin stored by a histogram whose largest magnitude is `amax`."""
    octave = bin_number(amax) >> FRACTION_BITS
    return max(0, octave - (N_OCTAVES - 1)) << FRACTION_BITS


def first_bins(amax: NDArray[np.float32]) -> NDArray[np.int64]:
    """`first_bin` of each of some magnitudes, of any shape."""
    octaves = (amax.view(np.uint32) & _MAGNITUDE).astype(np.int64) >> 23
    found: NDArray[np.int64] = np.maximum(octaves - (N_OCTAVES - 1), 0) << FRACTION_BITS
    return found


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


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Distribution of |x| of one tensor over one group of samples."""

    counts: Counts
    """Values per bin (`N_BINS`,), zeros included. Fractions where samples are
    weighted."""
    n_zero: float
    """How many values are exactly zero; they lie in the first bin too."""
    amax: float
    """Largest |x|, exact (float32). 0 for no data and for data that is all zero."""

    @property
    def n(self) -> float:
        """Number of values: an int, or a sum of weights."""
        n: float = self.counts.sum().item()
        return n

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins (`N_BINS` + 1,), from 0 to a power of two above `amax`."""
        return edges(first_bin(self.amax))

    __hash__ = None  # type: ignore[assignment]  # equal by content, and arrays have no hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        same_counts = np.array_equal(self.counts, other.counts)
        return same_counts and (self.n_zero, self.amax) == (other.n_zero, other.amax)

    def __add__(self, other: "Histogram") -> "Histogram":
        """The histogram of both data sets together: exact, associative, commutative."""
        amax = max(self.amax, other.amax)
        first = first_bin(amax)
        counts = rebase(self.counts, first_bin(self.amax), first)
        counts = counts + rebase(other.counts, first_bin(other.amax), first)
        return Histogram(counts, self.n_zero + other.n_zero, amax)


def rebase(counts: NDArray[Any], first: int, new_first: int) -> NDArray[Any]:
    """Counts over the bins from number `new_first` on; what lies lower goes to the first.

    Parameters
    ----------
    counts : uint32, int64 or float64 (N_BINS,)
        Counts over the bins from number `first` on.
    first, new_first : int
        Bin numbers; ``new_first >= first``, since a maximum only grows.
    """
    shift = new_first - first
    if shift == 0:
        return counts
    moved = np.zeros_like(counts)
    kept = max(0, N_BINS - shift)
    moved[:kept] = counts[N_BINS - kept :]
    moved[0] += counts[: N_BINS - kept].sum()
    return moved


@compiled
def add_parts(
    counts: NDArray[Any],
    firsts: NDArray[np.int64],
    weights: NDArray[Any],
    wanted: NDArray[np.int64],
    total: NDArray[Any],
) -> None:
    """Add the parts of one tap up to groups, as often as each counts them.

    Parameters
    ----------
    counts : uint32, int64 or float64 (P, N_BINS)
    firsts : int64 (P,)
        Number of the first bin of each part.
    weights : int64 or float64 (G, P)
    wanted : int64 (G,)
        Number of the first bin of each group, no lower than those of its parts.
    total : as `weights` (G, N_BINS)
        What they are added to.
    """
    for group in range(weights.shape[0]):
        kept = total[group]
        for part in range(weights.shape[1]):
            weight = weights[group, part]
            if weight == 0:
                continue
            row, shift = counts[part], min(wanted[group] - firsts[part], N_BINS)
            lowest = 0 * weight
            for place in range(min(shift + 1, N_BINS)):
                lowest += row[place]
            kept[0] += weight * lowest
            moved = row[shift:]
            for place in range(1, len(moved)):
                kept[place] += weight * moved[place]


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Histograms of T taps over G groups (or atoms) of samples."""

    taps: tuple[str, ...]
    counts: Counts | NDArray[np.uint32]
    """(T, G, `N_BINS`). 32 bits only where none can be reached by more values than they hold."""
    n_zero: Counts
    """(T, G)."""
    amax: NDArray[np.float32]
    """(T, G)."""

    @property
    def n_groups(self) -> int:
        """Number of groups G."""
        return int(self.counts.shape[1])

    __hash__ = None  # type: ignore[assignment]  # equal by content, and arrays have no hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histograms):
            return NotImplemented
        return self.taps == other.taps and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("counts", "n_zero", "amax")
        )

    def one(self, tap: int, group: int) -> Histogram:
        """The histogram of one tap over one group; without a copy, unless counts have 32 bits."""
        counts: Any = self.counts[tap, group]
        if counts.dtype == np.uint32:
            counts = counts.astype(np.int64)
        return Histogram(counts, self.n_zero[tap, group].item(), float(self.amax[tap, group]))

    def __add__(self, other: "Histograms") -> "Histograms":
        """Both data sets together, tap by tap and group by group.

        Raises
        ------
        ValueError
            The taps or the number of groups differ.
        """
        if self.taps != other.taps or self.n_groups != other.n_groups:
            raise ValueError("histograms add up only over the same taps and groups")
        amax = np.maximum(self.amax, other.amax)
        wide = np.result_type(self.counts, other.counts, np.int64)
        counts = np.empty(self.counts.shape, wide)
        for tap, group in np.ndindex(amax.shape):
            both = self.one(tap, group) + other.one(tap, group)
            counts[tap, group] = both.counts
        return Histograms(self.taps, counts, self.n_zero + other.n_zero, amax)

    def group(self, members: NDArray[np.bool_] | NDArray[np.float64]) -> "Histograms":
        """Sum the groups (parts) into new, possibly overlapping ones.

        Parameters
        ----------
        members : bool or float64 (n_groups, G)
            How often each new one counts each present group. A sample must lie in one present
            group only, or it would count twice.

        Returns
        -------
        Histograms
            Of `n_groups` groups; each equals a direct observation of its samples. Counts are
            integers where all weights are, else fractions.
        """
        if members.ndim != 2 or members.shape[1] != self.n_groups:
            raise ValueError(f"members is {members.shape}, expected (n_groups, {self.n_groups})")
        counted = np.issubdtype(self.counts.dtype, np.integer)
        whole = counted and bool((members == np.rint(members)).all())
        weights: NDArray[Any] = members.astype(np.int64 if whole else np.float64)
        counts: NDArray[Any] = np.zeros((len(self.taps), len(weights), N_BINS), weights.dtype)
        amax = np.zeros(counts.shape[:2], dtype=np.float32)
        for number, row in enumerate(weights):
            amax[:, number] = self.amax[:, row != 0].max(axis=1, initial=0)
        own, wanted = first_bins(self.amax), first_bins(amax)

        def add(tap: int) -> None:
            add_parts(self.counts[tap], own[tap], weights, wanted[tap], counts[tap])

        map_pieces(add, len(self.taps))
        n_zero: NDArray[Any] = self.n_zero @ weights.T
        return Histograms(self.taps, counts, n_zero, amax)


def no_histograms(taps: Sequence[str], n_groups: int, *, narrow: bool = False) -> Histograms:
    """Histograms that hold no data yet; with `narrow` their counts have 32 bits."""
    shape = (len(taps), n_groups)
    counts: NDArray[Any] = np.zeros((*shape, N_BINS), np.uint32 if narrow else np.int64)
    return Histograms(
        tuple(taps),
        counts,
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape, dtype=np.float32),
    )
