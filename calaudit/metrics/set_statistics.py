"""What units add to a metric of the whole set, and what the metric is without some of them.

Most such metrics are a function of sums over the units: `Sums`. Others need more than sums can
hold, such as average precision, which orders what all units show: they bring a `SetStatistics` of
their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Functional = Callable[[Floats], Floats]
"""Sums over units (…, m) → metric (…); NaN where the metric isn't defined."""

Influence = Callable[[Floats, int], float]
"""Sums over n units (m,), and n → the most that one changed unit can move the metric."""

Reach = Callable[[Floats, Floats], Floats]
"""Sums (m,), some units' own statistics (n, m) → the most that each can move the metric, (n,)."""

LARGEST = 2.0**400
"""Scores beyond it count as not finite: their squares would not be."""

_AT_ONCE = 1024
_NARROW = 64
"""Columns that are cheaper to add up whole than by what isn't 0 in them."""
_DENSE = 2**20
"""Numbers that are held whole at most: 8 MiB of an engine."""
_FARTHEST = 64
"""Units that are asked how far they would reach among more, or fewer, units."""


@dataclass(eq=False, slots=True)
class Grouping:
    """The units that count, in groups of which each is left out in turn."""

    rows: Ints
    """(r,) the units' numbers."""
    group: Ints
    """(r,) group of each, in [0, n_groups)."""
    n_groups: int
    _member: sparse.csr_array | None = field(default=None, init=False, repr=False)

    def member(self, n: int) -> sparse.csr_array:
        """(n_groups, n) 1 where one of n units is in a group; kept for the next engine."""
        if self._member is None or self._member.shape[1] != n:
            self._member = _gathering(self.group, self.rows, (self.n_groups, n))
        return self._member


