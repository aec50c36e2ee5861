"""Observation: activations in, batch by batch, histograms out."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.counted import counted
from calaudit.errors import RangesError
from calaudit.ranges.filling import (
    LONG,
    count_long_rows,
    count_short_rows,
    measure_rows,
    raise_amax,
)
from calaudit.ranges.grid import as_float32
from calaudit.ranges.histogram import Histogram, Histograms, no_histograms

LARGEST_NARROW: Final = int(np.iinfo(np.uint32).max)
_INFINITY = np.float32(np.inf).view(np.uint32)


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
        maxima, zeros = _measured(bits)
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
            count_long_rows(bits, maxima, places, counts, amax)
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
    maxima, _ = _measured(_bits(values))
    found: NDArray[np.bool_] = maxima >= _INFINITY
    return found


def _bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    rows = as_float32(values).reshape(len(values), math.prod(values.shape[1:]))
    return rows.view(np.uint32)


def _measured(bits: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Bits of the largest magnitude of each row (b,), and its zeros (b,)."""
    maxima = np.empty(len(bits), np.uint32)
    zeros = np.empty(len(bits), np.int64)
    measure_rows(bits, maxima, zeros)
    return maxima, zeros


def _bad_activations(tap: str, positions: NDArray[np.int64]) -> BadActivationsError:
    shown = ", ".join(map(str, positions[:8])) + (", …" if len(positions) > 8 else "")
    return BadActivationsError(
        f"tap {tap!r} is NaN or infinite in {counted(len(positions), 'sample')}, at "
        f"positions {shown}",
        next_step="Look at those samples, or take them out of the calibration set.",
        tap=tap,
        positions=tuple(map(int, positions)),
    )
