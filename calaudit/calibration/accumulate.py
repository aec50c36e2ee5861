"""Activations in, batch by batch, histograms out; NaN and infinity among them are found.

One pass measures, one counts.
"""

import math
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.counting import (
    ALL_BINS,
    INFINITY,
    LONG,
    TABLE,
    count_rows,
    measure_rows,
)
from calaudit.calibration.histogram import (
    Histogram,
    Histograms,
    as_float32,
    no_histograms,
)
from calaudit.runtime.errors import RangesError
from calaudit.runtime.words import counted

LARGEST_NARROW: Final = int(np.iinfo(np.uint32).max)


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
    """What counting needs, in each thread its own."""

    def __init__(self) -> None:
        self.tables = np.zeros((4, TABLE), np.uint32)
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
        self._locks = [threading.Lock() for _ in taps]
        self._announcing = threading.Lock()

    @property
    def histograms(self) -> Histograms:
        """What was collected so far, as a view: further batches change it."""
        return self._collected

    def reserve(self, n_values: int) -> None:
        """Announce a batch: `n_values` more, at most, will come for each tap.

        Counts are widened to 64 bits here, where 32 might overflow.
        """
        with self._announcing:
            self._reserved += n_values
            if self._most is None or self._reserved <= self._most:
                return
            with ExitStack() as held:  # no thread is adding
                for lock in self._locks:
                    held.enter_context(lock)
                kept = self._collected
                wide = kept.counts.astype(np.int64)
                self._collected = Histograms(kept.taps, wide, kept.n_zero, kept.amax)
                self._most = None

    def add(self, tap: int, values: NDArray[Any], parts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Observe one batch of one tap; several threads may do so at once.

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
        places = np.ascontiguousarray(parts, dtype=np.int64)
        places = places[:, None] if places.ndim == 1 else places
        if len(bits) > 1:  # one alone is looked at while it is counted
            self._check(tap, _maxima(bits), places)
        maxima, own = np.empty(len(bits), np.uint32), self._scratch
        with self._locks[tap]:
            self._added[tap] += bits.size
            if self._most is not None and self._added[tap] > self._reserved:
                raise ValueError(
                    f"{self._added[tap]} values of {self._reserved} that were announced"
                )
            kept = self._collected
            counts, amax = kept.counts[tap], kept.amax[tap].view(np.uint32)
            count_rows(bits, places, counts, kept.n_zero[tap], amax, maxima, own.tables, own.filled)
        self._check(tap, maxima, places)
        return maxima.view(np.float32)

    def _check(self, tap: int, maxima: NDArray[np.uint32], places: NDArray[np.int64]) -> None:
        if maxima.max(initial=0) >= INFINITY:
            bad = np.flatnonzero((maxima >= INFINITY) & (places >= 0).any(axis=1))
            if len(bad):
                raise _bad_activations(self._collected.taps[tap], bad)


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
    found: NDArray[np.bool_] = _maxima(_bits(values)) >= INFINITY
    return found


def _bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    rows = as_float32(values).reshape(len(values), math.prod(values.shape[1:]))
    return rows.view(np.uint32)


def _maxima(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Bits of the largest magnitude of each row (b,)."""
    maxima = np.empty(len(bits), np.uint32)
    measure_rows(bits, maxima)
    return maxima


def _bad_activations(tap: str, positions: NDArray[np.int64]) -> BadActivationsError:
    shown = ", ".join(map(str, positions[:8])) + (", …" if len(positions) > 8 else "")
    return BadActivationsError(
        f"tap {tap!r} is NaN or infinite in {counted(len(positions), 'sample')}, at "
        f"positions {shown}",
        next_step="Check those samples, or remove them from the calibration set.",
        tap=tap,
        positions=tuple(map(int, positions)),
    )
