"""Head, middle and tail: the classes of a column grouped by how common they are."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.errors import SliceError
from calaudit.slices.categories import Categories


def group_by_frequency(
    counts: NDArray[np.float64] | NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.int32]:
    """Group of each class, 0 = head.

    Classes are ordered by count, descending; equal counts keep their order. A class belongs to
    the group in which its first sample falls: it is in the head when the classes before it hold
    less than the first share of all samples. So the head is never empty, unless all counts are 0.

    Parameters
    ----------
    counts : array (n_classes,)
        Samples per class, or any count that says how common it is.
    shares : sequence of float
        Ascending cumulative shares in (0, 1).

    Returns
    -------
    int32 array (n_classes,)
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    total = counts.sum()
    groups = np.empty(len(counts), np.int32)
    # Compared as before >= share * total, rounding down to the class a hair above the cut.
    cuts = np.asarray(shares, np.float64) * total * (1 - 1e-12)
    groups[order] = np.searchsorted(cuts, before, side="right")
    return groups


def class_counts(classes: Categories, count: pl.Series, *, where: str) -> NDArray[np.float64]:
    """Count of each class as a column gives it.

    Parameters
    ----------
    classes : Categories
        The classes, coded over the same rows.
    count : polars.Series
        (n_rows,) numeric, the same number on every row of one class.

    Raises
    ------
    SliceError
        It isn't numeric, negative, missing for a class, or differs within a class.
    """
    if not count.dtype.is_numeric():
        raise SliceError(
            f'count column "{count.name}" holds {count.dtype}, not numbers',
            where=where,
            next_step="Name a column that holds each class's count.",
        )
    values = count.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = (classes.codes >= 0) & ~np.isnan(values)
    codes, present = classes.codes[known], values[known]
    found = np.full(len(classes.values), np.nan)
    found[codes] = present
    differs = found[codes] != present
    if differs.any():
        _refuse(classes, int(codes[differs][0]), "differs among its samples", count.name, where)
    bad = np.flatnonzero(~(found >= 0) | np.isinf(found))
    if len(bad):
        _refuse(classes, int(bad[0]), f"is {found[bad[0]]:g}", count.name, where)
    return found


def _refuse(classes: Categories, code: int, state: str, column: str, where: str) -> None:
    raise SliceError(
        f'the count of class {classes.texts()[code]} in column "{column}" {state}',
        where=where,
        next_step="Give every class one count of at least 0, or drop count to count samples.",
    )
