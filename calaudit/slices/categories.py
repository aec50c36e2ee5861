"""Columns as integer codes into their sorted distinct values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.errors import SliceError

MAX_CATEGORIES = 1_000
"""More distinct values than this make no slices a person could read."""
MAX_NUMBERS = 50
"""The same for a column of fractional numbers, which is seldom a category."""


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """A column's distinct values and each row's place among them."""

    values: tuple[Any, ...]
    """Distinct values, ascending; text by code point."""
    codes: NDArray[np.int32]
    """(n_rows,) index into `values`; -1 = missing."""

    def counts(self) -> NDArray[np.int64]:
        """Rows per value (len(values),)."""
        return np.bincount(self.codes + 1, minlength=len(self.values) + 1)[1:].astype(np.int64)


def code_categories(column: pl.Series, *, where: str, limit: int | None = None) -> Categories:
    """Code a text, integer, boolean or number column.

    Parameters
    ----------
    column : polars.Series
        (n_rows,) with null for missing values.
    where : str
        What messages call the place.
    limit : int, optional
        Most distinct values allowed; default `MAX_CATEGORIES` (`MAX_NUMBERS` for fractions).

    Raises
    ------
    SliceError
        The column has more distinct values than `limit`, or is of a type without categories.
    """
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise SliceError(
            f'column "{column.name}" holds {column.dtype}, not one value per sample',
            where=where,
            next_step="Choose a column of text, integers, booleans or numbers.",
        )
    fractions = column.dtype.is_float()
    distinct = _as_plain(column).unique().drop_nulls().sort()
    _check_limit(
        column.name, len(distinct), fractions, limit or (MAX_NUMBERS if fractions else None), where
    )
    return Categories(_values(distinct), _codes(column, distinct))


def _check_limit(name: str, n: int, fractions: bool, limit: int | None, where: str) -> None:
    most = MAX_CATEGORIES if limit is None else limit
    if n <= most:
        return
    kind = "different numbers" if fractions else "categories"
    step = (
        f"Bin it: edges = [...] or quantiles = 4 (on the command line --by {name}:quantiles=4)."
        if fractions
        else "Group it: tail = [0.5, 0.8] by frequency, edges or quantiles for numbers, or where."
    )
    raise SliceError(
        f'column "{name}" has {n:,} {kind}, at most {most:,} make slices',
        where=where,
        next_step=step,
    )


def _as_plain(column: pl.Series) -> pl.Series:
    """Text stored by code becomes text, so that its order doesn't depend on the storage."""
    return column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column


def _values(distinct: pl.Series) -> tuple[Any, ...]:
    if distinct.dtype == pl.Float32:
        # 0.1 as the user wrote it, not the 0.10000000149 that float32 keeps.
        return tuple(float(str(value)) for value in distinct.to_numpy())
    return tuple(distinct.to_list())


def _codes(column: pl.Series, distinct: pl.Series) -> NDArray[np.int32]:
    if len(distinct) == 0:
        return np.full(len(column), -1, np.int32)
    if distinct.dtype == pl.String:
        coded = column.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32)
        return coded.fill_null(-1).to_numpy()
    if distinct.dtype in (pl.Boolean, pl.Date, pl.Datetime, pl.Time, pl.Duration):
        return _codes(column.to_physical().cast(pl.Int64), distinct.to_physical().cast(pl.Int64))
    present = column.fill_null(distinct[0]).to_numpy()
    codes = np.searchsorted(distinct.to_numpy(), present).astype(np.int32)
    if column.null_count():
        codes[column.is_null().to_numpy()] = -1
    return codes
