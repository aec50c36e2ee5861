"""The pool: samples one may draw from, with inputs, targets, metadata columns and stable ids."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Row numbers into a pool."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and per-sample shape of one stored array."""

    name: str
    dtype: np.dtype[Any]
    """NumPy element type; kind ``U`` or ``T`` for text."""
    shape: tuple[int, ...]
    """Shape of one sample, without the leading N."""


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
        where one is beyond) or float64; see `calaudit.runtime.columns`. Raises `PoolError` for an
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

    def class_names(self, target: str) -> tuple[str, ...]:
        """Names of a target's classes, in the order of the model's outputs; none if not known."""
        ...

    def fingerprint(self) -> str:
        """Content hash over all arrays: equal content, equal fingerprint, wherever it is stored."""
        ...


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Consecutive pieces of `rows`, at most `size` long."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
