"""What a set metric is when blocks of units change places between FP32 and each of some engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.set_statistics import Functional, Pair, Sums, Swaps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_Moved = tuple[Ints, Ints, Floats]
"""Block, column in [0, m), and what the engine adds there to FP32's sums, each (entries,)."""

_HELD = 2**18
"""Sums that are held at a time: 2 MiB."""
_NOISE = 1e-12
"""Statistics that differ by a smaller share differ by rounding."""


@dataclass(frozen=True, eq=False, slots=True)
class Moves:
    """Which units change places, engine by engine, and in which blocks."""

    rows: Ints
    """(r,) the units that count."""
    n_blocks: Ints
    """(engines,)"""
    engine: Ints
    """(moves,) ascending."""
    place: Ints
    """(moves,) of the unit among `rows`; each once, whatever isn't named doesn't differ."""
    block: Ints
    """(moves,) in [0, n_blocks of the engine)."""


class SwapsOfEngines(Protocol):
    """A metric of some units by FP32 and each of some engines; blocks of them change places."""

    @property
    def affordable(self) -> int:
        """How many patterns of swaps may be tried within a few seconds."""
        ...

    def __call__(self, engines: Ints, swapped: Sequence[Bools]) -> tuple[Floats, Floats]:
        """The metric by FP32, and by each of `engines`, both (engines, patterns).

        Parameters
        ----------
        engines : ndarray of int64, shape (engines,)
        swapped : sequence of ndarray of bool, each of shape (patterns, blocks)
            Of each of them, in which pattern which block's answers change places.
        """
        ...


class Beside(Protocol):
    """FP32's statistics beside those of some engines, over the same n units."""

    @property
    def changed(self) -> Bools:
        """(engines, n) units whose statistics differ from FP32's by more than rounding."""
        ...

    def swaps(self, moves: Moves) -> SwapsOfEngines:
        """What swaps do."""
        ...


