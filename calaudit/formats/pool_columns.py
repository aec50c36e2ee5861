"""Columns as users give them (lists, arrays, series) made into numbers or text for a pool."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.columns import as_written
from calaudit.errors import PoolError

Column = NDArray[Any] | pl.Series | Sequence[Any]
"""One value per sample: numbers, booleans, text, times; missing values as None, NaN or ``""``."""


def as_series(name: str, values: Column, *, where: str) -> pl.Series:
    """One piece of a column as polars numbers, booleans, text, or all-null.

    Raises
    ------
    PoolError
        The values aren't one plain number or text each.
    """
    array = values if isinstance(values, np.ndarray) else None
    if array is not None and array.ndim != 1:
        raise _not_a_column(f"has shape {array.shape}", name, where)
    try:
        if array is not None and array.dtype.kind in "biuf":
            return _plain(pl.Series(name, _native(array)))
        if array is not None:
            values = _texts_of(array)
        return _plain(values if isinstance(values, pl.Series) else _listed(values)).alias(name)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise _not_a_column(f"holds mixed or unsupported values ({error})", name, where) from None


def join(name: str, pieces: Sequence[pl.Series], *, where: str) -> NDArray[Any] | pl.Series:
    """All pieces of a column as one numeric array or one String series.

    Integers become floats when values are missing, since HDF5 integers have no missing value.

    Raises
    ------
    PoolError
        Some pieces are numbers and some are text.
    """
    known = [piece for piece in pieces if piece.dtype != pl.Null]
    texts = [piece.dtype == pl.String for piece in known]
    if any(texts) and not all(texts):
        raise _not_a_column("is text in some samples and numbers in others", name, where)
    if not known:
        return np.full(sum(map(len, pieces)), np.nan, np.float32)
    whole = pl.concat([pl.DataFrame([piece]) for piece in pieces], how="vertical_relaxed")
    series = whole.to_series()
    if series.dtype == pl.String:
        return series.fill_null("")
    if series.null_count() and not series.dtype.is_float():
        series = series.cast(pl.Float64)
    return series.to_numpy()


def _native(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.float16:
        array = as_written(array).astype(np.float32)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _texts_of(array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind == "S":
        return [text.decode("utf-8") for text in array.tolist()]
    found: list[Any] = array.tolist()
    return [text.decode("utf-8") if isinstance(text, bytes) else text for text in found]


def _listed(values: Column) -> pl.Series:
    scalars = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(value is None or isinstance(value, int | float) for value in scalars) and any(
        isinstance(value, float) for value in scalars
    ):
        return pl.Series(scalars, dtype=pl.Float64, strict=False)
    return pl.Series(scalars, strict=True)


def _plain(series: pl.Series) -> pl.Series:
    dtype = series.dtype
    if dtype in (pl.String, pl.Boolean, pl.Null) or dtype.is_integer() or dtype.is_float():
        return series
    if dtype.is_decimal():
        return series.cast(pl.Float64)
    if dtype.is_temporal() or dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    raise TypeError(f"type {dtype}")


def _not_a_column(what: str, name: str, where: str) -> PoolError:
    return PoolError(
        f"column {name!r} {what}",
        where=where,
        next_step="Give one number or text per sample; None, NaN or '' where it is missing.",
    )
