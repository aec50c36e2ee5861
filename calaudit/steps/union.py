"""Samples to observe, of calibration sets (every distinct one once) or of a pool."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset
from calaudit.runtime.pool import Pool, Rows, TensorSpec, batches
from calaudit.slices.dimension import EVERYTHING
from calaudit.slices.sliceset import SliceSet

SampleKey = tuple[str, int]
"""Content digest, and which of its occurrences within one set."""
_READ_BYTES: Final = 4 << 20
"""Inputs read from a set at a time."""
_READ_AT_MOST: Final = 256


class Read(NamedTuple):
    """Samples that were read: from where, their places among all, and their inputs."""

    source: str
    """For messages: ``"calibration set clean"``."""
    places: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]]


class Samples(Protocol):
    """Samples to observe, and the groups that they are in."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """(n,)."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        ...

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n_groups, n) how often each group counts each sample."""
        ...

    def __len__(self) -> int:
        """Number of samples n."""
        ...

    def read(self) -> Iterator[Read]:
        """Every sample once, in pieces of a few megabytes."""
        ...


class PoolSamples:
    """Rows of a pool, in the groups that they are in.

    Parameters
    ----------
    pool : Pool
    rows : int64 (n,)
        Ascending.
    groups : iterable of (str, bool (n,))
        Name and rows of each group, such as `SliceSet.masks`; those without rows are left out.
    source : str
        What messages call the rows.
    """

    def __init__(
        self, pool: Pool, rows: Rows, groups: Iterable[tuple[str, NDArray[np.bool_]]], source: str
    ) -> None:
        self._pool, self._rows, self._source = pool, rows, source
        held = {name: mask for name, mask in groups if mask.any()}
        self.ids: NDArray[np.str_] = pool.ids(rows)
        self.groups: tuple[str, ...] = tuple(held)
        self.weights: NDArray[np.float64] = np.stack(list(held.values())).astype(np.float64)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self) -> Iterator[Read]:
        """See `Samples`. Values that aren't finite are left to who observes them."""
        start = 0
        for piece in batches(self._rows, _read_size(self._pool.inputs)):
            places = np.arange(start, start + len(piece))
            yield Read(self._source, places, self._pool.read_inputs(piece, check=False))
            start += len(piece)


class CalibsetUnion:
    """Every distinct sample of some calibration sets.

    A sample that several sets hold is here once; one that a set holds twice is here twice.

    Parameters
    ----------
    sets : mapping
        By name, at least one.
    weighted : bool
        Count a set's samples by its weights (how many candidates each stands for) instead of once.
    slices : mapping
        Set → slices over its samples; each becomes a group over the whole union.
    """

    def __init__(
        self,
        sets: Mapping[str, Calibset],
        *,
        weighted: bool = False,
        slices: Mapping[str, SliceSet] | None = None,
    ) -> None:
        self._sets = sets
        self._places: dict[str, NDArray[np.int64]] = {}
        place: dict[SampleKey, int] = {}
        ids: list[str] = []
        for name, drawn in sets.items():
            keys = _keys(drawn)
            for key, label in zip(keys, drawn.ids, strict=True):
                if place.setdefault(key, len(ids)) == len(ids):
                    ids.append(str(label))
            self._places[name] = np.array([place[key] for key in keys], np.int64)
        self.ids: NDArray[np.str_] = np.array(ids, np.str_)
        """(n,)."""
        found: dict[str, NDArray[np.float64]] = {}
        for name, drawn in sets.items():
            found[name] = self._spread(name, drawn.weights if weighted else np.ones(len(drawn)))
        for name, each in (slices or {}).items():
            for label, mask in each.masks():
                if label not in sets:
                    held = self._spread(name, mask.astype(np.float64))
                    found[label] = np.maximum(found.get(label, held), held)
        if len(found) > 1:
            found.setdefault(EVERYTHING, np.ones(len(ids)))
        held_by_some = {name: row for name, row in found.items() if name in sets or row.any()}
        self.groups = tuple(held_by_some)
        """Sets, then slices that hold samples, then all."""
        self.weights: NDArray[np.float64] = np.stack(list(held_by_some.values()))
        """(n_groups, n) how often each group counts each sample."""

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the calibration sets."""
        return tuple(self._sets)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self) -> Iterator[Read]:
        """Every sample once, in pieces of a few megabytes. Raises as `Calibset.read_inputs`."""
        done = np.zeros(len(self), bool)
        for name, drawn in self._sets.items():
            places = self._places[name]
            size = _read_size(drawn.inputs)
            for start in range(0, len(drawn), size):
                here = places[start : start + size]
                fresh = np.flatnonzero(~done[here])
                if len(fresh):
                    values = drawn.read_inputs(start, start + len(here))
                    done[here] = True
                    yield Read(
                        f"calibration set {name}",
                        here[fresh],
                        {key: v[fresh] for key, v in values.items()},
                    )

    def positions(self, name: str) -> NDArray[np.int64]:
        """Where each sample of a set, in the set's order, stands in the union."""
        return self._places[name]

    def _spread(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        row = np.zeros(len(self.ids))
        row[self._places[name]] = values
        return row


def _keys(drawn: Calibset) -> list[SampleKey]:
    seen: Counter[str] = Counter()
    keys = []
    for digest in map(str, drawn.digests):
        keys.append((digest, seen[digest]))
        seen[digest] += 1
    return keys


def _read_size(inputs: Mapping[str, TensorSpec]) -> int:
    one = sum(spec.dtype.itemsize * int(np.prod(spec.shape)) for spec in inputs.values())
    return int(np.clip(_READ_BYTES // max(one, 1), 1, _READ_AT_MOST))
