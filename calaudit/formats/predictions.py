"""Predictions on disk: what one engine gave for a list of pool rows.

Its outputs as they are, or what tasks made of them while it ran (answers): boxes, counts, scores.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Batch, Column, Ragged, join
from calaudit.formats.hdf5 import datasets_in, open_hdf5, reading
from calaudit.formats.rows import read_rows
from calaudit.formats.writing import written_hdf5
from calaudit.runtime.errors import FileFormatError, near
from calaudit.runtime.pool import Rows

FORMAT = "predictions"
# 1: /rows (n,), /outputs/<name> (n, …); where HDF5 would take the name apart, it is quoted as in an
#    address, and stands in the dataset's attribute "name"
# 2: /outputs may hold some of the outputs, or none; /answers/<reduction>/<column> (n, …), or, where
#    rows have different numbers of values, a group of values (m, …) and offsets (n + 1,); names
#    quoted as above
FORMAT_VERSION = 2
_TAKEN_WHOLE = re.compile(r"[^./%\0][^/%\0]*")
"""Names that HDF5 takes for one part of a path, and that don't look quoted."""
_AGAIN = "Delete it and run the audit again."
_CHUNK_BYTES = 256 << 10
"""Of what is compressed or grows."""
_WRITE_BYTES = 1 << 20
"""Written at once, where batches are smaller."""


class Predictions:
    """What one engine gave for `rows`, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file, reading(path, "rows, /outputs or /answers"):
            rows, outputs = file.get("rows"), datasets_in(file, "outputs")
            if not _is_list(rows) or rows.dtype.kind not in "iu":
                raise FileFormatError("/rows isn't a list of rows", where=path, next_step=_AGAIN)
            self.rows: Rows = rows[:].astype(np.int64)
            wrong = [name for name, each in outputs.items() if not _fits(each, len(self.rows))]
            self._stored_as = {str(each.attrs.get("name", n)): n for n, each in outputs.items()}
            self._columns = _columns_in(file)
            wrong += [
                f"answers/{place}"
                for columns in self._columns.values()
                for place in columns.values()
                if not _column_fits(file["answers"].get(place), len(self.rows))
            ]
        if (np.diff(self.rows) <= 0).any():
            raise FileFormatError("/rows doesn't ascend", where=path, next_step=_AGAIN)
        if wrong or not (outputs or self._columns):
            raise FileFormatError(
                f"{', '.join(wrong) or 'no output'} holds numbers for its {len(self.rows)} rows",
                where=path,
                next_step=_AGAIN,
            )

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that are kept."""
        return tuple(sorted(self._stored_as))

    @property
    def answers(self) -> dict[str, tuple[str, ...]]:
        """Reduction → its columns."""
        return {name: tuple(columns) for name, columns in self._columns.items()}

    def whole(self) -> Batch:
        """All that is kept, in memory."""
        return Batch(
            {name: self.read(name) for name in self.output_names},
            {
                name: {column: self.read_column(name, column) for column in columns}
                for name, columns in self._columns.items()
            },
        )

    def read(self, output: str, rows: Rows | None = None) -> NDArray[Any]:
        """One output (n, …), for all rows or for those asked for (a subset of `self.rows`).

        Raises
        ------
        FileFormatError
            There is no such output, or it can't be read.
        """
        if output not in self.output_names:
            raise FileFormatError(
                f"has no output {output!r}",
                where=self.path,
                next_step=near(output, self.output_names),
            )
        places = self._places(rows)
        with self._open() as file, reading(self.path, f"outputs/{output}"):
            return read_rows(file["outputs"][self._stored_as[output]], places)

    def read_answers(self, name: str, column: str, rows: Rows | None = None) -> NDArray[Any]:
        """One column (n, …) of a reduction's answers, for all rows or for those asked for.

        Raises
        ------
        FileFormatError
            There is no such column, or it can't be read.
        """
        place, places = self._column(name, column), self._places(rows)
        with self._open() as file, reading(self.path, f"answers/{place}"):
            return read_rows(file["answers"][place], places)

    def read_ragged(self, name: str, column: str, rows: Rows | None = None) -> Ragged:
        """One ragged column of a reduction's answers, for all rows or for those asked for.

        Raises
        ------
        FileFormatError
            There is no such column, or it can't be read.
        """
        place, places = self._column(name, column), self._places(rows)
        with self._open() as file, reading(self.path, f"answers/{place}"):
            offsets = file["answers"][place]["offsets"][:].astype(np.int64)
            starts, counts = offsets[places], offsets[places + 1] - offsets[places]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            wanted = np.repeat(starts, counts) + within
            return Ragged(read_rows(file["answers"][place]["values"], wanted), counts)

    def bytes_of(self, outputs: Iterable[str]) -> int:
        """What some outputs take in memory, as far as they are kept."""
        held = [self._stored_as[name] for name in outputs if name in self._stored_as]
        with self._open() as file, reading(self.path, "outputs"):
            return sum(int(file["outputs"][place].nbytes) for place in held)

    def bytes_of_answers(self, name: str) -> int:
        """What a reduction's answers take in memory; 0 where there are none."""
        with self._open() as file, reading(self.path, f"answers/{name}"):
            nodes = [file["answers"][place] for place in self._columns.get(name, {}).values()]
            datasets = [e["values"] if isinstance(e, h5py.Group) else e for e in nodes]
            return sum(int(each.nbytes) for each in datasets)

    def read_column(self, name: str, column: str) -> Column:
        """One column, ragged or not, for all rows."""
        with self._open() as file:
            ragged = isinstance(file["answers"][self._columns[name][column]], h5py.Group)
        return (self.read_ragged if ragged else self.read_answers)(name, column)

    def _column(self, name: str, column: str) -> str:
        columns = self._columns.get(name, {})
        if column not in columns:
            raise FileFormatError(
                f"has no answers {name}/{column}", where=self.path, next_step=_AGAIN
            )
        return columns[column]

    def _places(self, rows: Rows | None) -> Rows:
        if rows is None:
            return np.arange(len(self.rows))
        places = np.searchsorted(self.rows, rows)
        if not np.isin(rows, self.rows).all():
            raise FileFormatError(
                "lacks rows that are asked for", where=self.path, next_step=_AGAIN
            )
        return places

    def _open(self) -> h5py.File:
        return open_hdf5(self.path, kind=FORMAT, version=FORMAT_VERSION, made_by="an audit")


