"""The pool: samples one may draw from, with inputs, targets, metadata columns and stable ids.

A column's stored type is a matter of space. What is asked of it is asked of the numbers as people
read them: a label stored as uint8 less 5 may be negative, and a 0.7 stored as float32 is 0.7.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.objects import Objects

_SAFE_DIGITS = {np.dtype(np.float16): 3, np.dtype(np.float32): 6}
"""Decimal digits that survive being stored: so many were surely written."""
_EXACT = 2.0**53
"""Above it whole numbers of float64 lie apart; what is stored there was hardly written in full."""
_LARGEST = int(np.iinfo(np.int64).max)

Rows = NDArray[np.int64]
"""Row numbers into a pool."""


def read_as_numbers(values: NDArray[np.generic]) -> pl.Series:
    """A stored column (n,) as a series that means what was written; NaN is missing.

    Integers become int64, and stay uint64 where one is beyond; booleans stay. float16 and float32
    become float64, each as :func:`as_written`.
    """
    kind = values.dtype.kind
    if kind == "f":
        return pl.Series(as_written(values)).fill_nan(None)
    if kind == "i" or (kind == "u" and values.dtype.itemsize < 8):
        return pl.Series(values.astype(np.int64))
    return widened(pl.Series(values))


def widened(column: pl.Series) -> pl.Series:
    """A column of a frame in the types of :func:`read_as_numbers`; text and others as they are."""
    dtype = column.dtype
    if dtype == pl.UInt64:
        return column if (column > _LARGEST).any() else column.cast(pl.Int64)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_decimal():
        return column.cast(pl.Float64)
    if not dtype.is_float():
        return column
    if dtype == pl.Float64:
        return column.fill_nan(None)
    missing = column.is_null()
    whole = pl.Series(column.name, as_written(column.fill_null(0).to_numpy())).fill_nan(None)
    return whole.set(missing, None) if missing.any() else whole


def as_written(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Stored floats as the decimal numbers that they were written as.

    That is the shortest decimal number that is stored as this float: 0.1, where float32 keeps
    0.10000000149. A whole number of more digits than the type is sure to keep (6 of float32, 3
    of float16) is taken as it is, since all its digits may have been meant. The order of values
    never changes, nor does the float that a number is stored as.

    Parameters
    ----------
    values : float array (n,)

    Returns
    -------
    float64 array (n,)
    """
    wide = values.astype(np.float64)
    digits = _SAFE_DIGITS.get(values.dtype.newbyteorder("="))
    if digits is None:
        return wide
    if digits == _SAFE_DIGITS[np.dtype(np.float16)]:
        different, places = np.unique(values, return_inverse=True)
        shortest = np.array([float(str(value)) for value in different], np.float64)[places]
    else:
        texts = pl.Series(values.astype(np.float32, copy=False)).cast(pl.String)
        shortest = texts.cast(pl.Float64).to_numpy()
    whole = (np.abs(wide) < _EXACT) & (wide == np.trunc(wide))
    differs = np.flatnonzero(whole & (shortest != wide))
    if len(differs):
        shown = shortest[differs]
        unit = 10.0 ** (np.floor(np.log10(np.abs(shown))) - (digits - 1))
        exact = np.rint(shown / unit) * unit != shown
        shortest = shortest.copy()
        shortest[differs[exact]] = wide[differs[exact]]
    return shortest


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and per-sample shape of one stored array."""

    name: str
    dtype: np.dtype[Any]
    """NumPy element type; kind ``U`` or ``T`` for text."""
    shape: tuple[int, ...]
    """Shape of one sample, without the leading N."""
    stored: np.dtype[Any] | None = None
    """Element type in the file, where it is read as another."""


@dataclass(frozen=True, slots=True)
class ObjectsSpec:
    """One target whose samples have any number of objects each."""

    name: str
    n_objects: int
    """Of all samples."""
    columns: Mapping[str, TensorSpec]
    """What is known of each object beside its box and class."""


class Pool(Protocol):
    """N samples, read lazily. Implementations read in storage order, whatever N is."""

    def __len__(self) -> int:
        """Number of samples N."""
        ...

    @property
    def label(self) -> str:
        """What messages call this pool: its path."""
        ...

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The model's inputs, by name."""
        ...

    @property
    def targets(self) -> Mapping[str, TensorSpec]:
        """What a prediction is judged against, by name."""
        ...

    @property
    def objects(self) -> Mapping[str, ObjectsSpec]:
        """Targets that are annotated objects, by name; they aren't among `targets`."""
        ...

    @property
    def meta(self) -> Mapping[str, TensorSpec]:
        """Columns with one number or text per sample."""
        ...

    @property
    def items(self) -> Mapping[str, TensorSpec]:
        """Columns with one number, text or vector per catalogue item (listwise ranking)."""
        ...

    def column_names(self) -> list[str]:
        """Names usable in slices: metadata columns, then one-number-per-sample targets."""
        ...

    def columns(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        """Metadata columns (or 1-D targets) as a frame, all N rows or those asked for.

        Missing values (NaN, empty text) are null; infinities stay. Numbers are int64 (uint64
        where one is beyond) or float64; see `calaudit.runtime.pool`. Raises `PoolError` for an
        unknown name, with the near ones.
        """
        ...

    def item_column(self, name: str) -> pl.Series:
        """One column of the catalogue (items,)."""
        ...

    def item_vectors(self, name: str) -> NDArray[np.float64]:
        """One column of vectors of the catalogue (items, d), finite."""
        ...

    def ids(self, rows: Rows) -> NDArray[np.str_]:
        """Stable sample ids (len(rows),): the stored ones, else the row number as text."""
        ...

    def read_inputs(self, rows: Rows, *, check: bool = True) -> dict[str, NDArray[Any]]:
        """Inputs of `rows` (ascending), each (len(rows), …).

        NaN or infinity raises `PoolError`, unless `check` is off.
        """
        ...

    def read_target(self, name: str, rows: Rows) -> NDArray[Any]:
        """One target of `rows` (ascending), (len(rows), …)."""
        ...

    def read_objects(self, name: str, rows: Rows) -> Objects:
        """The annotated objects of `rows` (ascending)."""
        ...

    def class_names(self, target: str) -> tuple[str, ...]:
        """Names of a target's classes, in the order of the model's outputs; none if not known."""
        ...

    def ignored_class(self, target: str) -> int | None:
        """The number that masks hold where they say nothing; None where each pixel has a class."""
        ...

    def fingerprint(self) -> str:
        """Content hash over all arrays: equal content, equal fingerprint, wherever it is stored."""
        ...


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Consecutive pieces of `rows`, at most `size` long."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