class Swaps(Protocol):
    """A metric of some units by two engines, whose answers change places block by block."""

    @property
    def affordable(self) -> int:
        """How many patterns of swaps may be tried within a few seconds."""
        ...

    def __call__(self, swapped: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """The metric by one engine and by the other, both (patterns,).

        Parameters
        ----------
        swapped : ndarray, shape (patterns, blocks)
            1 where the answers of the block's units change places.
        """
        ...


class Pair(Protocol):
    """One engine's statistics beside another's, over the same units."""

    @property
    def changed(self) -> Bools:
        """(n,) units whose statistics differ by more than rounding."""
        ...

    def swaps(self, rows: Ints, block: Ints, n_blocks: int) -> Swaps:
        """What swaps do.

        Parameters
        ----------
        rows : ndarray, shape (r,)
            The units that count.
        block : ndarray, shape (r,)
            Block of each in [0, n_blocks); -1: it is never swapped, and didn't change.
        n_blocks : int
        """
        ...


@runtime_checkable
class SetStatistics(Protocol):
    """What each of n units adds to a set metric, by one engine."""

    def __len__(self) -> int: ...

    @property
    def undefined(self) -> Bools:
        """(n,) units of which a statistic isn't a number."""
        ...

    def emptied(self, units: Bools) -> "SetStatistics":
        """The same, but the units marked (n,) add nothing."""
        ...

    def joined(self, others: Sequence[Any]) -> "SetStatistics":
        """These units, and after them those of `others`, which are of the same class."""
        ...

    def value(self, rows: Ints) -> float:
        """The metric over the units at `rows`, each once; NaN where it isn't defined."""
        ...

    def without_groups(self, of: Grouping) -> tuple[float, Floats]:
        """The metric over the units, and with each group left out, (n_groups,)."""
        ...

    def beside(self, other: Any) -> Pair:
        """These statistics beside another engine's, of the same class and units."""
        ...

    def most(self, rows: Ints) -> Callable[[float], float]:
        """N → the most that one of n units like those at `rows` can move the metric."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """Statistics that add up over units; the metric is a function of their sums."""

    columns: sparse.csr_array
    """(n, m) what each unit adds: float64, or int8 where differences fit in it, too."""
    functional: Functional
    influence: Influence
    reach: Reach | None = None
    """Where units are of very different weight; it goes before `influence`."""
    _last: list[tuple[Ints, Floats]] = field(default_factory=list, init=False, repr=False)
    """The rows that were asked for last, and their sums: engines are judged on a slice in turn."""
    _whole: list[Floats] = field(default_factory=list, init=False, repr=False)
    """The columns with what is 0 in them, once they were asked for."""

    def __len__(self) -> int:
        return int(self.columns.shape[0])

    @property
    def undefined(self) -> Bools:
        """(n,) units with NaN, or a number whose square has no room."""
        found = np.zeros(len(self), dtype=bool)
        row = np.repeat(np.arange(len(self)), np.diff(self.columns.indptr))
        found[row[~(np.abs(self.columns.data) <= LARGEST)]] = True
        return found

    def emptied(self, units: Bools) -> "Sums":
        """The same, but the units marked (n,) add nothing."""
        row = np.repeat(np.arange(len(self)), np.diff(self.columns.indptr))
        kept = self.columns.copy()
        kept.data[units[row]] = 0.0
        kept.eliminate_zeros()
        return replace(self, columns=kept)

    def joined(self, others: Sequence["Sums"]) -> "Sums":
        """These units, and after them those of `others`."""
        stacked = sparse.vstack([self.columns, *(each.columns for each in others)], format="csr")
        return replace(self, columns=sparse.csr_array(stacked))

    def value(self, rows: Ints) -> float:
        """The metric over the units at `rows`."""
        return float(self.functional(self.total(rows)))

    def total(self, rows: Ints) -> Floats:
        """The sums over the units at `rows`, (m,)."""
        last = self._last[0] if self._last else None
        if last is None or last[0] is not rows:
            last = rows, np.asarray(self.held[rows].sum(axis=0), dtype=np.float64)
            self._last[:] = [last]
        return last[1].copy()

    def keep(self, rows: Ints, total: Floats) -> None:
        """Remember the sums over the units at `rows`, which were added up elsewhere."""
        self._last[:] = [(rows, total)]

    @property
    def held(self) -> Floats | sparse.csr_array:
        """The columns, (n, m): as a plain array where they are few and not long."""
        if not is_narrow(self.columns):
            return self.columns
        if not self._whole:
            self._whole.append(plain(self.columns))
        return self._whole[0]

    def without_groups(self, of: Grouping) -> tuple[float, Floats]:
        """The metric over the units, and with each group left out; see `SetStatistics`."""
        totals = plain(of.member(len(self)) @ self.held)
        whole = totals.sum(axis=0)
        return float(self.functional(whole)), self.functional(whole - totals)

    def most(self, rows: Ints) -> Callable[[float], float]:
        """N → the most that one of n units like those at `rows` can move the metric.

        How far units reach is asked of all where there are as many, else of the farthest.
        """
        totals, reach = self.total(rows), self.reach
        if reach is None:
            return lambda n: self.influence(totals * (n / len(rows)), round(n))
        held = self.held
        pieces = (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE))
        found = np.concatenate([reach(totals, plain(held[each])) for each in pieces])
        largest = float(found.max())
        far = plain(held[rows[np.argsort(-found, kind="stable")[:_FARTHEST]]])

        def of(n: float) -> float:
            return largest if n == len(rows) else float(reach(totals * (n / len(rows)), far).max())

        return of


def _gathering(group: Ints, rows: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """What adds up the rows of each group; its indices are as narrow as those of columns."""
    narrow = np.int32 if max(shape) <= np.iinfo(np.int32).max else np.int64
    places = group.astype(narrow, copy=False), rows.astype(narrow, copy=False)
    return sparse.csr_array((np.ones(len(rows)), places), shape=shape)


def is_narrow(columns: sparse.csr_array) -> bool:
    """Whether numbers (n, m) are few enough to be held with what is 0 among them."""
    n, m = columns.shape
    return m <= _NARROW and n * m <= _DENSE


def plain(values: Any) -> Floats:
    """A plain array of what may be sparse."""
    return np.asarray(values if isinstance(values, np.ndarray) else values.toarray(), np.float64)
