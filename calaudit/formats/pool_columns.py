"""Columns as users give them (lists, arrays, series) made into numbers or text for a pool."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.runtime.errors import PoolError
from calaudit.runtime.pool import as_written, widened

Column = NDArray[Any] | pl.Series | Sequence[Any]
"""One value per sample: numbers, booleans, text, times; missing values as None, NaN or ``""``."""

_EXACT = 2**53
"""Beyond it a float doesn't hold every whole number."""
_STEP = "Give one number or text per sample; None, NaN or '' where it is missing."
_STEP_ID = "Give them as text: a float would round them, and different ids would become one."

_TIMES = [np.dtype(f"M8[{unit}]") for unit in ("D", "ns", "ms", "us")]
"""Times that polars takes as they are."""

_INTEGERS = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Joined:
    """A whole column, as it is stored."""

    values: NDArray[Any] | pl.Series
    """(n,) numbers, or a String series with empty text where a value is missing."""
    missing: NDArray[np.bool_] | None = None
    """(n,), True where an integer or boolean is missing; None where none is."""


def as_series(name: str, values: Column, *, where: str) -> pl.Series:
    """One piece of a column as polars numbers, booleans, text, or all-null.

    Masked elements, None, NaN and the missing values of pandas are null.

    Raises
    ------
    PoolError
        The values aren't one plain number or text each.
    """
    given = values if isinstance(values, pl.Series) else _as_array(values)
    if isinstance(given, np.ndarray) and given.ndim != 1:
        raise _not_a_column(f"has shape {given.shape}", name, where)
    try:
        if isinstance(given, np.ndarray) and given.dtype.kind in "biufM":
            return _plain(_of_array(given)).alias(name)
        return _plain(given if isinstance(given, pl.Series) else _of_scalars(given)).alias(name)
    except _RoundedError as error:
        raise _not_a_column(str(error), name, where, _STEP_ID) from None
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise _not_a_column(f"holds mixed or unsupported values ({error})", name, where) from None


def join(name: str, pieces: Sequence[pl.Series], *, where: str) -> Joined:
    """All pieces of a column in one type that holds every value of them exactly.

    Raises
    ------
    PoolError
        Some pieces are numbers and others text or booleans, or no type holds all of the numbers.
    """
    known = [piece for piece in pieces if piece.dtype != pl.Null]
    if not known:
        return Joined(np.full(sum(map(len, pieces)), np.nan, np.float32))
    kinds = sorted({_kind(piece) for piece in known})
    if len(kinds) > 1:
        raise _not_a_column(f"is {kinds[1]} in some samples and {kinds[0]} in others", name, where)
    try:
        dtype = _common(known)
    except _RoundedError as error:
        raise _not_a_column(str(error), name, where, _STEP_ID) from None
    series = pl.concat(
        (widened(piece) if dtype == pl.Float64 else piece).cast(dtype) for piece in pieces
    )
    if dtype == pl.String:
        return Joined(series.fill_null(""))
    missing = series.is_null()
    if dtype.is_float() or not missing.any():
        return Joined(series.to_numpy())
    blank = False if dtype == pl.Boolean else 0
    return Joined(series.fill_null(blank).to_numpy(), missing.to_numpy())


def whole(values: Any, key: str, *, where: str) -> NDArray[Any]:
    """An array of which no element is masked: NumPy would store what the mask hides.

    Raises
    ------
    PoolError
        Elements are masked, or it has no shape.
    """
    parts = values if isinstance(values, list | tuple) else (values,)
    if any(np.ma.is_masked(part) for part in parts):
        raise PoolError(
            f"{key} holds masked elements, which have no value",
            where=where,
            next_step="Fill them (array.filled(0)), or leave these samples out.",
        )
    try:
        return np.asarray(values)
    except ValueError as error:
        raise PoolError(
            f"{key} isn't a plain array: {error}",
            where=where,
            next_step="Give every sample a value of one shape.",
        ) from None


def by_kind(
    inputs: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike | Column],
    meta: Mapping[str, Column],
    *,
    where: str,
) -> tuple[dict[str, NDArray[Any]], dict[str, Column]]:
    """Arrays that are streamed, and columns that are held, by their path in the file."""
    arrays = {
        f"inputs/{name}": whole(values, f"inputs/{name}", where=where)
        for name, values in inputs.items()
    }
    columns: dict[str, Column] = {f"meta/{name}": values for name, values in meta.items()}
    for name, values in targets.items():
        key = f"targets/{name}"
        if _is_column(values):
            columns[key] = cast(Column, values)
        else:
            arrays[key] = whole(values, key, where=where)
    return arrays, columns


def _is_column(values: Any) -> bool:
    """Whether a target holds one value per sample; lists keep what an array would round."""
    if isinstance(values, list | tuple):
        return all(np.ndim(value) == 0 for value in values)
    return np.ndim(values) == 1


class _RoundedError(ValueError):
    """No 64-bit type holds all the numbers."""


def _as_array(values: Column) -> NDArray[Any] | list[Any]:
    if isinstance(values, np.ndarray):
        return values
    # A series of pandas keeps its element type so; where it isn't one of NumPy's, its values do.
    plain = isinstance(getattr(values, "dtype", None), np.dtype)
    return np.asarray(values) if plain else list(values)


