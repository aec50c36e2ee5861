"""Several engines' scores of the same units, asked together."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.division import divide
from calaudit.metrics.set_statistics import Grouping, SetStatistics, Sums, is_narrow, plain
from calaudit.metrics.swapping import Beside, PairBeside, SumsBeside
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores, of_units

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_STACKED = 2**21
"""Numbers of several engines that are held side by side at most: 16 MiB."""
_MEMBERS = 2**20
"""Units of several slices that are added up at a time."""
_GROUPS = 64
"""Groups that units are left out in, about."""


class Engines(Protocol):
    """Several engines' statistics of the same units, FP32's first."""

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, (engines,), and without each group, (engines, groups)."""
        ...

    def beside(self) -> Iterator[tuple[slice, Beside]]:
        """FP32's beside those of all others, some at a time: of which, counted without FP32."""
        ...


def side_by_side(engines: Sequence[Sums | SetStatistics]) -> Engines:
    """The statistics of several engines, of one class and of the same units, FP32's first."""
    sums = [each for each in engines if isinstance(each, Sums)]
    others = [each for each in engines if not isinstance(each, Sums)]
    return _InTurn(others) if others else _SumsOfEngines(sums)


class _SumsOfEngines:
    """Sums of several engines, which are added up side by side where they are short.

    Parameters
    ----------
    engines : sequence of Sums
        Of the same units.
    """

    def __init__(self, engines: Sequence[Sums]) -> None:
        self.engines = engines
        n, m = engines[0].columns.shape
        most = max(each.columns.nnz for each in engines)
        held = n * m if all(is_narrow(each.columns) for each in engines) else most
        beside = max(1, _STACKED // max(held, m * _GROUPS, 1))
        self._parts = [engines[at : at + beside] for at in range(0, len(engines), beside)]
        self._stacked = [self._stack(part) for part in self._parts]

    @staticmethod
    def _stack(part: Sequence[Sums]) -> Any:
        """The columns side by side, (n, engines · m); None: those of the one."""
        if len(part) == 1:
            return None
        whole = [held for each in part if isinstance(held := each.held, np.ndarray)]
        if len(whole) == len(part):
            return np.concatenate(whole, axis=1)
        return sparse.csr_array(sparse.hstack([each.columns for each in part], format="csr"))

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, and with each group left out; see `Engines`.

        The engines keep their sums over these units.
        """
        wholes, lefts = [], []
        for part, stacked in zip(self._parts, self._stacked, strict=True):
            n, m = part[0].columns.shape
            summed = of.member(n) @ (part[0].held if stacked is None else stacked)
            totals = plain(summed).reshape(of.n_groups, len(part), m)
            whole = totals.sum(axis=0)
            for each, total in zip(part, whole, strict=True):
                each.keep(of.rows, total)
            functional = part[0].functional
            wholes.append(functional(whole))
            lefts.append(functional(whole - totals).T)
        return np.concatenate(wholes), np.concatenate(lefts)

    def beside(self) -> Iterator[tuple[slice, Beside]]:
        """FP32's sums beside those of others; see `Engines`."""
        fp32, *others = self.engines
        most = max(len(fp32), *(each.columns.nnz for each in self.engines))
        step = max(1, _STACKED // max(most, 1))
        for at in range(0, len(others), step):
            part = slice(at, min(at + step, len(others)))
            yield part, SumsBeside(fp32, others[part])


class _InTurn:
    """Statistics of several engines that have nothing to share.

    Parameters
    ----------
    engines : sequence of SetStatistics
        Of the same units.
    """

    def __init__(self, engines: Sequence[SetStatistics]) -> None:
        self.engines = engines

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, and with each group left out; see `Engines`."""
        found = [each.without_groups(of) for each in self.engines]
        return np.array([whole for whole, _ in found]), np.array([left for _, left in found])

    def beside(self) -> Iterator[tuple[slice, Beside]]:
        """FP32's statistics beside each other's; see `Engines`."""
        fp32, *others = self.engines
        for at, other in enumerate(others):
            yield slice(at, at + 1), PairBeside(fp32.beside(other))


def memberships(slices: Sequence[Rows], n: int) -> Iterator[sparse.csr_array]:
    """Who is in which slice, some successive slices at a time.

    Parameters
    ----------
    slices : sequence of ndarray
        Units of each, in [0, n), each once.
    n : int

    Yields
    ------
    csr_array, shape (slices, n)
        1 where a unit is in a slice.
    """
    narrow = np.int32 if n <= np.iinfo(np.int32).max else np.int64
    first = 0
    while first < len(slices):
        last, held = first + 1, len(slices[first])
        while last < len(slices) and held + len(slices[last]) <= _MEMBERS:
            held += len(slices[last])
            last += 1
        part = slices[first:last]
        ends = np.cumsum([0, *map(len, part)]).astype(narrow)
        units = np.concatenate(part).astype(narrow, copy=False)
        yield sparse.csr_array((np.ones(held), units, ends), shape=(len(part), n))
        first = last


def values_in(scores: Sequence[Scores], member: sparse.csr_array) -> Floats:
    """A metric by several scores on several slices, (scores, slices); NaN where it isn't defined.

    Parameters
    ----------
    scores : sequence of Scores
        By one metric, of the same n units.
    member : csr_array, shape (slices, n)
        From `memberships`.
    """
    units = [each for each in scores if isinstance(each, UnitScores | RatioScores)]
    if len(units) == len(scores):
        beside = max(1, _STACKED // max(member.shape[1], 1))
        starts = range(0, len(units), beside)
        return np.concatenate([_means(units[at : at + beside], member) for at in starts])
    sets = [each for each in scores if isinstance(each, SetScores)]
    sums = [each.statistics for each in sets if isinstance(each.statistics, Sums)]
    if len(sums) < len(sets):
        parts = np.split(member.indices, member.indptr[1:-1])
        return np.array([[each.value(part.astype(np.int64)) for part in parts] for each in sets])
    held = np.array([member @ each.present.astype(np.float64) for each in sets])
    m = sums[0].columns.shape[1]
    step = max(1, _STACKED // m)
    found = [
        each.functional(plain(member[at : at + step] @ each.held))
        for each in sums
        for at in range(0, member.shape[0], step)
    ]
    return np.where(held > 0, np.concatenate(found).reshape(held.shape), np.nan)


def _means(scores: Sequence[UnitScores | RatioScores], member: sparse.csr_array) -> Floats:
    """Means, or ratios of sums, on each slice, (scores, slices)."""
    given = np.column_stack([of_units(each) for each in scores])
    present = ~np.isnan(given)
    size = [
        each.denominator if isinstance(each, RatioScores) else np.ones(len(each)) for each in scores
    ]
    total = member @ np.where(present, given, 0.0)
    weight = member @ np.where(present, np.column_stack(size), 0.0)
    return divide(total, weight, np.nan).T
