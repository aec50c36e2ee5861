"""Objects in pools: the groups under /targets that hold them, checked, read and written.

A group of arrays is known as objects by its attribute, ``holds = "objects"``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.hdf5 import is_text, read_texts, write_texts
from calaudit.formats.pool_columns import as_series, join
from calaudit.formats.rows import read_rows
from calaudit.runtime.errors import PoolError, Problem
from calaudit.runtime.objects import Objects, join_objects
from calaudit.runtime.pool import ObjectsSpec, Rows, TensorSpec
from calaudit.runtime.words import counted

OFFSETS, UNIT_AREA = "offsets", "unit_area"
_HOLDS, _OBJECTS = "holds", "objects"
_COLUMNS = "columns/"
_SHAPES = {OFFSETS: (), "boxes": (4,), "label": (), "crowd": (), "area": (), UNIT_AREA: ()}
"""Array → shape of one entry."""
_KINDS = {OFFSETS: "iu", "boxes": "f", "label": "iu", "crowd": "b", "area": "f", UNIT_AREA: "f"}
_OF_SAMPLES = (OFFSETS, UNIT_AREA)
_EXACT = 2**53
"""Beyond it a float doesn't hold every whole number."""

Members = Mapping[str, h5py.Dataset]
"""The arrays of one group, by their path below it."""


def apart(
    file: h5py.File, targets: Mapping[str, h5py.Dataset]
) -> tuple[dict[str, h5py.Dataset], dict[str, dict[str, h5py.Dataset]]]:
    """What lies under /targets: arrays of one entry per sample, and groups of objects by name."""
    above = {str(each) for path in targets for each in PurePosixPath(path).parents} - {"."}
    names = [name for name in sorted(above) if _holds_objects(file[f"targets/{name}"])]
    groups = {
        name: {
            path.removeprefix(f"{name}/"): dataset
            for path, dataset in targets.items()
            if path.startswith(f"{name}/")
        }
        for name in names
    }
    plain = {
        path: dataset
        for path, dataset in targets.items()
        if not any(path.startswith(f"{name}/") for name in names)
    }
    return plain, groups


def _holds_objects(group: h5py.Group) -> bool:
    told = group.attrs.get(_HOLDS)
    return bool((told.decode("utf-8", "replace") if isinstance(told, bytes) else told) == _OBJECTS)


def check_objects(name: str, members: Members, *, where: str) -> Iterator[Problem]:
    """What is wrong with the arrays of a group of objects; none of their values is read."""
    at = f"{where}: /targets/{name}"
    for key in _SHAPES:
        if key not in members:
            yield Problem(f"has no {key}", at, "docs/formats/pool.md says what objects are.")
    m = _length(members.get("boxes"))
    n = _length(members.get(UNIT_AREA))
    for key, array in members.items():
        column = key.startswith(_COLUMNS)
        if not column and key not in _SHAPES:
            yield Problem(f"holds {key!r}", at, f"Store what is known of objects in {_COLUMNS}.")
            continue
        length = n + (key == OFFSETS) if key in _OF_SAMPLES else m
        shape = (length, *_SHAPES.get(key, ()))
        if array.shape != shape:
            yield Problem(f"has shape {array.shape}, not {shape}", f"{at}/{key}", "Store that.")
        elif array.dtype.kind not in _KINDS.get(key, "biuf") and not (column and is_text(array)):
            yield Problem(
                f"has element type {array.dtype}",
                f"{at}/{key}",
                "Boxes and areas are floats, offsets and labels integers, crowd is booleans.",
            )


def _length(array: h5py.Dataset | None) -> int:
    return int(array.shape[0]) if array is not None and array.shape else 0


def spec_of(name: str, members: Members) -> ObjectsSpec:
    """How many objects a checked group holds, and what is known of each."""
    return ObjectsSpec(
        name,
        _length(members["boxes"]),
        {
            (column := key.removeprefix(_COLUMNS)): TensorSpec(
                column, np.dtype("U") if is_text(array) else array.dtype.newbyteorder("="), ()
            )
            for key, array in members.items()
            if key.startswith(_COLUMNS)
        },
    )


