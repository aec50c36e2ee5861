"""Predictions on disk: what one engine answered for a list of pool rows."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.formats.hdf5 import datasets_in, open_hdf5, reading
from calaudit.formats.writing import written_hdf5
from calaudit.runtime.errors import FileFormatError, near
from calaudit.runtime.pool import Rows

FORMAT = "predictions"
# 1: /rows (n,), /outputs/<name> (n, …); where HDF5 would take the name apart, it is quoted as in an
#    address, and stands in the dataset's attribute "name"
FORMAT_VERSION = 1
_TAKEN_WHOLE = re.compile(r"[^./%\0][^/%\0]*")
"""Names that HDF5 takes for one part of a path, and that don't look quoted."""
_AGAIN = "Delete it and run the audit again."


class Predictions:
    """Outputs of one engine for `rows`, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file, reading(path, "rows or /outputs"):
            rows, outputs = file.get("rows"), datasets_in(file, "outputs")
            if not _is_list(rows) or rows.dtype.kind not in "iu":
                raise FileFormatError("/rows isn't a list of rows", where=path, next_step=_AGAIN)
            self.rows: Rows = rows[:].astype(np.int64)
            wrong = [name for name, each in outputs.items() if not _fits(each, len(self.rows))]
            self._stored_as = {str(each.attrs.get("name", n)): n for n, each in outputs.items()}
        self.output_names: tuple[str, ...] = tuple(sorted(self._stored_as))
        if (np.diff(self.rows) <= 0).any():
            raise FileFormatError("/rows doesn't ascend", where=path, next_step=_AGAIN)
        if wrong or not outputs:
            raise FileFormatError(
                f"{', '.join(wrong) or 'no output'} holds numbers for its {len(self.rows)} rows",
                where=path,
                next_step=_AGAIN,
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
        with self._open() as file, reading(self.path, f"outputs/{output}"):
            values: NDArray[Any] = file["outputs"][self._stored_as[output]][:]
        if rows is None:
            return values
        if not np.isin(rows, self.rows).all():
            raise FileFormatError(
                "lacks rows that are asked for", where=self.path, next_step=_AGAIN
            )
        return values[np.searchsorted(self.rows, rows)]

    def _open(self) -> h5py.File:
        return open_hdf5(self.path, kind=FORMAT, version=FORMAT_VERSION, made_by="an audit")


def _is_list(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.shape is not None and len(node.shape) == 1


def _fits(dataset: h5py.Dataset, n_rows: int) -> bool:
    shape = dataset.shape
    return bool(shape) and shape[0] == n_rows and dataset.dtype.kind in "fiub"


def write_predictions(
    path: Path, rows: Rows, batches: Iterable[Mapping[str, NDArray[Any]]]
) -> Predictions:
    """Write predictions batch by batch.

    Parameters
    ----------
    path : Path
    rows : int64 (n,)
        Pool rows, ascending.
    batches : iterable of mapping
        Output name → (b, …) arrays; the b's add up to n.

    Raises
    ------
    FileFormatError
        The batches hold more or fewer rows than `rows`.
    OutputError
        The file can't be written.
    """
    with written_hdf5(path, check=Predictions) as writing:
        file = writing.file
        file.attrs.update(calaudit_format=FORMAT, format_version=FORMAT_VERSION)
        file["rows"] = rows
        outputs = file.create_group("outputs")
        done = 0
        for batch in batches:
            done = _append(outputs, batch, done, len(rows), path)
            writing.check()
        if done != len(rows):
            raise FileFormatError(f"{done} of {len(rows)} rows were predicted", where=path)
    return Predictions(path)


def _append(
    group: h5py.Group, batch: Mapping[str, NDArray[Any]], done: int, total: int, path: Path
) -> int:
    sizes = {len(values) for values in batch.values()}
    if len(sizes) != 1 or done + max(sizes) > total:
        raise FileFormatError(
            f"outputs of {sorted(sizes)} rows at row {done} of {total}", where=path
        )
    size = sizes.pop()
    for name, values in batch.items():
        place = name if _TAKEN_WHOLE.fullmatch(name) else quote(name, safe="").replace(".", "%2E")
        if place not in group:
            group.create_dataset(place, shape=(total, *values.shape[1:]), dtype=values.dtype)
            if place != name:
                group[place].attrs["name"] = name
        group[place][done : done + size] = values
    return done + size
