"""Slices as partitions: groups of slices that don't overlap one another, counted in one go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.slices.sliceset import SliceSet

Rows = NDArray[np.int64]
Slices = Mapping[str, Rows] | SliceSet
"""Slice's name → its units, as positions in the scores, each once; slices may overlap."""

_MOST_CELLS = 1 << 24
"""Sums held at a time: 128 MiB."""


@dataclass(frozen=True, eq=False, slots=True)
class Partition:
    """Slices of which a unit is in at most one."""

    names: tuple[str, ...]
    codes: NDArray[Any]
    """(n,) integers: the slice of each unit; outside [0, len(names)): in none."""


def names_of(slices: Slices) -> list[str]:
    """Names of all slices, in order."""
    return slices.names if isinstance(slices, SliceSet) else list(slices)


def rows_of(slices: Slices, name: str) -> Rows:
    """Units of one slice."""
    return slices.rows(name) if isinstance(slices, SliceSet) else slices[name]


def partitions(slices: Slices, n: int, width: int) -> Iterator[Partition]:
    """Partitions that together hold all `slices`, in their order.

    Parameters
    ----------
    slices : SliceSet or mapping
    n : int
        Units.
    width : int
        Numbers that are summed per slice: partitions are cut so that memory stays bounded.
    """
    step = max(1, _MOST_CELLS // max(width, 1))
    if not isinstance(slices, SliceSet):
        yield from _joined(slices, n, step)
        return
    yield Partition((slices.names[0],), np.zeros(n, dtype=np.int8))
    for dimension in slices.dimensions:
        for start in range(0, len(dimension.labels), step):
            shifted = dimension.codes - np.int32(start) if start else dimension.codes
            yield Partition(dimension.labels[start : start + step], shifted)


def _joined(slices: Mapping[str, Rows], n: int, most: int) -> Iterator[Partition]:
    """Neighbours that don't overlap in one partition, up to `most`."""
    names: list[str] = []
    codes = np.full(n, -1, dtype=np.int32)
    for name, rows in slices.items():
        if names and (len(names) == most or (codes[rows] >= 0).any()):
            yield Partition(tuple(names), codes)
            names, codes = [], np.full(n, -1, dtype=np.int32)
        codes[rows] = len(names)
        names.append(name)
    if names:
        yield Partition(tuple(names), codes)
