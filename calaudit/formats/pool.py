"""Pools in HDF5, read lazily: opening never reads samples, reading goes in storage order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.hdf5 import is_text, open_hdf5, read_texts, reading
from calaudit.formats.identity import check_ids, fingerprint_of
from calaudit.formats.pool_layout import (
    CLASSES,
    IDS,
    IGNORED,
    KIND,
    MISSING,
    VERSION,
    Layout,
    read_layout,
)
from calaudit.formats.pool_levels import BYTES, LEVELS, decoded
from calaudit.formats.pool_objects import read_objects
from calaudit.formats.rows import check_rows, not_finite_problem, read_rows
from calaudit.runtime.errors import CalauditError, Notice, PoolError, Problem, near
from calaudit.runtime.objects import Objects
from calaudit.runtime.pool import ObjectsSpec, Rows, TensorSpec, read_as_numbers

_ATTRIBUTE = "notices"


def open_pool(path: str | Path) -> "PoolFile":
    """Open a pool and check its structure; no sample is read yet.

    Parameters
    ----------
    path : str or Path
        HDF5 file in the pool format.

    Returns
    -------
    PoolFile
        Usable as a context manager that closes the file.

    Raises
    ------
    FileFormatError
        Missing, truncated, foreign, or of a newer version.
    PoolError
        The arrays don't hang together, with every problem.
    """
    path = Path(path)
    file = open_hdf5(path, kind=KIND, version=VERSION, made_by="`calaudit pool import`")
    try:
        with reading(path, "inputs, /targets, /meta or /items"):
            layout = read_layout(file, path)
    except CalauditError:
        file.close()
        raise
    return PoolFile(path, file, layout)


class PoolFile:
    """A `calaudit.runtime.pool.Pool` in an open HDF5 file. Made by :func:`open_pool`."""

    def __init__(self, path: Path, file: h5py.File, layout: Layout) -> None:
        self.path = path
        self._file = file
        self._layout = layout
        self._fingerprint: str | None = None
        self._unique = False
        self._opened: dict[str, h5py.Dataset] = {}
        """Open datasets: each keeps the chunks that were unpacked last, for the next batch."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._opened.clear()
        self._file.close()

    def __len__(self) -> int:
        return self._layout.n

    @property
    def label(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The model's inputs, by name."""
        return self._layout.inputs

    @property
    def targets(self) -> Mapping[str, TensorSpec]:
        """What a prediction is judged against, by name."""
        return self._layout.targets

    @property
    def objects(self) -> Mapping[str, ObjectsSpec]:
        """Targets that are annotated objects, by name; they aren't among `targets`."""
        return self._layout.objects

    @property
    def meta(self) -> Mapping[str, TensorSpec]:
        """Columns with one number or text per sample, by name."""
        return self._layout.meta

    @property
    def items(self) -> Mapping[str, TensorSpec]:
        """Columns with one number, text or vector per item, by name."""
        return self._layout.items

    @property
    def has_ids(self) -> bool:
        """Whether ids are stored; otherwise the row number serves."""
        return self._layout.has_ids

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What should be known of how it was made."""
        return read_notices(self._file)

    def column_names(self) -> list[str]:
        """Names usable in slices: metadata columns, then one-value-per-sample targets."""
        return self._layout.column_names()

    def columns(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        """Columns as a frame; missing values (NaN, empty text) are null, infinities stay.

        Numbers are int64 (uint64 where one is beyond) or float64, whatever they are stored as; see
        `calaudit.runtime.pool`.

        Parameters
        ----------
        names : sequence of str
            Among `column_names()`.
        rows : (n,) int64, optional
            Ascending; all N rows when left out.

        Raises
        ------
        PoolError
            With one problem per unknown name.
        """
        if rows is not None:
            check_rows(rows, len(self))
        paths = {name: self._layout.column_path(name) for name in names}
        unknown = [name for name, path in paths.items() if path is None]
        if unknown:
            raise PoolError.of(
                Problem(f"there is no column {name!r}", self.label, near(name, self.column_names()))
                for name in unknown
            )
        return pl.DataFrame(
            [self._series(str(path), rows).alias(name) for name, path in paths.items()]
        )

    def item_column(self, name: str) -> pl.Series:
        """One column of the catalogue (items,); missing values are null."""
        if self._item_spec(name).shape:
            raise PoolError(
                f"the item column {name!r} holds vectors, expected one value per item",
                where=self.label,
                next_step="Name a column with one number or text per item.",
            )
        return self._series(f"items/{name}", None).alias(name)

    def item_vectors(self, name: str) -> NDArray[np.float64]:
        """One column of vectors of the catalogue (items, d).

        Raises
        ------
        PoolError
            There is no such column, it holds no vectors, or NaN or infinity.
        """
        if not self._item_spec(name).shape:
            raise PoolError(
                f"the item column {name!r} holds no vectors",
                where=self.label,
                next_step=near("", [n for n, spec in self.items.items() if spec.shape]),
            )
        with reading(self.path, f"items/{name}"):
            n_items = self._file[f"items/{name}"].shape[0]
        vectors = self._numbers(f"items/{name}", np.arange(n_items)).astype(np.float64)
        if not np.isfinite(vectors).all():
            item = int(np.argmin(np.isfinite(vectors).all(axis=1)))
            raise PoolError(
                f"NaN or infinity in the vector of item {item}",
                where=f"{self.label}: /items/{name}",
                next_step="Fix the vector, or store zeros for an item without one.",
            )
        return vectors

    def _item_spec(self, name: str) -> TensorSpec:
        if name not in self.items:
            raise PoolError(
                f"there is no item column {name!r}",
                where=self.label,
                next_step=near(name, self.items),
            )
        return self.items[name]

    def ids(self, rows: Rows) -> NDArray[np.str_]:
        """Stable ids of `rows` (ascending), (len(rows),) text.

        Raises
        ------
        PoolError
            Stored ids occur twice.
        """
        check_rows(rows, len(self))
        if not self.has_ids:
            return rows.astype(np.str_)
        self._check_ids()
        return np.array(self._texts(IDS, rows).to_list(), dtype=np.str_)

    def read_inputs(self, rows: Rows, *, check: bool = True) -> dict[str, NDArray[Any]]:
        """Inputs of `rows` (ascending), each (len(rows), …) in the type that its spec says.

        Without `check` they may hold NaN or infinity: to look at, not to compute with.

        Raises
        ------
        PoolError
            An input holds NaN or infinity, with the ids of the samples.
        """
        check_rows(rows, len(self))
        values = {name: self._input(name, rows) for name in self.inputs}
        if not check:
            return values
        found = [
            not_finite_problem(
                array, lambda at: self.ids(rows[at]).tolist(), f"{self.label}: /inputs/{name}"
            )
            for name, array in values.items()
        ]
        problems = [problem for problem in found if problem is not None]
        if problems:
            raise PoolError.of(problems)
        return values

    def read_target(self, name: str, rows: Rows) -> NDArray[Any]:
        """One target of `rows` (ascending), (len(rows), …); text as ``np.str_``.

        Where integers are missing among `rows` they are float64, with NaN for those.

        Raises
        ------
        PoolError
            There is no such target; or integers are missing among others beyond 2**53, which a
            float would round.
        """
        check_rows(rows, len(self))
        if name not in self.targets:
            raise PoolError(
                f"there is no target {name!r}",
                where=self.label,
                next_step=near(name, self.targets),
            )
        path = f"targets/{name}"
        if self.targets[name].dtype.kind == "U":
            return np.array(self._texts(path, rows).to_list(), dtype=np.str_)
        values = self._numbers(path, rows)
        if path not in self._layout.masked:
            return values
        missing = self._numbers(f"{MISSING}/{path}", rows)
        if not missing.any():
            return values
        numbers = np.where(missing, np.nan, values.astype(np.float64))
        if (numbers[~missing].astype(values.dtype) != values[~missing]).any():
            raise PoolError(
                f"{missing.sum():,} of {len(rows):,} values are missing",
                where=f"{self.label}: /{path}",
                next_step="Exclude these samples from the evaluation, or store the target as text.",
            )
        return numbers

    def read_objects(self, name: str, rows: Rows) -> Objects:
        """The annotated objects of `rows` (ascending).

        Raises
        ------
        PoolError
            There is no such target, or its boxes, labels or areas make no sense.
        """
        check_rows(rows, len(self))
        if name not in self.objects:
            raise PoolError(
                f"there are no objects {name!r}",
                where=self.label,
                next_step=near(name, self.objects),
            )
        path = f"targets/{name}"
        with reading(self.path, path):
            return read_objects(
                self._file[path],
                self.objects[name],
                rows,
                self.class_names(name),
                where=f"{self.label}: /{path}",
            )

    def ignored_class(self, target: str) -> int | None:
        """The number that masks hold where they say nothing; None where each pixel has a class."""
        if target not in self._layout.ignored:
            return None
        return int(self._numbers(f"{IGNORED}/{target}", np.zeros(1, np.int64))[0])

    def class_names(self, target: str) -> tuple[str, ...]:
        """Names of a target's classes, in the order of the model's outputs; none if not stored."""
        if target not in self._layout.classes:
            return ()
        return tuple(self._texts(f"{CLASSES}/{target}", None))

    def fingerprint(self) -> str:
        """Content hash over all arrays, 32 hexadecimal digits; read once, then remembered."""
        if self._fingerprint is None:
            if self.has_ids:
                self._check_ids()
            self._fingerprint = fingerprint_of(self._file, self.path)
        return self._fingerprint

    def _input(self, name: str, rows: Rows) -> NDArray[Any]:
        values = self._numbers(f"inputs/{name}", rows)
        if name not in self._layout.levels:
            return values
        return decoded(values, self._numbers(f"{LEVELS}/{name}", np.arange(BYTES)))

    def _numbers(self, path: str, rows: Rows) -> NDArray[Any]:
        with reading(self.path, path):
            if path not in self._opened:
                self._opened[path] = self._file[path]
            return read_rows(self._opened[path], rows)

    def _texts(self, path: str, rows: Rows | None) -> pl.Series:
        with reading(self.path, path):
            return read_texts(self._file[path], rows, where=f"{self.label}: /{path}")

    def _series(self, path: str, rows: Rows | None) -> pl.Series:
        with reading(self.path, path):
            dataset = self._file[path]
            text = is_text(dataset)
        if text:
            return self._texts(path, rows).replace("", None)
        rows = np.arange(dataset.shape[0]) if rows is None else rows
        series = read_as_numbers(self._numbers(path, rows))
        if path in self._layout.masked:
            series = series.set(pl.Series(self._numbers(f"{MISSING}/{path}", rows)), None)
        return series

    def _check_ids(self) -> None:
        if self._unique:
            return
        check_ids(self._texts(IDS, None), where=f"{self.label}: /{IDS}")
        self._unique = True


def write_notices(file: h5py.File, notices: Sequence[Notice]) -> None:
    """Write notices, if there are any, as JSON: ``[[code, message, where], …]``."""
    if notices:
        file.attrs[_ATTRIBUTE] = json.dumps([astuple(each) for each in notices], ensure_ascii=False)


def read_notices(file: h5py.File) -> tuple[Notice, ...]:
    """Read notices; what isn't as `write_notices` leaves it is none: nothing depends on it."""
    try:
        found = json.loads(file.attrs.get(_ATTRIBUTE, "[]"))
        return tuple(
            Notice(str(code), str(message), None if where is None else str(where))
            for code, message, where in found
        )
    except (ValueError, TypeError):
        return ()
