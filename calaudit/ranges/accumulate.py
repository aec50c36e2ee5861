"""Observation: activations in, batch by batch, histograms out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import RangesError
from calaudit.ranges.grid import DROPPED_BITS, N_BINS, as_float32, first_bin, magnitude_bits
from calaudit.ranges.histogram import Histogram, Histograms, no_histograms, rebase

BLOCK = 1 << 17
"""Values binned at a time, so that what is computed from them stays in the cache."""


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


class Accumulator:
    """Collects histograms of taps over atoms, batch by batch.

    An atom is a set of samples that belong to the same groups; every sample lies in one atom.
    What is collected depends only on the data: not on batch size, order or split.

    Parameters
    ----------
    taps : sequence of str
        Names of the observed tensors.
    n_atoms : int
        Number of atoms.
    """

    def __init__(self, taps: Sequence[str], n_atoms: int) -> None:
        self._collected = no_histograms(taps, n_atoms)

    @property
    def histograms(self) -> Histograms:
        """What was collected so far, as a view: further batches change it."""
        return self._collected

    def add(self, tap: int, values: NDArray[Any], atoms: NDArray[np.int64]) -> NDArray[np.float32]:
        """Observe one batch of one tap.

        Parameters
        ----------
        tap : int
            Which tap.
        values : float16, float32 or float64 (b, …)
            Activations, samples first.
        atoms : int (b,)
            The atom of each sample.

        Returns
        -------
        float32 (b,)
            The largest |x| of each sample.

        Raises
        ------
        BadActivationsError
            NaN or infinity, with the positions of the samples. Nothing of the batch is kept.
        """
        rows = as_float32(values).reshape(len(values), math.prod(values.shape[1:]))
        maxima = _maxima(rows)
        bad = np.flatnonzero(~np.isfinite(maxima))
        if len(bad):
            raise _bad_activations(self._collected.taps[tap], bad)
        for atom in np.unique(atoms):
            chosen = atoms == atom
            part = rows if chosen.all() else rows[chosen]
            self._merge(tap, int(atom), part, maxima[chosen].max(initial=np.float32(0)))
        return maxima

    def _merge(
        self, tap: int, atom: int, values: NDArray[np.float32], amax_here: np.float32
    ) -> None:
        kept = self._collected
        counts = kept.counts[tap, atom]
        before = kept.amax[tap, atom]
        amax = max(before, amax_here)
        first = first_bin(amax)
        if first != first_bin(before):
            counts[:] = rebase(counts, first_bin(before), first)
        count_into(counts, values.reshape(-1), first)
        kept.n_zero[tap, atom] += values.size - np.count_nonzero(values)
        kept.amax[tap, atom] = amax


def count_into(counts: NDArray[np.int64], values: NDArray[np.float32], first: int) -> None:
    """Add `values` (n,) to `counts` over the bins from number `first` on, in place."""
    for start in range(0, len(values), BLOCK):
        bits = magnitude_bits(values[start : start + BLOCK])
        numbers = np.right_shift(bits, DROPPED_BITS, out=bits).astype(np.intp)
        numbers -= first
        if first:
            np.maximum(numbers, 0, out=numbers)
        counts += np.bincount(numbers, minlength=N_BINS)


def observe(values: NDArray[Any]) -> Histogram:
    """The histogram of one array of any shape.

    Raises
    ------
    BadActivationsError
        NaN or infinity; positions are into the flattened array.
    """
    flat = as_float32(np.asarray(values)).reshape(-1)
    bad = np.flatnonzero(~np.isfinite(flat))
    if len(bad):
        raise _bad_activations("values", bad)
    amax = float(np.abs(flat).max(initial=0))
    counts = np.zeros(N_BINS, dtype=np.int64)
    count_into(counts, flat, first_bin(amax))
    return Histogram(counts, int(flat.size - np.count_nonzero(flat)), amax)


def _maxima(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest |x| of each row (b,); NaN where a row holds NaN."""
    largest = rows.max(axis=1, initial=0)
    found: NDArray[np.float32] = np.maximum(largest, -rows.min(axis=1, initial=0))
    return found


def _bad_activations(tap: str, positions: NDArray[np.int64]) -> BadActivationsError:
    shown = ", ".join(map(str, positions[:8])) + (", …" if len(positions) > 8 else "")
    return BadActivationsError(
        f"tap {tap!r} is NaN or infinite in {len(positions)} samples, at positions {shown}",
        next_step="Look at those samples, or take them out of the calibration set.",
        tap=tap,
        positions=tuple(map(int, positions)),
    )
