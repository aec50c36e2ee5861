"""Predictions on disk: what one engine answered for a list of pool rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.errors import FileFormatError
from calaudit.formats.hdf5_writing import written_hdf5
from calaudit.pool import Rows

FORMAT = "predictions"
# 1: /rows (n,), /outputs/<name> (n, …)
FORMAT_VERSION = 1


class Predictions:
    """Outputs of one engine for `rows`, read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                kind, version = file.attrs.get("calaudit_format"), file.attrs.get("format_version")
                if kind != FORMAT or version != FORMAT_VERSION:
                    raise FileFormatError(
                        f"isn't a predictions file of version {FORMAT_VERSION} "
                        f"(it says {kind!r}, {version!r})",
                        where=path,
                        next_step="Delete it and run the audit again.",
                    )
                self.rows: Rows = file["rows"][:].astype(np.int64)
                self.output_names: tuple[str, ...] = tuple(file["outputs"])
        except (OSError, KeyError) as error:
            raise FileFormatError(
                f"can't be read: {error}",
                where=path,
                next_step="Delete it and run the audit again.",
            ) from None

    def read(self, output: str, rows: Rows | None = None) -> NDArray[Any]:
        """One output (n, …), for all rows or for those asked for (a subset of `self.rows`)."""
        with h5py.File(self.path, "r") as file:
            values: NDArray[Any] = file["outputs"][output][:]
        if rows is None:
            return values
        return values[np.searchsorted(self.rows, rows)]


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
    with written_hdf5(path) as writing:
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
        if name not in group:
            group.create_dataset(name, shape=(total, *values.shape[1:]), dtype=values.dtype)
        group[name][done : done + size] = values
    return done + size
