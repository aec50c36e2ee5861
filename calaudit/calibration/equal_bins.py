"""Histograms of |x| in 2,048 equal bins that grow with the batches, as TensorRT's calibrator's do.

A bin is as wide as 1/2048 of the largest |x| of the first batch. A batch that holds more first
merges the bins in pairs and doubles their width, as often as needed. So the histogram depends on
the batches and their order, by design. A value at the very end counts in the last bin that there is
when it is counted.

Once the largest |x| of every batch is known, so is the bin of every value: counted in batch b at
width w_b it ends in ``min(floor(|x| / w_b), 2047) >> doublings still to come``. Samples can then be
counted in any order, whatever batches they run in (`grow`, `factors`, `count_equal`).

What TensorRT does where the first batch is all zero isn't known. Here the first batch that isn't
gives the width; zeros never count in the search (`calaudit.calibration.entropy_trt`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.histogram import as_float32
from calaudit.runtime.compiled import compiled
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted

_UP: Final = 1 + 2.0**-44
"""Makes floor(x · (1/w)) equal floor(x / w). The quotient of two float32 below 2048 is whole, or by
a share of 2^-36 or more away from the next whole number; the product is off by 2^-52 at most."""
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """How the bins of T tensors grow over B batches."""

    start: NDArray[np.int64]
    """(T,): the batch that gives the first width, the first that isn't all zero; -1: none."""
    first: NDArray[np.float64]
    """(T,): that width; 0 where all is zero."""
    doublings: NDArray[np.int16]
    """(T, B): doublings done when a batch is counted."""

    @property
    def widths(self) -> NDArray[np.float64]:
        """In the end (T,)."""
        return np.ldexp(self.first, self.doublings[:, -1])


def factors(
    first: NDArray[np.float64], done: NDArray[np.int16], all_in_all: NDArray[np.int16]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What takes a value to its bin, for `count_equal`.

    Parameters
    ----------
    first : float64 (k,)
        First widths.
    done, all_in_all : int16 (k,)
        Doublings when a batch is counted, and in the end.

    Returns
    -------
    float64, int64 (k,)
        What to multiply |x| by, 0 where all is zero; and by how many doublings its bin is then to
        be merged.
    """
    width = np.where(first > 0, np.ldexp(first, done), np.inf)
    # more than takes any bin to the first would be shifted modulo 64
    shifts = np.minimum(all_in_all - done, N_EQUAL.bit_length())
    return _UP / width, shifts.astype(np.int64)


def grow(maxima: NDArray[np.float32]) -> Growth:
    """What the largest |x| of each tensor in each batch (T, B) make of the bins."""
    alive = maxima > 0
    start = np.where(alive.any(axis=1), alive.argmax(axis=1), -1)
    at_first = np.take_along_axis(maxima, np.maximum(start, 0)[:, None], axis=1)[:, 0]
    so_far = np.maximum.accumulate(np.maximum(maxima, at_first[:, None]), axis=1)
    fraction, exponent = np.frexp(so_far.astype(np.float64))
    first_fraction, first_exponent = np.frexp(at_first.astype(np.float64))
    doublings = exponent - first_exponent[:, None] + (fraction > first_fraction[:, None])
    return Growth(start, at_first.astype(np.float64) / N_EQUAL, doublings.astype(np.int16))


@compiled
def count_equal(  # noqa: PLR0917  # numba has no keyword-only arguments
    values: NDArray[np.float32],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
    inverses: NDArray[np.float64],
    shifts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count rows of one tensor in equal bins, each as often as it is asked for.

    Parameters
    ----------
    values : float32 (b, m)
        All finite.
    rows, groups : int64 (k,)
        Which row is counted, and in which group. Where the one before is of the same row and width,
        its values needn't be looked at again.
    inverses, shifts : float64, int64 (k,)
        From `factors`, of the batch in which it is counted.
    counts : int64 (G, N_EQUAL)
    """
    # Values take turns between two tables: where many are equal, as behind a ReLU, one count would
    # have to wait for the one before it.
    even, odd = np.zeros(N_EQUAL, np.uint32), np.zeros(N_EQUAL, np.uint32)
    last = float(N_EQUAL - 1)
    for place in range(len(rows)):
        row, inverse, shift = values[rows[place]], inverses[place], shifts[place]
        kept = counts[groups[place]]
        if len(row) < N_EQUAL:
            for value in row:
                kept[np.int64(min(abs(value) * inverse, last)) >> shift] += 1
            continue
        if place == 0 or rows[place] != rows[place - 1] or inverse != inverses[place - 1]:
            even[:] = 0
            odd[:] = 0
            for pair in range(len(row) // 2):
                even[np.int64(min(abs(row[2 * pair]) * inverse, last))] += np.uint32(1)
                odd[np.int64(min(abs(row[2 * pair + 1]) * inverse, last))] += np.uint32(1)
            if len(row) % 2:
                even[np.int64(min(abs(row[-1]) * inverse, last))] += np.uint32(1)
        for number in range(N_EQUAL):
            kept[number >> shift] += even[number] + odd[number]


class GrowingBins:
    """The bins of one tensor, batch by batch in the order of calibration."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(N_EQUAL, np.int64)
        """(N_EQUAL,)."""
        self.width = 0.0
        """Of a bin; 0 where all was zero so far."""
        self.start = -1
        """The first batch that wasn't all zero; -1: none so far."""
        self._n_batches = 0

    def add(self, batch: NDArray[Any]) -> None:
        """Count one batch (any shape) of finite values."""
        values = as_float32(np.asarray(batch)).reshape(1, -1)
        largest = float(np.abs(values).max(initial=0))
        self._n_batches += 1
        if largest == 0:
            self.counts[0] += values.size
            return
        if self.width == 0:
            self.width, self.start = largest / N_EQUAL, self._n_batches - 1
        while largest > N_EQUAL * self.width:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.append(merged, np.zeros_like(merged))
            self.width *= 2
        none = np.zeros(1, np.int64)
        count_equal(values, none, none, np.array([_UP / self.width]), none, self.counts[None])


@dataclass(frozen=True, slots=True, eq=False)
class EqualBins:
    """Equal bins of all taps over one calibration set."""

    taps: tuple[str, ...]
    counts: NDArray[np.int64]
    """(T, N_EQUAL)."""
    widths: NDArray[np.float64]
    """(T,); 0 where all is zero."""
    start: NDArray[np.int64]
    """(T,): the batch that gave the first width; -1 where all is zero."""
    n_samples: int
    """Samples of the set that were counted, each once or, where it fills the last batch, twice."""
    batching: Batching
    """As it fits the set."""

    def notices(self, calibset: str) -> list[Notice]:
        """What is to be said of the batches, as they went over the set called `calibset`."""
        found = []
        size, where = self.batching.size, f"calibration set {calibset!r}"
        over = -self.n_samples % size
        if over:
            message = (
                f"the last batch of {size} is filled with {counted(over, 'sample')} once more, "
                f"of {self.n_samples}"
            )
            found.append(Notice("calibration_filled", message, where))
        late = [tap for tap, start in zip(self.taps, self.start.tolist(), strict=True) if start > 0]
        if late:
            message = (
                f"the first batch is all zero in {counted(len(late), 'tap')} ({_first(late)}): the "
                "first that isn't sets the width of the bins. What TensorRT does isn't known"
            )
            found.append(Notice("first_batch_zero", message, where))
        return found


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
