"""HDF5: files opened with a clear word on what is wrong with them, what they hold, their texts.

Links are followed, hard, soft and external ones: `h5py.Group.visititems` follows no soft and no
external link, and sees a dataset under one name only; what is linked would be missing without a
word. Text columns are UTF-8, of fixed length where that is compact (an order of magnitude faster to
read, since no text becomes a Python object), of any length otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.rows import blocks, runs
from calaudit.runtime.errors import FileFormatError, PoolError, unreadable
from calaudit.runtime.pool import Rows

DAMAGE = (OSError, KeyError, RuntimeError)
"""What h5py raises where a file isn't whole."""
CACHE_BYTES = 32 << 20
"""Chunk cache per dataset: a chunk that is cut by two reads is decompressed once."""

_ROOMY = 64
"""Bytes up to which every text gets the same room, whatever the mean length is."""
_WASTE = 4
"""Above that, fixed length may take this many times the bytes of the texts themselves."""

_CALLED = {"calibset": "calibration set", "ranges": "ranges file"}
"""Kinds that files name otherwise than people."""


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
    except PermissionError as error:
        raise FileFormatError.of([unreadable(error, path, "", "")]) from None
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
                "Its values are in another file, which doesn't exist: copy it there, or store "
                "the values here."
            )
        raise FileFormatError(
            f"/{name} can't be read: {error}", where=path, next_step=step
        ) from error


def _unreadable(path: Path, error: Exception, made_by: str) -> FileFormatError:
    if "truncated file" in str(error):
        return FileFormatError(
            "is truncated: the HDF5 file ends before its end marker",
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
            f"is an HDF5 file, but not a calaudit {_CALLED.get(kind, kind)}: its root has {what}",
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


def node_at(file: h5py.File, name: str) -> h5py.Group | h5py.Dataset | None:
    """What stands under a top-level name; None where nothing does.

    Raises
    ------
    FileFormatError
        A link leads nowhere.
    """
    return _followed(file, name, name) if file.get(name, getlink=True) is not None else None


def datasets_in(file: h5py.File, group: str) -> dict[str, h5py.Dataset]:
    """All datasets under a top-level group, by their path below it, in name order.

    A tensor name with slashes (``encoder/x``) is stored as nested groups and found as one name.
    Links of every kind are followed; a dataset with two names is found under both.

    Raises
    ------
    FileFormatError
        A name isn't UTF-8; a link leads nowhere or in a circle; a virtual dataset's source is
        missing, for which HDF5 would give zeros.
    """
    node = node_at(file, group)
    found = dict(_datasets(node, group, ())) if isinstance(node, h5py.Group) else {}
    start = len(group) + 1
    return dict(sorted((path[start:], dataset) for path, dataset in found.items()))


def _datasets(
    group: h5py.Group, path: str, above: tuple[h5py.Group, ...]
) -> Iterator[tuple[str, h5py.Dataset]]:
    if group in above:
        raise FileFormatError(
            f"/{path} is a link to a group that it lies in",
            where=group.file.filename,
            next_step="Remove the link.",
        )
    for name in group:
        if isinstance(name, bytes) or not _is_utf8(name):
            raise FileFormatError(
                f"/{path} holds a name that isn't UTF-8: {name!r}",
                where=group.file.filename,
                next_step="The file may be damaged; build it again.",
            )
        below = f"{path}/{name}"
        node = _followed(group, name, below)
        if isinstance(node, h5py.Group):
            yield from _datasets(node, below, (*above, group))
        elif isinstance(node, h5py.Dataset):
            _check_sources(node, below)
            yield below, node


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _followed(group: h5py.Group, name: str, path: str) -> h5py.Group | h5py.Dataset:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.HardLink):
        return group[name]
    try:
        return group[name]
    except (KeyError, OSError):
        target = link.path
        if isinstance(link, h5py.ExternalLink):
            target = f"{target} of {link.filename}"
        raise FileFormatError(
            f"/{path} is a link to {target}, which doesn't exist",
            where=group.file.filename,
            next_step="Put it there, or remove the link.",
        ) from None


def _check_sources(dataset: h5py.Dataset, path: str) -> None:
    """Refuse a virtual dataset of which a source is missing: its values would read as zeros."""
    if not dataset.is_virtual:
        return
    folder = Path(dataset.file.filename).parent
    for source in dataset.virtual_sources():
        if _has_source(dataset, folder, source.file_name, source.dset_name):
            continue
        raise FileFormatError(
            f"/{path} is made of {source.dset_name} of {source.file_name}, which doesn't exist",
            where=dataset.file.filename,
            next_step="Put it there, or store the values themselves.",
        )


def _has_source(dataset: h5py.Dataset, folder: Path, file_name: str, name: str) -> bool:
    if file_name == ".":
        return name in dataset.file
    path = next((each for each in (Path(file_name), folder / file_name) if each.is_file()), None)
    if path is None:
        return False
    try:
        with h5py.File(path, "r", locking=False) as file:
            return name in file
    except OSError:
        return False


def is_text(dataset: h5py.Dataset) -> bool:
    """Whether a dataset holds text, of fixed or any length."""
    return h5py.check_string_dtype(dataset.dtype) is not None


def read_texts(dataset: h5py.Dataset, rows: Rows | None = None, *, where: str) -> pl.Series:
    """Read a text dataset (N,) as a polars String series: all of it, or ascending `rows`.

    Raises
    ------
    PoolError
        Some text isn't UTF-8; `where` names the file and dataset.
    """
    parts: list[pl.Series] = []
    if rows is None:
        parts.extend(decode(dataset[span], where=where) for span in blocks(dataset))
    else:
        parts.extend(
            decode(dataset[span][wanted], where=where) for span, wanted in runs(dataset, rows)
        )
    return pl.concat(parts, rechunk=False) if parts else pl.Series(dtype=pl.String)


def write_texts(group: h5py.Group, name: str, texts: pl.Series) -> h5py.Dataset:
    """Write a String series (n,) as a dataset; null becomes empty text."""
    filled = texts.fill_null("")
    lengths = filled.str.len_bytes()
    longest = int(lengths.to_numpy().max(initial=0))
    total = int(lengths.sum())
    width = max(1, longest)
    values: NDArray[Any]
    if width <= _ROOMY or width * len(filled) <= _WASTE * total:
        values = encode(filled, width)
    else:
        values = filled.to_numpy()
        return group.create_dataset(name, data=values, dtype=h5py.string_dtype("utf-8"))
    return group.create_dataset(name, data=values)


def encode(texts: pl.Series, width: int) -> NDArray[np.bytes_]:
    """A String series as fixed-length UTF-8 (n,), zero-padded to `width` bytes."""
    out: NDArray[np.bytes_] = np.zeros(len(texts), h5py.string_dtype("utf-8", width))
    step = 1 << 18
    for start in range(0, len(texts), step):
        piece = texts.slice(start, step).cast(pl.Binary).to_list()
        out[start : start + len(piece)] = np.array(piece, dtype=f"S{width}")
    return out


def decode(values: NDArray[Any], *, where: str) -> pl.Series:
    """Text as h5py reads it, fixed-length bytes or objects (n,), as a String series.

    Raises
    ------
    PoolError
        Some text isn't UTF-8.
    """
    raw = values if values.dtype.kind == "S" else values.tolist()
    try:
        return pl.Series(raw, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.PolarsError:
        raise PoolError(
            "holds text that isn't UTF-8", where=where, next_step="Store text as UTF-8."
        ) from None
