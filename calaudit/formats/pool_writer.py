"""Writing pools sample by sample: memory holds the columns and one block of each array."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h5py
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.array_stream import ArrayStream, ReservedRows
from calaudit.formats.class_names import as_names, check_classes, mask_problems
from calaudit.formats.hdf5 import mark, write_texts
from calaudit.formats.identity import check_ids
from calaudit.formats.pool import open_pool, write_notices
from calaudit.formats.pool_columns import Column, Joined, as_series, by_kind, join
from calaudit.formats.pool_layout import (
    CLASSES,
    IDS,
    IGNORED,
    KIND,
    MISSING,
    VERSION,
    check_apart,
    check_name,
    read_layout,
)
from calaudit.formats.pool_levels import LEVELS
from calaudit.formats.pool_objects import object_problems, write_objects
from calaudit.formats.rows import not_finite_problem
from calaudit.formats.writing import Hdf5Writing, written_hdf5
from calaudit.runtime.errors import Notice, PoolError, Problem, near
from calaudit.runtime.objects import Objects


class PoolWriter:
    """A pool being written; it appears at `path` when the ``with`` block ends without error.

    Parameters
    ----------
    path : Path
        Where the pool goes. Until it is whole it is written beside, and removed on any exception.
    classes : mapping, optional
        Target name to the names of its classes, in the order of the model's outputs. Its values may
        be names or numbers; names are stored. Masks (n, height, width) hold numbers and stay so;
        objects say their classes themselves.
    ignored : mapping, optional
        Target of masks to the number that stands where a mask says nothing, such as 255.
    levels : mapping, optional
        Input that is given in bytes (uint8) to the number that each stands for, (256,), or by
        channel, (256, 3, 1, 1): the input is read as these.
    compress : bool
        Store arrays with gzip (level 1): smaller when many values are equal, slower to read.
    notices : sequence of Notice
        What whoever uses the pool should know of how it was made: audits repeat it.

    Examples
    --------
    >>> import numpy as np
    >>> with PoolWriter(Path("tiny.h5")) as pool:
    ...     pool.append({"x": np.zeros((2, 4), np.float32)}, {"label": [0, 1]}, {"noise": [0.1, 0]})
    """

    def __init__(
        self,
        path: str | Path,
        *,
        classes: Mapping[str, Sequence[str]] | None = None,
        ignored: Mapping[str, int] | None = None,
        levels: Mapping[str, NDArray[np.floating]] | None = None,
        compress: bool = False,
        notices: Sequence[Notice] = (),
    ) -> None:
        self.path = Path(path)
        self._classes = {target: tuple(names) for target, names in (classes or {}).items()}
        self._ignored = dict(ignored or {})
        self._levels = dict(levels or {})
        self._compress = compress
        self._notices = notices
        self._stack = ExitStack()
        self._writing: Hdf5Writing | None = None
        self._arrays: dict[str, ArrayStream] = {}
        self._reserved: dict[str, ReservedRows] = {}
        self._columns: dict[str, list[pl.Series]] = {}
        self._objects: dict[str, list[Objects]] = {}
        self._names: frozenset[str] | None = None
        self._n = 0

    def __len__(self) -> int:
        """Samples appended so far."""
        return self._n

    def __enter__(self) -> Self:
        problems = list(check_classes(self._classes, where=self._where))
        if problems:
            raise PoolError.of(problems)
        self._writing = self._stack.enter_context(written_hdf5(self.path, check=_check_pool))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def reserve(self, inputs: Mapping[str, NDArray[Any]], n: int) -> dict[str, ReservedRows]:
        """Make room for inputs of all n samples, which are then written row by row.

        Parameters
        ----------
        inputs : mapping
            Model input name to one sample's array (…), whose type and shape all have.
        n : int
            Samples; what else is known of them is appended in their order, without these inputs.
        """
        self._open_file()
        writing = cast(Hdf5Writing, self._writing)
        for name, like in inputs.items():
            check_name(f"inputs/{name}", self._where)
            self._reserved[f"inputs/{name}"] = ReservedRows(writing, f"inputs/{name}", n, like)
        return {key.removeprefix("inputs/"): rows for key, rows in self._reserved.items()}

    def append(
        self,
        inputs: Mapping[str, ArrayLike],
        targets: Mapping[str, ArrayLike | Column | Objects] | None = None,
        meta: Mapping[str, Column] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        """Add n samples.

        Parameters
        ----------
        inputs : mapping
            Model input name to (n, …) numbers. Element type and shape stay those of the first call.
        targets : mapping, optional
            Name to (n, …): one label, a vector or a matrix per sample; or to the `Objects` of n
            images.
        meta : mapping, optional
            Column name to n numbers or texts; None, NaN or ``""`` where a value is missing.
        ids : sequence of str, optional
            Stable ids, unique over the pool. Without them the row number serves.

        Raises
        ------
        PoolError
            With every problem: differing n, names or types unlike the first call's, NaN inputs.
        OutputError
            The disk is full.
        """
        file = self._open_file()
        given = targets or {}
        objects = {
            f"targets/{name}": each for name, each in given.items() if isinstance(each, Objects)
        }
        plain = {name: each for name, each in given.items() if not isinstance(each, Objects)}
        arrays, columns = by_kind(inputs, plain, meta or {}, where=self._where)
        if ids is not None:
            columns[IDS] = ids
        n = self._checked(arrays, columns, objects)
        series = {
            key: self._named(key, as_series(key, values, where=self._where))
            for key, values in columns.items()
        }
        for key, values in arrays.items():
            if key not in self._arrays:
                self._arrays[key] = ArrayStream(file, key, values, compress=self._compress)
            self._arrays[key].check(values, where=self._where)
        for key, values in arrays.items():
            self._arrays[key].add(values)
        for key, piece in series.items():
            self._columns.setdefault(key, []).append(piece)
        for key, found in objects.items():
            self._objects.setdefault(key, []).append(found)
        self._n += n

    def _named(self, key: str, column: pl.Series) -> pl.Series:
        """A target's class names in place of its class numbers."""
        role, _, target = key.partition("/")
        names = self._classes.get(target) if role == "targets" else None
        if names is None:
            return column
        return as_names(column, names, where=f"{self._where}: /{key}")

    def write_items(self, columns: Mapping[str, Column]) -> None:
        """Write the catalogue of listwise ranking: column name to one value per item (items,).

        An array of two axes holds a vector per item (items, d).
        """
        file = self._open_file()
        for name, values in columns.items():
            check_name(f"items/{name}", self._where)
            if isinstance(values, np.ndarray) and values.ndim == 2:
                file.create_dataset(f"items/{name}", data=values)
                continue
            piece = as_series(name, values, where=self._where)
            _write_column(file, f"items/{name}", join(name, [piece], where=self._where))

    @property
    def _where(self) -> str:
        return str(self.path)

    def _open_file(self) -> h5py.File:
        if self._writing is None:
            raise ValueError("a PoolWriter is used in a with block")
        self._writing.check()
        return self._writing.file

    def _checked(
        self,
        arrays: dict[str, NDArray[Any]],
        columns: dict[str, Any],
        objects: dict[str, Objects],
    ) -> int:
        """The number of samples n of a batch that fits what came before."""
        names = frozenset([*self._reserved, *arrays, *columns, *objects])
        if self._names is None:
            for key in names:
                check_name(key, self._where)
            check_apart(names, self._where)
            self._names = names
        problems = [
            Problem(
                f"{key} is {values.dtype} of shape {values.shape}",
                self._where,
                "Give numbers of shape (n, …).",
            )
            for key, values in arrays.items()
            if values.ndim == 0 or values.dtype.kind not in "biuf"
        ]
        if problems:
            raise PoolError.of(problems)
        problems = [
            Problem(f"{key} is {what}", self._where, "Give every sample the same arrays.")
            for what, keys in (
                (f"missing from sample {self._n} on", self._names - names),
                (f"new in sample {self._n}", names - self._names),
            )
            for key in sorted(keys)
        ]
        sizes = {key: len(values) for key, values in {**arrays, **columns, **objects}.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{key} has {size}" for key, size in sizes.items())
            problems.append(
                Problem(
                    f"arrays differ in their number of samples: {listed}",
                    self._where,
                    "Give every array one row per sample.",
                )
            )
        elif sizes:
            problems += self._not_finite(arrays, columns.get(IDS))
            problems += self._strange(arrays, objects)
        if problems:
            raise PoolError.of(problems)
        return next(iter(sizes.values()), 0)

    def _not_finite(
        self, arrays: dict[str, NDArray[Any]], ids: Sequence[str] | None
    ) -> list[Problem]:
        def named(at: NDArray[np.int64]) -> list[str]:
            return [str(ids[i]) if ids is not None else str(self._n + i) for i in at]

        found = (
            not_finite_problem(values, named, f"{self._where}: /{key}")
            for key, values in arrays.items()
            if key.startswith("inputs/")
        )
        return [problem for problem in found if problem is not None]

    def _strange(
        self, arrays: dict[str, NDArray[Any]], objects: dict[str, Objects]
    ) -> Iterator[Problem]:
        """Classes that masks and objects can't have, and boxes that can't be."""
        for key, found in objects.items():
            where = f"{self._where}: /{key}"
            first = self._objects.get(key, [found])[0]
            rows = np.arange(self._n, self._n + len(found))
            yield from object_problems(found, rows, where=where)
            if (first.classes, set(first.columns)) != (found.classes, set(found.columns)):
                yield Problem(
                    f"knows other classes or columns from sample {self._n} on",
                    where,
                    "Give the same to every sample's objects.",
                )
        for name, names in self._classes.items():
            masks = arrays.get(f"targets/{name}")
            if masks is not None and masks.ndim == 3 and masks.dtype.kind in "iu":
                yield from mask_problems(
                    masks, len(names), self._ignored.get(name), where=f"{self._where}: {name}"
                )

    def _finish(self) -> None:
        file = self._open_file()
        if self._n == 0:
            raise PoolError(
                "would hold no samples", where=self._where, next_step="Append some to it."
            )
        if not all(rows.are_all(self._n) for rows in self._reserved.values()):
            raise ValueError(f"of reserved inputs there aren't {self._n} samples, each written")
        for stream in self._arrays.values():
            stream.finish()
        for key, pieces in self._columns.items():
            values = join(key, pieces, where=self._where)
            if key == IDS:
                check_ids(values.values, where=f"{self._where}: /{IDS}")
            _write_column(file, key, values)
        for key, found in self._objects.items():
            write_objects(file, key.removeprefix("targets/"), found, where=self._where)
        write_notices(file, self._notices)
        newer = self._write_classes(file)
        for name, table in self._levels.items():
            file.create_dataset(f"{LEVELS}/{name}", data=table)
        # With nothing that is new in it, it is a pool of an older version.
        second = MISSING in file or CLASSES in file
        mark(file, kind=KIND, version=VERSION if self._levels else 3 if newer else 1 + second)
        read_layout(file, self.path)

    def _write_classes(self, file: h5py.File) -> bool:
        """Names of classes, and numbers that are none; whether version 3 has to say them."""
        columns, masks, objects = (
            [key.removeprefix("targets/") for key in keys if key.startswith("targets/")]
            for keys in (self._columns, self._arrays, self._objects)
        )
        classes = {name: self._objects[f"targets/{name}"][0].classes for name in objects}
        known = [*columns, *masks]
        for target in {**self._classes, **self._ignored}:
            if target not in known and target not in classes:
                raise PoolError(
                    f"there is no target {target!r} to name classes of",
                    where=self._where,
                    next_step=near(target, known) if known else "Give the target as well.",
                )
        for target, names in {**self._classes, **classes}.items():
            write_texts(file, f"{CLASSES}/{target}", pl.Series(names, dtype=pl.String))
        for target, number in self._ignored.items():
            file.create_dataset(f"{IGNORED}/{target}", data=np.array([number], np.int64))
        return bool(objects or self._ignored) or any(name in masks for name in self._classes)


def write_pool(
    path: str | Path,
    *,
    inputs: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike | Column | Objects] | None = None,
    meta: Mapping[str, Column] | None = None,
    items: Mapping[str, Column] | None = None,
    ids: Sequence[str] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    ignored: Mapping[str, int] | None = None,
    levels: Mapping[str, NDArray[np.floating]] | None = None,
    compress: bool = False,
) -> None:
    """Write a whole pool from arrays in memory; see `PoolWriter` for the parameters."""
    with PoolWriter(
        path, classes=classes, ignored=ignored, levels=levels, compress=compress
    ) as pool:
        pool.append(inputs, targets, meta, ids)
        if items:
            pool.write_items(items)


def _check_pool(path: Path) -> None:
    open_pool(path).close()


def _write_column(file: h5py.File, key: str, column: Joined) -> None:
    if isinstance(column.values, pl.Series):
        write_texts(file, key, column.values)
        return
    file.create_dataset(key, data=column.values)
    if column.missing is not None:
        file.create_dataset(f"{MISSING}/{key}", data=column.missing)