class PairBeside:
    """One engine's statistics, which know for themselves what swaps do.

    Parameters
    ----------
    pair : Pair
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    @property
    def changed(self) -> Bools:
        """(1, n); see `Beside`."""
        return self._pair.changed[None]

    def swaps(self, moves: Moves) -> "PairSwaps":
        """What swaps do; see `Beside`."""
        block = np.full(len(moves.rows), -1, dtype=np.int64)
        block[moves.place] = moves.block
        return PairSwaps(self._pair.swaps(moves.rows, block, int(moves.n_blocks[0])))


@dataclass(frozen=True, eq=False, slots=True)
class PairSwaps:
    """Swaps of one engine, as those of several."""

    swaps: Swaps

    @property
    def affordable(self) -> int:
        """How many patterns of swaps may be tried within a few seconds."""
        return self.swaps.affordable

    def __call__(self, engines: Ints, swapped: Sequence[Bools]) -> tuple[Floats, Floats]:
        """The metric by both; see `SwapsOfEngines`."""
        before, after = self.swaps(swapped[0].astype(np.uint8))
        return before[None], after[None]


class SumsBeside:
    """FP32's sums beside those of several engines.

    Parameters
    ----------
    one : Sums
        FP32's.
    others : sequence of Sums
        Of the same units.
    """

    def __init__(self, one: Sums, others: Sequence[Sums]) -> None:
        self._one, self._others = one, others
        self._difference = _differences(one.columns, [each.columns for each in others])
        self.changed = (np.diff(self._difference.indptr) > 0).reshape(len(others), len(one))
        """(engines, n); see `Beside`."""

    def swaps(self, moves: Moves) -> "SumSwaps":
        """What swaps do; see `Beside`."""
        rows, values = moves.rows, self._difference
        first = np.concatenate([[0], np.cumsum(moves.n_blocks)])
        column = first[moves.engine] + moves.block
        order = np.argsort(column, kind="stable")
        row = (moves.engine * len(self._one) + rows[moves.place])[order]
        starts = values.indptr[row]
        length = values.indptr[row + 1] - starts
        ends = np.cumsum(length)
        n_entries = int(ends[-1]) if len(ends) else 0
        entry = np.arange(n_entries) + np.repeat(starts - (ends - length), length)
        return SumSwaps.of(
            self._one.functional,
            (self._one.total(rows), np.array([each.total(rows) for each in self._others])),
            first,
            (
                np.repeat(column[order], length),
                values.indices[entry],
                values.data[entry].astype(np.float64),
            ),
        )


@dataclass(frozen=True, eq=False, slots=True)
class SumSwaps:
    """Sums of FP32 and of several engines, of which blocks change places."""

    functional: Functional
    before: Floats
    """(m,) FP32's."""
    after: Floats
    """(engines, m)"""
    first: Ints
    """(engines + 1,) where each engine's blocks begin."""
    begins: Ints
    """(blocks + 1,) where each block's entries begin."""
    column: Ints
    """(entries,) in [0, m)."""
    value: Floats
    """(entries,) what the engine adds there to FP32's sums."""
    affordable: int = 10**9

    @classmethod
    def of(
        cls, functional: Functional, totals: tuple[Floats, Floats], first: Ints, moved: _Moved
    ) -> "SumSwaps":
        """Swaps of what each block moves.

        Parameters
        ----------
        functional : callable
        totals : ndarray, shape (m,), and ndarray, shape (engines, m)
            FP32's sums and the engines'.
        first : ndarray of int64, shape (engines + 1,)
            Where each engine's blocks begin.
        moved : three ndarrays, each of shape (entries,)
            Block, ascending, column in [0, m), and what the engine adds there to FP32's sums; a
            place may hold several to be added.
        """
        m, n_blocks = len(totals[0]), int(first[-1])
        block, column, value = moved
        if len(value) > n_blocks * m:
            whole = np.bincount(block * m + column, value, n_blocks * m).astype(np.float64)
            place = np.flatnonzero(whole)
            value, (block, column) = whole[place], np.divmod(place, m)
        begins = np.searchsorted(block, np.arange(n_blocks + 1))
        return cls(functional, *totals, first, begins, column, value)

    def __call__(self, engines: Ints, swapped: Sequence[Bools]) -> tuple[Floats, Floats]:
        """The metric by FP32 and by engines; see `SwapsOfEngines`."""
        step = max(1, _HELD // (len(self.before) * len(swapped[0])))
        found = [
            self._some(engines[at : at + step], swapped[at : at + step])
            for at in range(0, len(engines), step)
        ]
        before, after = zip(*found, strict=True)
        return np.concatenate(before), np.concatenate(after)

    def _some(self, engines: Ints, swapped: Sequence[Bools]) -> tuple[Floats, Floats]:
        moves, n_patterns = self._moves(engines), len(swapped[0])
        # turned while they are bytes, which is several times faster
        coins = np.concatenate([np.ascontiguousarray(each.T) for each in swapped])
        shape = len(engines), len(self.before), n_patterns
        moved = np.ascontiguousarray(
            (moves @ coins.astype(np.float64)).reshape(shape).swapaxes(1, 2)
        )
        after = self.after[engines, None]
        return self.functional(self.before + moved), self.functional(after - moved)

    def _moves(self, engines: Ints) -> sparse.csc_array:
        """What each block moves, (engines · m, blocks): of each engine in rows of its own."""
        m, first, begins = len(self.before), self.first, self.begins
        blocks = [slice(first[at], first[at + 1]) for at in engines.tolist()]
        spans = [slice(begins[each.start], begins[each.stop]) for each in blocks]
        sizes = [np.diff(begins[each.start : each.stop + 1]) for each in blocks]
        row = np.concatenate([self.column[span] + at * m for at, span in enumerate(spans)])
        ends = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        held = np.concatenate([self.value[span] for span in spans]), row, ends
        return sparse.csc_array(held, shape=(len(engines) * m, len(ends) - 1))


def _differences(one: sparse.csr_array, others: Sequence[sparse.csr_array]) -> sparse.csr_array:
    """What each of the others has beyond `one`, (others · n, m), without what rounding leaves."""
    theirs = sparse.csr_array(sparse.vstack(others, format="csr"))
    ours = sparse.csr_array(sparse.vstack([one] * len(others), format="csr"))
    difference = sparse.csr_array(theirs - ours)
    size = abs(ours).maximum(abs(theirs))
    apart = abs(difference) > _NOISE * size
    difference = sparse.csr_array(difference.multiply(apart))
    difference.eliminate_zeros()
    return difference
