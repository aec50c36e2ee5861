"""Crosses: the intersections of several dimensions' slices."""

from collections.abc import Sequence
from math import prod

import numpy as np

from calaudit.errors import Notice, SliceError
from calaudit.slices.dimension import CROSS
from calaudit.slices.sliceset import CodedDimension

MAX_CROSSED = 10_000
"""More non-empty combinations than this make no slices a person could read."""
_MAX_TABLE = 1 << 24


def cross(
    name: str, parts: Sequence[CodedDimension], *, min_support: int, where: str
) -> tuple[CodedDimension, tuple[Notice, ...]]:
    """Intersect dimensions over the same rows.

    Combinations that hold no sample make no slice; their number is noted. A row that is in no
    slice of one part is in none of the cross.

    Raises
    ------
    SliceError
        More than 10,000 combinations hold samples.
    """
    sizes = [len(part.labels) for part in parts]
    combined = np.zeros(len(parts[0].codes), np.int64)
    outside = np.zeros(len(combined), bool)
    for part, size in zip(parts, sizes, strict=True):
        combined *= size
        combined += part.codes
        outside |= part.codes < 0
    combined[outside] = -1
    n_possible = prod(sizes)
    if n_possible <= _MAX_TABLE:
        present = np.flatnonzero(np.bincount(combined + 1, minlength=n_possible + 1)[1:])
    else:
        present = np.unique(combined[combined >= 0])
    if len(present) > MAX_CROSSED:
        raise SliceError(
            f"{len(present):,} combinations hold samples, at most {MAX_CROSSED:,} make slices",
            where=where,
            next_step="Cross fewer dimensions, or with fewer slices each.",
        )
    codes = np.searchsorted(present, combined).astype(np.int32)
    codes[outside] = -1
    labels = tuple(
        CROSS.join(part.labels[i] for part, i in zip(parts, place, strict=True))
        for place in zip(*np.unravel_index(present, sizes), strict=True)
    )
    notices: tuple[Notice, ...] = ()
    if len(present) < n_possible:
        message = f"{n_possible - len(present):,} of {n_possible:,} combinations hold no sample"
        notices = (Notice("empty_combinations", message, where),)
    return CodedDimension(name, labels, codes, min_support), notices
