"""Slices of objects: by their class, size and other columns, and by what their images are in.

A column of objects is written ``object.‹name›``; a dimension that reads one is of objects, and so
is a cross with such a dimension. Every other dimension is of samples, and holds for an object by
its image.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.objects import Objects
from calaudit.runtime.pool import Pool, Rows, read_as_numbers
from calaudit.slices.dimension import OBJECT, Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.predicate import quoted_dots
from calaudit.slices.sliceset import SliceSet

PREFIX: Final = f"{OBJECT}."
"""Before the name of an object's column."""
SIZES: Final = (("small", 32.0**2), ("medium", 96.0**2), ("large", np.inf))
"""COCO's sizes, and the area in pixels² of the image as annotated that each ends below."""
COLUMNS: Final = ("class", "size", "area", "per_image")
"""Columns that every object has, beside those that its annotations carry."""

_IN_SQL: Final = re.compile(r"'(?:[^']|'')*'|\"(object\.(?:[^\"]|\"\")*)\"")


def size_names(area: NDArray[np.float64]) -> NDArray[np.str_]:
    """COCO's size of each area in pixels², (m,)."""
    ends = np.array([end for _, end in SIZES[:-1]])
    names = np.array([name for name, _ in SIZES])
    return names[np.searchsorted(ends, area, side="right")]


def is_unit(objects: Objects) -> NDArray[np.bool_]:
    """(m,) objects that are judged one by one: those that aren't crowds."""
    return ~objects.crowd


def split_dimensions(
    dimensions: Sequence[Dimension], known: Sequence[str]
) -> tuple[tuple[Dimension, ...], tuple[Dimension, ...]]:
    """Dimensions of samples, and those of objects.

    Parameters
    ----------
    dimensions : sequence of Dimension
    known : sequence of str
        Columns of the samples, which are theirs even where they look like an object's.
    """

    def is_own(column: str) -> bool:
        return column.startswith(PREFIX) and column not in known

    own = {
        each.title
        for each in dimensions
        if any(map(is_own, each.columns)) or any(map(is_own, _columns_in(each.where or "")))
    }
    own |= {each.title for each in dimensions if own & set(each.cross or ())}
    return (
        tuple(each for each in dimensions if each.title not in own),
        tuple(each for each in dimensions if each.title in own),
    )


def _columns_in(predicate: str) -> list[str]:
    found = _IN_SQL.findall(quoted_dots(predicate))
    return [name.replace('""', '"') for name in found if name]


def slice_pool(dimensions: Sequence[Dimension], pool: Pool, *, where: str) -> "ObjectSlices":
    """Slice a pool's samples, and its objects when they are asked for.

    Raises
    ------
    SliceError
        As `calaudit.slices.evaluate.evaluate_slices`.
    """
    of_samples, _ = split_dimensions(dimensions, pool.column_names())
    return ObjectSlices(
        pool, tuple(dimensions), evaluate_slices(of_samples, pool, where=where), where
    )


@dataclass(frozen=True, eq=False, slots=True)
class ObjectColumns:
    """Columns over the objects of a pool that are judged one by one."""

    pool: Pool
    objects: Objects
    """Of the whole pool."""
    units: NDArray[np.int64]
    """(u,) places among `objects` of those that are judged."""

    @property
    def image(self) -> Rows:
        """(u,) pool row of each."""
        return self.objects.image[self.units]

    def __len__(self) -> int:
        return len(self.units)

    def column_names(self) -> list[str]:
        """Those of objects, then those of their images."""
        own = dict.fromkeys((*COLUMNS, *self.objects.columns))
        return [*(f"{PREFIX}{name}" for name in own), *self.pool.column_names()]

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns as a frame; see `calaudit.runtime.pool.Pool.columns`."""
        return pl.DataFrame([self._series(name).alias(name) for name in names])

    def _series(self, name: str) -> pl.Series:
        if not name.startswith(PREFIX) or name in self.pool.column_names():
            return self.pool.columns([name]).to_series().gather(self.image)
        own = name.removeprefix(PREFIX)
        objects = self.objects
        if own == "class":
            return pl.Series(list(objects.classes), dtype=pl.String).gather(
                objects.label[self.units]
            )
        if own == "size":
            return pl.Series(size_names(objects.area[self.units]).tolist(), dtype=pl.String)
        if own == "area":
            return read_as_numbers(objects.area[self.units])
        if own == "per_image":
            return pl.Series(np.bincount(self.image, minlength=len(self.pool))[self.image])
        return _as_series(np.asarray(objects.columns[own])[self.units])


def _as_series(values: NDArray[Any]) -> pl.Series:
    """Numbers as they were written; texts, of which an empty one is missing."""
    if values.dtype.kind in "biuf":
        return read_as_numbers(values)
    return pl.Series([str(value) or None for value in values], dtype=pl.String)


@dataclass(frozen=True, eq=False, slots=True)
class ObjectSlices:
    """Slices of a pool's objects: bins and tails are of all of them, whichever are judged."""

    pool: Pool
    dimensions: tuple[Dimension, ...]
    """Of samples and of objects, as an audit declares them."""
    samples: SliceSet
    """Of the whole pool, by those of samples."""
    where: str
    """What messages call the place that the dimensions come from."""
    _whole: dict[str, tuple[Rows, SliceSet]] = field(default_factory=dict, init=False, repr=False)

    @property
    def of_samples(self) -> tuple[Dimension, ...]:
        """Dimensions of samples."""
        return split_dimensions(self.dimensions, self.pool.column_names())[0]

    @property
    def of_objects(self) -> tuple[Dimension, ...]:
        """Dimensions of objects."""
        return split_dimensions(self.dimensions, self.pool.column_names())[1]

    def over(self, target: str, rows: Rows) -> SliceSet:
        """Slices of the objects of some images, crowds left out.

        Parameters
        ----------
        target : str
            The pool's target that holds them.
        rows : int64 (n,)
            Pool rows, ascending.

        Raises
        ------
        SliceError
            An unknown column, or one that can't be sliced as declared.
        """
        if target not in self._whole:
            self._whole[target] = self._evaluated(target)
        image, slices = self._whole[target]
        kept = np.flatnonzero(np.isin(image, rows)).astype(np.int64, copy=False)
        return slices if len(kept) == len(image) else slices.take(kept)

    def _evaluated(self, target: str) -> tuple[Rows, SliceSet]:
        objects = self.pool.read_objects(target, np.arange(len(self.pool), dtype=np.int64))
        units = np.flatnonzero(is_unit(objects)).astype(np.int64, copy=False)
        source = ObjectColumns(self.pool, objects, units)
        image = source.image
        known = {
            each.name: replace(each, codes=each.codes[image]) for each in self.samples.dimensions
        }
        return image, evaluate_slices(self.dimensions, source, where=self.where, known=known)
