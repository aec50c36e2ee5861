"""What a pool holds, in numbers a person can check before drawing from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.pool import Pool, TensorSpec, batches, read_as_numbers
from calaudit.runtime.progress import counter
from calaudit.slices.objects import SIZES, size_names
from calaudit.steps.input_ranges import BATCH_BYTES, InputRanges, describe_inputs, row_bytes

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
    stored: str | None = None
    """Element type in the file, where it is read as another."""


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
class ObjectsSummary:
    """The objects of one target."""

    name: str
    n: int
    n_crowds: int
    n_empty: int
    """Samples without objects."""
    classes: Mapping[str, int]
    """Class → objects, in the order of the model's outputs."""
    sizes: Mapping[str, int]
    """COCO's sizes by area in annotated pixels²: small below 32², large from 96² on."""
    columns: tuple[ColumnSummary, ...]
    """What else is known of each object."""


@dataclass(frozen=True, slots=True)
class MaskSummary:
    """The masks of one target."""

    name: str
    classes: Mapping[str, int]
    """Class, by its name or number → pixels, in the order of the model's outputs."""
    ignored: int | None
    """Pixels of which the masks say nothing; None where no number stands for them."""


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
    objects: tuple[ObjectsSummary, ...] = ()
    masks: tuple[MaskSummary, ...] = ()
    """Of targets whose classes have names."""


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
        objects=tuple(_objects(pool, name) for name in pool.objects),
        masks=tuple(
            _masks(pool, name)
            for name, spec in pool.targets.items()
            if len(spec.shape) == 2 and pool.class_names(name)
        ),
    )


def _objects(pool: Pool, name: str) -> ObjectsSummary:
    found = pool.read_objects(name, np.arange(len(pool), dtype=np.int64))
    specs = pool.objects[name].columns
    counts = np.bincount(found.label, minlength=len(found.classes)).tolist()
    sizes = size_names(found.area)
    return ObjectsSummary(
        name=name,
        n=len(found.boxes),
        n_crowds=int(found.crowd.sum()),
        n_empty=int((found.counts == 0).sum()),
        classes=dict(zip(found.classes, counts, strict=True)),
        sizes={name: int((sizes == name).sum()) for name, _ in SIZES},
        columns=tuple(
            _column(_series(values).alias(column), specs[column])
            for column, values in found.columns.items()
        ),
    )


def _series(values: NDArray[Any]) -> pl.Series:
    if values.dtype.kind == "U":
        return pl.Series(values.tolist(), dtype=pl.String).replace("", None)
    return read_as_numbers(values)


def _masks(pool: Pool, name: str) -> MaskSummary:
    names, ignored = pool.class_names(name), pool.ignored_class(name)
    counts: NDArray[np.int64] = np.zeros(len(names) + 1, np.int64)
    rows = np.arange(len(pool), dtype=np.int64)
    size = max(1, row_bytes(pool.targets[name]))
    with counter(len(rows), what=f"pixels of {name}") as done:
        for piece in batches(rows, max(1, BATCH_BYTES // size)):
            values = pool.read_target(name, piece)
            known = np.clip(values[values != ignored].astype(np.int64), 0, len(names))
            counts += np.bincount(known, minlength=len(counts))
            counts[-1] += int((values == ignored).sum())
            done.advance(len(piece))
    return MaskSummary(
        name,
        dict(zip(names, counts[:-1].tolist(), strict=True)),
        None if ignored is None else int(counts[-1]),
    )


def _n_items(pool: Pool, catalogue: Mapping[str, pl.Series]) -> int | None:
    if catalogue:
        return len(next(iter(catalogue.values())))
    return len(pool.item_vectors(next(iter(pool.items)))) if pool.items else None


def _array(spec: TensorSpec) -> ArraySummary:
    stored = None if spec.stored is None else spec.stored.name
    return ArraySummary(spec.name, _stored(spec), spec.shape, stored)


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
