"""What a pool holds, in numbers a person can check before drawing from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from calaudit.runtime.pool import Pool, TensorSpec
from calaudit.steps.input_ranges import InputRanges, describe_inputs

MOST_COUNTED = 20
"""Distinct values up to which each is counted."""


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """One stored array."""

    name: str
    dtype: str
    """NumPy's name of the element type; ``"text"`` for text."""
    shape: tuple[int, ...]
    """Of one sample."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column with a number or text per sample (or per item)."""

    name: str
    dtype: str
    """NumPy's name of the stored element type; ``"text"`` for text."""
    missing: int
    """Samples whose value is missing: NaN or empty text."""
    infinite: int
    low: float | None
    """Least finite value; None for text and when there is none."""
    high: float | None
    distinct: int | None
    """Number of distinct values, missing left out; None for floats with many."""
    counts: Mapping[str, int]
    """Value → samples, most frequent first; the `MOST_COUNTED` most frequent."""


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """What ``calaudit pool show`` prints."""

    pool: str
    n: int
    n_items: int | None
    """Items of the catalogue; None without one."""
    fingerprint: str
    inputs: tuple[ArraySummary, ...]
    input_ranges: tuple[InputRanges, ...]
    targets: tuple[ArraySummary, ...]
    columns: tuple[ColumnSummary, ...]
    """Metadata columns, then one-value-per-sample targets."""
    items: tuple[ColumnSummary, ...]
    vectors: tuple[ArraySummary, ...]
    """Item columns that hold a vector per item."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target → names of its classes, in the order of the model's outputs."""


def describe_pool(pool: Pool) -> PoolSummary:
    """Read all columns and the fingerprint of a pool.

    Raises
    ------
    FileFormatError
        An array is damaged.
    PoolError
        Ids occur twice, or text isn't UTF-8.
    """
    # One column after the other: memory holds one of them.
    specs = {**pool.targets, **pool.meta}
    columns = tuple(
        _column(pool.columns([name])[name], specs[name]) for name in pool.column_names()
    )
    catalogue = {
        name: pool.item_column(name) for name, spec in pool.items.items() if not spec.shape
    }
    vectors = [spec for spec in pool.items.values() if spec.shape]
    return PoolSummary(
        pool=pool.label,
        n=len(pool),
        n_items=_n_items(pool, catalogue),
        fingerprint=pool.fingerprint(),
        inputs=tuple(map(_array, pool.inputs.values())),
        input_ranges=describe_inputs(pool),
        targets=tuple(map(_array, pool.targets.values())),
        columns=columns,
        items=tuple(_column(each, pool.items[name]) for name, each in catalogue.items()),
        vectors=tuple(map(_array, vectors)),
        classes={name: names for name in pool.targets if (names := pool.class_names(name))},
    )


def _n_items(pool: Pool, catalogue: Mapping[str, pl.Series]) -> int | None:
    if catalogue:
        return len(next(iter(catalogue.values())))
    return len(pool.item_vectors(next(iter(pool.items)))) if pool.items else None


def _array(spec: TensorSpec) -> ArraySummary:
    return ArraySummary(spec.name, _stored(spec), spec.shape)


def _stored(spec: TensorSpec) -> str:
    return "text" if spec.dtype.kind in "UT" else spec.dtype.name


def _column(series: pl.Series, spec: TensorSpec) -> ColumnSummary:
    present = series.drop_nulls()
    infinite = int(present.is_infinite().sum()) if series.dtype.is_float() else 0
    low = high = None
    if series.dtype.is_numeric():
        finite = present.filter(present.is_finite()) if infinite else present
        if len(finite):
            low, high = np.array([finite.min(), finite.max()]).tolist()
    counted = not series.dtype.is_float() or _few(present)
    counts = _counts(present) if counted else {}
    return ColumnSummary(
        name=series.name,
        dtype=_stored(spec),
        missing=series.null_count(),
        infinite=infinite,
        low=low,
        high=high,
        distinct=present.n_unique() if counted else None,
        counts=counts,
    )


def _few(floats: pl.Series) -> bool:
    # A look at the start spares measured values, all distinct, a full count.
    return floats.head(1000).n_unique() <= MOST_COUNTED and floats.n_unique() <= MOST_COUNTED


def _counts(present: pl.Series) -> dict[str, int]:
    table = present.rename("value").value_counts(sort=True).head(MOST_COUNTED)
    ordered = table.sort(["count", "value"], descending=[True, False])
    return {str(value): int(n) for value, n in ordered.iter_rows()}
