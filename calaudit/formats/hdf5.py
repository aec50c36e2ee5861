"""HDF5 files that say what they are: opened with a clear word on what is wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from calaudit.errors import FileFormatError

DAMAGE = (OSError, KeyError, RuntimeError)
"""What h5py raises where a file isn't whole."""
CACHE_BYTES = 32 << 20
"""Chunk cache per dataset: a chunk that is cut by two reads is decompressed once."""


def open_hdf5(path: Path, *, kind: str, version: int, made_by: str) -> h5py.File:
    """Open a file for reading whose root attributes declare `kind` in a version up to `version`.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Expected attribute ``calaudit_format``, such as ``"pool"``.
    version : int
        Newest ``format_version`` this release reads.
    made_by : str
        What makes such a file, for the next step: ``"`calaudit pool import`"``.

    Raises
    ------
    FileFormatError
        The file is missing, not HDF5, cut short, of another kind, or of a newer version.
    """
    if not path.exists():
        raise FileFormatError(
            "there is no such file", where=path, next_step=f"Check the path; {made_by} makes one."
        )
    if path.is_dir():
        raise FileFormatError("is a folder, not a file", where=path, next_step="Name the file.")
    try:
        # Readers never lock: finished files are renamed into place and not changed again.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
    except PermissionError:
        raise FileFormatError(
            "may not be read", where=path, next_step="Give yourself the right to read it."
        ) from None
    except OSError as error:
        raise _unreadable(path, error, made_by) from None
    try:
        _check_kind(file, path, kind, version, made_by)
    except FileFormatError:
        file.close()
        raise
    except DAMAGE as error:
        file.close()
        raise _unreadable(path, error, made_by) from None
    return file


def mark(file: h5py.File, *, kind: str, version: int) -> None:
    """Write the root attributes that :func:`open_hdf5` checks."""
    file.attrs["calaudit_format"] = kind
    file.attrs["format_version"] = version


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """Turn what HDF5 says about damaged data into a `FileFormatError` that names the dataset.

    Where a file's own structure is damaged h5py says so by `KeyError` and `RuntimeError` as well.
    """
    try:
        yield
    except DAMAGE as error:
        said = str(error)
        step = "The file is damaged or was changed while in use; build it again."
        if "filter" in said and "not registered" in said:
            step = "Store it without compression or with gzip, which every h5py reads."
        elif "external raw data file" in said:
            step = (
                "Its values lie in another file, which isn't there: bring it, or store them here."
            )
        raise FileFormatError(
            f"/{name} can't be read: {error}", where=path, next_step=step
        ) from error


def _unreadable(path: Path, error: Exception, made_by: str) -> FileFormatError:
    if "truncated file" in str(error):
        return FileFormatError(
            "is cut short: the HDF5 file ends before its own end mark",
            where=path,
            next_step=f"Copy it again, or build it again with {made_by}.",
        )
    if "signature not found" in str(error):
        return FileFormatError(
            "isn't an HDF5 file", where=path, next_step=f"Check the path; {made_by} makes one."
        )
    return FileFormatError(
        f"can't be read as HDF5: {error}",
        where=path,
        next_step=f"The file may be damaged; copy it again, or build it again with {made_by}.",
    )


def _check_kind(file: h5py.File, path: Path, kind: str, version: int, made_by: str) -> None:
    found_kind = file.attrs.get("calaudit_format")
    if isinstance(found_kind, bytes):
        found_kind = found_kind.decode("utf-8", "replace")
    if not isinstance(found_kind, str) or found_kind != kind:
        what = "no calaudit_format" if found_kind is None else f"calaudit_format {found_kind!r}"
        raise FileFormatError(
            f"is an HDF5 file, but not a calaudit {kind}: its root has {what}",
            where=path,
            next_step=f"Check the path; {made_by} makes one.",
        )
    found_version = file.attrs.get("format_version")
    if not isinstance(found_version, int | np.integer) or found_version < 1:
        raise FileFormatError(
            f"has format_version {found_version!r}, which is not a version number",
            where=path,
            next_step=f"Build it again with {made_by}.",
        )
    if found_version > version:
        raise FileFormatError(
            f"has format_version {found_version}; this release reads up to {version}",
            where=path,
            next_step="Update calaudit, or build the file with this release.",
        )