def read_objects(
    group: h5py.Group, spec: ObjectsSpec, rows: Rows, classes: tuple[str, ...], *, where: str
) -> Objects:
    """The objects of ascending rows.

    Parameters
    ----------
    group : h5py.Group
    spec : ObjectsSpec
    rows : int64 (k,)
        Ascending.
    classes : tuple of str
    where : str
        File and group, for errors.

    Raises
    ------
    PoolError
        Offsets that don't ascend from 0 to the number of objects; boxes, labels or areas that make
        no sense.
    """
    offsets = group[OFFSETS][()].astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != spec.n_objects or (np.diff(offsets) < 0).any():
        raise PoolError(
            f"doesn't ascend from 0 to {spec.n_objects}, the number of objects",
            where=f"{where}/{OFFSETS}",
            next_step="Store where each sample's objects begin, and the number of objects last.",
        )
    starts, counts = offsets[rows], np.diff(offsets)[rows]
    inner = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at = np.arange(inner[-1]) + np.repeat(starts - inner[:-1], counts)

    def part(key: str, dtype: Any) -> NDArray[Any]:
        return read_rows(group[key], at).astype(dtype, copy=False)

    found = Objects(
        offsets=inner,
        boxes=part("boxes", np.float64),
        label=part("label", np.int64),
        crowd=part("crowd", np.bool_),
        area=part("area", np.float64),
        unit_area=read_rows(group[UNIT_AREA], rows).astype(np.float64, copy=False),
        classes=classes,
        columns={name: _column(group[_COLUMNS + name], at, where) for name in spec.columns},
    )
    problems = list(object_problems(found, rows, where=where))
    if problems:
        raise PoolError.of(problems)
    return found


def _column(array: h5py.Dataset, at: Rows, where: str) -> NDArray[Any]:
    if is_text(array):
        return np.array(read_texts(array, at, where=where).to_list(), dtype=np.str_)
    return read_rows(array, at)


def object_problems(objects: Objects, rows: Rows, *, where: str) -> Iterator[Problem]:
    """What is wrong with the values of the objects of some rows (n,) of a pool."""
    boxes, classes = objects.boxes, objects.classes
    checks = (
        (~np.isfinite(boxes).all(axis=1), "box", boxes, "Boxes are finite: x1, y1, x2, y2."),
        (
            (boxes[:, 2:] < boxes[:, :2]).any(axis=1),
            "box",
            boxes,
            "Store x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2.",
        ),
        (
            (objects.label < 0) | (objects.label >= len(classes)),
            "label",
            objects.label,
            f"{counted(len(classes), 'class', 'classes')}: labels are 0 to {len(classes) - 1}.",
        ),
        (
            ~((objects.area >= 0) & np.isfinite(objects.area)),
            "area",
            objects.area,
            "Areas are pixels², 0 or more.",
        ),
    )
    for bad, name, values, step in checks:
        found = np.flatnonzero(bad)
        if len(found):
            first = values[found[0]].tolist()
            yield Problem(
                f"{counted(len(found), 'object has', 'objects have')} a wrong {name}, the first "
                f"{first} in image {rows[objects.image[found[0]]]}",
                where,
                step,
            )
    if not (np.isfinite(objects.unit_area) & (objects.unit_area > 0)).all():
        yield Problem("unit_area must be positive", where, "Store 1 where images aren't resized.")


def write_objects(file: h5py.File, name: str, pieces: Sequence[Objects], *, where: str) -> None:
    """Write all objects of a target, but for the names of their classes."""
    whole = join_objects(pieces)
    group = file.create_group(f"targets/{name}")
    group.attrs[_HOLDS] = _OBJECTS
    for key in _SHAPES:
        group.create_dataset(key, data=getattr(whole, key))
    for column in whole.columns:
        values = _stored(column, [each.columns[column] for each in pieces], where)
        if isinstance(values, pl.Series):
            write_texts(group, _COLUMNS + column, values)
        else:
            group.create_dataset(_COLUMNS + column, data=values)


def _stored(name: str, pieces: Sequence[NDArray[Any]], where: str) -> NDArray[Any] | pl.Series:
    """One column: numbers, NaN where one is missing, or text."""
    # A piece without objects says nothing of the type.
    known = [as_series(name, piece, where=where) for piece in pieces if len(piece)]
    joined = join(name, known, where=where) if known else None
    if joined is None:
        return np.empty(0, np.float64)
    if joined.missing is None or isinstance(joined.values, pl.Series):
        return joined.values
    if joined.values.dtype == np.bool_:
        return pl.Series(joined.values).cast(pl.String).set(pl.Series(joined.missing), "")
    if (np.abs(joined.values) > _EXACT).any():
        return pl.Series(joined.values).cast(pl.String).set(pl.Series(joined.missing), "")
    return np.where(joined.missing, np.nan, joined.values.astype(np.float64))
