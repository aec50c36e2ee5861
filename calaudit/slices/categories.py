"""Columns as integer codes, one per distinct value or group of them, and the labels of slices.

Groups are by how common values are. Labels of numbers, bins and categories stand on one line each,
and a person can read them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.errors import SliceError
from calaudit.runtime.pool import widened

MAX_CATEGORIES = 1_000
"""More distinct values than this make no slices a person could read."""
MAX_NUMBERS = 50
"""The same for a column of fractional numbers, which is seldom a category."""


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number: ``5``, ``-0.25``, ``1e-07``, ``∞``."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(float(value))


def value_text(value: Any) -> str:
    """A category's text: booleans in lower case, control characters escaped."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def category_label(title: str, text: str) -> str:
    """``speaker = theo``."""
    return f"{title} = {text}"


def missing_label(title: str) -> str:
    """``snr_db missing``."""
    return f"{title} missing"


def bin_labels(title: str, edges: Sequence[float]) -> list[str]:
    """Labels of the bins between ascending `edges`, open at both ends.

    Examples
    --------
    >>> bin_labels("snr_db", [0, 5])
    ['snr_db < 0', '0 ≤ snr_db < 5', 'snr_db ≥ 5']
    >>> bin_labels("snr_db", [0, float("inf")])
    ['snr_db < 0', '0 ≤ snr_db < ∞', 'snr_db = ∞']
    """
    texts = [number_text(edge) for edge in edges]
    inner = [f"{a} ≤ {title} < {b}" for a, b in pairwise(texts)]
    last = f"{title} = ∞" if edges[-1] == math.inf else f"{title} ≥ {texts[-1]}"
    return [f"{title} < {texts[0]}", *inner, last]


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """A column's distinct values and each row's place among them."""

    values: pl.Series
    """Distinct values, ascending; text by code point."""
    codes: NDArray[np.int32]
    """(n_rows,) index into `values`; -1 = missing."""

    def counts(self) -> NDArray[np.int64]:
        """Rows per value (len(values),)."""
        return np.bincount(self.codes + 1, minlength=len(self.values) + 1)[1:].astype(np.int64)

    def texts(self) -> list[str]:
        """The values as a person reads them."""
        return [value_text(value) for value in self.values]


def code_categories(
    column: pl.Series, *, where: str, at_most: int | None = MAX_CATEGORIES
) -> Categories:
    """Code a text, integer, boolean or number column.

    Parameters
    ----------
    column : polars.Series
        (n_rows,) with null for missing values.
    where : str
        What messages call the place.
    at_most : int or None
        Most distinct values allowed (of fractional numbers, 50 at most); None = any number.

    Raises
    ------
    SliceError
        The column has more distinct values, or is of a type without categories.
    """
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise SliceError(
            f'column "{column.name}" holds {column.dtype}, not one value per sample',
            where=where,
            next_step="Choose a column of text, integers, booleans or numbers.",
        )
    column = widened(column)
    # Text stored by code becomes text, so that its order doesn't depend on the storage.
    plain = column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
    values = plain.unique().drop_nulls().sort()
    if at_most is not None:
        _check_number(values, at_most, where)
    return Categories(values, _codes(column, values))


def _check_number(values: pl.Series, at_most: int, where: str) -> None:
    fractions = values.dtype.is_float()
    most = min(at_most, MAX_NUMBERS) if fractions else at_most
    if len(values) <= most:
        return
    kind = "different numbers" if fractions else "categories"
    step = "Bin it with edges or quantiles" if values.dtype.is_numeric() else "Group it"
    raise SliceError(
        f'column "{values.name}" has {len(values):,} {kind}, at most {most:,} make slices',
        where=where,
        next_step=f"{step}, take its long tail (tail = [0.5, 0.8]), or select with a predicate.",
    )


def _codes(column: pl.Series, values: pl.Series) -> NDArray[np.int32]:
    if len(values) == 0:
        return np.full(len(column), -1, np.int32)
    if values.dtype == pl.String:
        coded = column.cast(pl.Enum(values)).to_physical().cast(pl.Int32)
        return coded.fill_null(-1).to_numpy()
    if not values.dtype.is_numeric():
        column = column.to_physical().cast(pl.Int64)
        values = values.to_physical().cast(pl.Int64)
    present = column.fill_null(values[0]).to_numpy()
    codes = np.searchsorted(values.to_numpy(), present).astype(np.int32)
    if column.null_count():
        codes[column.is_null().to_numpy()] = -1
    return codes


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