def _is_list(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.shape is not None and len(node.shape) == 1


def _fits(dataset: h5py.Dataset, n_rows: int) -> bool:
    shape = dataset.shape
    return bool(shape) and shape[0] == n_rows and dataset.dtype.kind in "fiub"


def _columns_in(file: h5py.File) -> dict[str, dict[str, str]]:
    """Reduction → column → its path below ``/answers``."""
    found: dict[str, dict[str, str]] = {}
    node = file.get("answers")
    for name, columns in node.items() if isinstance(node, h5py.Group) else ():
        if isinstance(columns, h5py.Group):
            found[unquote(name)] = {unquote(column): f"{name}/{column}" for column in columns}
    return found


def _column_fits(node: Any, n_rows: int) -> bool:
    if isinstance(node, h5py.Dataset):
        return _fits(node, n_rows)
    if not isinstance(node, h5py.Group):
        return False
    values, offsets = node.get("values"), node.get("offsets")
    if not isinstance(values, h5py.Dataset) or not _is_list(offsets):
        return False
    ends = offsets[:] if offsets.dtype.kind in "iu" else np.array([1])
    return (
        len(ends) == n_rows + 1
        and bool(ends[0] == 0 and (np.diff(ends) >= 0).all())
        and _fits(values, int(ends[-1]))
    )


def write_predictions(
    path: Path, rows: Rows, batches: Iterable[Batch | Mapping[str, NDArray[Any]]]
) -> Predictions:
    """Write predictions batch by batch.

    Parameters
    ----------
    path : Path
    rows : int64 (n,)
        Pool rows, ascending.
    batches : iterable of Batch or mapping
        Of b rows each, which add up to n; a mapping holds outputs alone.

    Raises
    ------
    FileFormatError
        The batches hold more or fewer rows than `rows`.
    OutputError
        The file can't be written.
    """
    checked: list[Predictions] = []
    with written_hdf5(path, check=lambda aside: checked.append(Predictions(aside))) as writing:
        file = writing.file
        file.attrs.update(calaudit_format=FORMAT, format_version=FORMAT_VERSION)
        file["rows"] = rows
        outputs, answers = file.create_group("outputs"), file.create_group("answers")
        done = 0
        for batch in _gathered(batches, len(rows), path):
            place = done, len(rows)
            done += len(batch)
            for name, values in batch.outputs.items():
                _write(outputs, name, values, place)
            for name, columns in batch.answers.items():
                group = answers.require_group(_quoted(name))
                for column, own in columns.items():
                    how = batch.compression.get(name, {}).get(column)
                    if isinstance(own, Ragged):
                        _append(group, column, own, place, how)
                    else:
                        _write(group, column, own, place, how)
            writing.check()
    (written,) = checked
    written.path = path  # what was checked beside it lies there now
    return written


def _gathered(
    batches: Iterable[Batch | Mapping[str, NDArray[Any]]], total: int, path: Path
) -> Iterator[Batch]:
    """The batches, small ones joined: to write one costs as much as to write a thousand rows."""
    held: list[Batch] = []
    done = n_bytes = 0
    for each in batches:
        batch = each if isinstance(each, Batch) else Batch(each)
        done += _size(batch, (done, total), path)
        if held and _layout(batch) != _layout(held[0]):
            yield join(held)
            held, n_bytes = [], 0
        held.append(batch)
        n_bytes += sum(values.nbytes for values in _arrays(batch).values())
        if n_bytes >= _WRITE_BYTES:
            yield join(held) if len(held) > 1 else batch
            held, n_bytes = [], 0
    if held:
        yield join(held)
    if done != total:
        raise FileFormatError(f"{done} of {total} rows were predicted", where=path)


def _arrays(batch: Batch) -> dict[tuple[str, ...], NDArray[Any]]:
    found: dict[tuple[str, ...], NDArray[Any]] = {(n,): v for n, v in batch.outputs.items()}
    for name, columns in batch.answers.items():
        for column, own in columns.items():
            if isinstance(own, Ragged):
                found[name, column, "ragged"] = own.values
            else:
                found[name, column] = own
    return found


def _layout(batch: Batch) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """What batches must share to be joined."""
    return {name: (each.dtype, each.shape[1:]) for name, each in _arrays(batch).items()}


def _size(batch: Batch, place: tuple[int, int], path: Path) -> int:
    done, total = place
    try:
        size = len(batch)
    except ValueError as error:
        raise FileFormatError(f"{error} at row {done} of {total}", where=path) from None
    if done + size > total:
        raise FileFormatError(f"outputs of {size} rows at row {done} of {total}", where=path)
    return size


def _quoted(name: str) -> str:
    return name if _TAKEN_WHOLE.fullmatch(name) else quote(name, safe="").replace(".", "%2E")


def _write(
    group: h5py.Group,
    name: str,
    values: NDArray[Any],
    place: tuple[int, int],
    compression: str | None = None,
) -> None:
    stored, (done, total) = _quoted(name), place
    if stored not in group:
        shape = values.shape[1:]
        more = {} if compression is None else _compressed(values, total, compression)
        group.create_dataset(stored, shape=(total, *shape), dtype=values.dtype, **more)
        if stored != name:
            group[stored].attrs["name"] = name
    group[stored][done : done + len(values)] = values


def _append(
    group: h5py.Group,
    name: str,
    ragged: Ragged,
    place: tuple[int, int],
    compression: str | None = None,
) -> None:
    stored, (done, total) = _quoted(name), place
    if stored not in group:
        shape, most = ragged.values.shape[1:], np.iinfo(np.int64).max
        own = group.create_group(stored)
        own.create_dataset(
            "values",
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=ragged.values.dtype,
            **_compressed(ragged.values, most, compression),
        )
        own["offsets"] = np.zeros(total + 1, np.int64)
    values, offsets = group[stored]["values"], group[stored]["offsets"]
    before = int(offsets[done])
    if len(ragged):
        offsets[done + 1 : done + 1 + len(ragged)] = before + np.cumsum(ragged.counts)
    values.resize(before + len(ragged.values), axis=0)
    if len(ragged.values):
        values[before:] = ragged.values


def _compressed(values: NDArray[Any], total: int, compression: str | None) -> dict[str, Any]:
    """How a dataset is cut and compressed."""
    one = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64)))
    chunk = max(1, min(total, _CHUNK_BYTES // one))
    return {"chunks": (chunk, *values.shape[1:]), "compression": compression}
