"""Writing pools sample by sample: memory holds the columns and one block of each array."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h5py
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.hdf5 import mark, write_texts
from calaudit.formats.identity import check_ids
from calaudit.formats.pool import open_pool, write_notices
from calaudit.formats.pool_columns import Column, Joined, as_series, join, whole
from calaudit.formats.pool_layout import (
    CLASSES,
    IDS,
    KIND,
    MISSING,
    VERSION,
    as_names,
    check_classes,
    read_layout,
)
from calaudit.formats.rows import not_finite_problem
from calaudit.formats.writing import ArrayStream, Hdf5Writing, written_hdf5
from calaudit.runtime.errors import Notice, PoolError, Problem, near


class PoolWriter:
    """A pool being written; it appears at `path` when the ``with`` block ends without error.

    Parameters
    ----------
    path : Path
        Where the pool goes. Until it is whole it is written beside, and removed on any exception.
    classes : mapping, optional
        Target name to the names of its classes, in the order of the model's outputs. Its values may
        be names or numbers; names are stored.
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
        compress: bool = False,
        notices: Sequence[Notice] = (),
    ) -> None:
        self.path = Path(path)
        self._classes = {target: tuple(names) for target, names in (classes or {}).items()}
        self._compress = compress
        self._notices = notices
        self._stack = ExitStack()
        self._writing: Hdf5Writing | None = None
        self._arrays: dict[str, ArrayStream] = {}
        self._columns: dict[str, list[pl.Series]] = {}
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

    def append(
        self,
        inputs: Mapping[str, ArrayLike],
        targets: Mapping[str, ArrayLike | Column] | None = None,
        meta: Mapping[str, Column] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        """Add n samples.

        Parameters
        ----------
        inputs : mapping
            Model input name to (n, …) numbers. Element type and shape stay those of the first call.
        targets : mapping, optional
            Name to (n, …): one label, a vector or a matrix per sample.
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
        arrays, columns = _by_kind(inputs, targets or {}, meta or {}, ids, where=self._where)
        n = self._checked(arrays, columns)
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
            _check_name(f"items/{name}", self._where)
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

    def _checked(self, arrays: dict[str, NDArray[Any]], columns: dict[str, Any]) -> int:
        """The number of samples n of a batch that fits what came before."""
        names = frozenset([*arrays, *columns])
        if self._names is None:
            for key in names:
                _check_name(key, self._where)
            _check_apart(names, self._where)
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
        sizes = {key: len(values) for key, values in {**arrays, **columns}.items()}
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

    def _finish(self) -> None:
        file = self._open_file()
        if self._n == 0:
            raise PoolError(
                "would hold no samples", where=self._where, next_step="Append some to it."
            )
        for stream in self._arrays.values():
            stream.finish()
        for key, pieces in self._columns.items():
            values = join(key, pieces, where=self._where)
            if key == IDS:
                check_ids(values.values, where=f"{self._where}: /{IDS}")
            _write_column(file, key, values)
        write_notices(file, self._notices)
        self._write_classes(file)
        # With nothing that is new in it, it is a pool of the first version.
        newer = MISSING in file or CLASSES in file
        mark(file, kind=KIND, version=VERSION if newer else 1)
        read_layout(file, self.path)

    def _write_classes(self, file: h5py.File) -> None:
        known = [key.removeprefix("targets/") for key in self._columns if key[:8] == "targets/"]
        for target, names in self._classes.items():
            if target not in known:
                raise PoolError(
                    f"there is no target {target!r} with one value per sample to name classes of",
                    where=self._where,
                    next_step=near(target, known) if known else "Give the target as well.",
                )
            write_texts(file, f"{CLASSES}/{target}", pl.Series(names, dtype=pl.String))


def write_pool(
    path: str | Path,
    *,
    inputs: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike | Column] | None = None,
    meta: Mapping[str, Column] | None = None,
    items: Mapping[str, Column] | None = None,
    ids: Sequence[str] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    compress: bool = False,
) -> None:
    """Write a whole pool from arrays in memory; see `PoolWriter` for the parameters."""
    with PoolWriter(path, classes=classes, compress=compress) as pool:
        pool.append(inputs, targets, meta, ids)
        if items:
            pool.write_items(items)


def _by_kind(
    inputs: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike | Column],
    meta: Mapping[str, Column],
    ids: Sequence[str] | None,
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
    if ids is not None:
        columns[IDS] = ids
    return arrays, columns


def _is_column(values: Any) -> bool:
    """Whether a target holds one value per sample; lists keep what an array would round."""
    if isinstance(values, list | tuple):
        return all(np.ndim(value) == 0 for value in values)
    return np.ndim(values) == 1


def _check_pool(path: Path) -> None:
    open_pool(path).close()


def _check_name(key: str, where: str) -> None:
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise PoolError(
            f"{key!r} can't be a name in HDF5",
            where=where,
            next_step="Use names without empty parts between slashes, '.' and '..'.",
        )


def _check_apart(names: Iterable[str], where: str) -> None:
    """A name with slashes lies in groups, which can't be arrays as well."""
    known = set(names)
    for name in sorted(known):
        for above in accumulate(name.split("/")[:-1], "{}/{}".format):
            if above in known:
                raise PoolError(
                    f"{above!r} and {name!r} can't both be names in HDF5",
                    where=where,
                    next_step=f"Rename one of them: {name!r} would lie in {above!r}.",
                )


def _write_column(file: h5py.File, key: str, column: Joined) -> None:
    if isinstance(column.values, pl.Series):
        write_texts(file, key, column.values)
        return
    file.create_dataset(key, data=column.values)
    if column.missing is not None:
        file.create_dataset(f"{MISSING}/{key}", data=column.missing)
