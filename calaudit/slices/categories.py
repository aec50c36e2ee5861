"""Columns as integer codes into their sorted distinct values."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.columns import widened
from calaudit.errors import SliceError
from calaudit.slices.labels import value_text

MAX_CATEGORIES = 1_000
"""More distinct values than this make no slices a person could read."""
MAX_NUMBERS = 50
"""The same for a column of fractional numbers, which is seldom a category."""


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
