"""Histograms of |x| that add up exactly, for one tensor or for many taps × groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges.grid import N_BINS, edges, first_bin

Counts = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Distribution of |x| of one tensor over one group of samples."""

    counts: Counts
    """Values per bin (`N_BINS`,), zeros included; see `calaudit.ranges.grid`. Fractions where
    samples are weighted."""
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
        shape = (len(self.taps), len(weights))
        counts: NDArray[Any] = np.zeros((*shape, N_BINS), dtype=weights.dtype)
        amax = np.zeros(shape, dtype=np.float32)
        for tap, group in np.ndindex(shape):
            held = np.flatnonzero(weights[group])
            largest = float(self.amax[tap, held].max(initial=0))
            amax[tap, group], first = largest, first_bin(largest)
            for part in held:
                own_first = first_bin(float(self.amax[tap, part]))
                moved = rebase(self.counts[tap, part], own_first, first)
                weight = weights[group, part]
                counts[tap, group] += moved if weight == 1 else weight * moved
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