def _of_array(array: NDArray[Any]) -> pl.Series:
    masked = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    values = np.asarray(array)
    if values.dtype == np.float16:
        values = as_written(values).astype(np.float32)
    elif values.dtype.kind == "f" and values.dtype.itemsize > np.dtype(np.float64).itemsize:
        values = values.astype(np.float64)
    if values.dtype.kind == "M":
        series = pl.Series(values if values.dtype in _TIMES else values.astype(_TIMES[-1]))
    else:
        series = pl.Series(np.ascontiguousarray(values, values.dtype.newbyteorder("=")))
    if series.dtype.is_float():
        series = series.fill_nan(None)
    return series if masked is None else series.set(pl.Series(masked), None)


def _of_scalars(values: Iterable[Any]) -> pl.Series:
    if isinstance(values, np.ma.MaskedArray):
        pairs = zip(values.data.tolist(), np.ma.getmaskarray(values), strict=True)
        values = [None if masked else value for value, masked in pairs]
    elif isinstance(values, np.ndarray) and values.dtype.kind in "USTO":
        values = values.tolist()  # at once, rather than one NumPy scalar after the other
    raw = [_unwrapped(value) for value in values]
    present = [value for value in raw if value is not None]
    kind = type(present[0]) if present else None
    if kind in (np.float16, np.float32) and all(type(value) is kind for value in present):
        filled = np.array([0 if value is None else value for value in raw], kind)
        missing = pl.Series([value is None for value in raw], dtype=pl.Boolean)
        return _of_array(filled).set(missing, None)
    scalars = [_python(value) for value in raw]
    present = [value for value in scalars if value is not None]
    if not present:
        return pl.Series([None] * len(scalars), dtype=pl.Null)
    if all(type(value) is int for value in present):
        return pl.Series(scalars, dtype=_integers(min(present), max(present)))
    if all(type(value) in (int, float) for value in present):
        _check_exact(value for value in present if type(value) is int)
        return pl.Series(scalars, dtype=pl.Float64, strict=False)
    return pl.Series(scalars, strict=True)


def _unwrapped(value: Any) -> Any:
    """A scalar of Python or NumPy; None for what is missing."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if value is None or isinstance(value, str | bool | int):
        return value
    if not isinstance(value, np.generic) and hasattr(value, "__array__") and np.ndim(value) == 0:
        value = None if np.ma.is_masked(value) else np.asarray(value)[()]
    # The missing values of pandas equal nothing, and refuse to say so.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    return None if isinstance(value, float | np.floating) and np.isnan(value) else value


def _python(value: Any) -> Any:
    if isinstance(value, np.float16 | np.float32):
        return as_written(np.array([value]))[0].item()
    return value.item() if isinstance(value, np.generic) else value


def _integers(low: int, high: int) -> pl.DataType:
    if low >= -(2**63) and high < 2**63:
        return pl.Int64()
    if low >= 0 and high < 2**64:
        return pl.UInt64()
    beyond = low if low < -(2**63) else high
    raise _RoundedError(f"holds {beyond}, for which 64 bits don't suffice beside its other values")


def _check_exact(integers: Iterable[int]) -> None:
    beyond = next((value for value in integers if abs(value) > _EXACT), None)
    if beyond is not None:
        raise _RoundedError(f"holds the whole number {beyond} beside fractions")


def _plain(series: pl.Series) -> pl.Series:
    dtype = series.dtype
    if dtype == pl.String:
        if series.str.contains("\0", literal=True).any():
            raise ValueError("text with a NUL character, at which HDF5 would end it")
        return series
    if dtype in (pl.Boolean, pl.Null, *_INTEGERS):
        return series
    if dtype.is_integer():
        return _of_scalars(series.to_list())
    if dtype.is_float():
        return series.fill_nan(None)
    if isinstance(dtype, pl.Decimal):
        return _of_scalars(map(_number, series.to_list()))
    if dtype.is_temporal() or dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    raise TypeError(f"type {dtype}")


def _number(value: Decimal | None) -> int | float | None:
    if value is None or not value.is_finite():
        return None if value is None else float(value)
    return int(value) if value == value.to_integral_value() else float(value)


def _kind(piece: pl.Series) -> str:
    if piece.dtype == pl.String:
        return "text"
    return "true or false" if piece.dtype == pl.Boolean else "numbers"


def _common(pieces: Sequence[pl.Series]) -> pl.DataType:
    """The type that holds all values of some pieces of one kind."""
    types = {piece.dtype for piece in pieces}
    if len(types) == 1:
        return next(iter(types))
    integers = [piece for piece in pieces if piece.dtype.is_integer()]
    ends = [end for piece in integers for end in (piece.min(), piece.max()) if end is not None]
    whole_ends = [int(str(end)) for end in ends]
    if len(integers) < len(pieces):
        _check_exact(whole_ends)
        return pl.Float64()
    return _integers(min(whole_ends), max(whole_ends)) if whole_ends else pl.Int64()


def _not_a_column(what: str, name: str, where: str, step: str = _STEP) -> PoolError:
    return PoolError(f"column {name!r} {what}", where=where, next_step=step)
