"""Pools from .npz files, block by block. Pickled objects are refused, never loaded."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.importers.media import as_asked, check_named
from calaudit.formats.importers.npy import read_header
from calaudit.formats.importers.samples import Classes, Imported
from calaudit.formats.pool_columns import as_series
from calaudit.formats.pool_layout import IDS
from calaudit.formats.pool_writer import PoolWriter
from calaudit.formats.rows import rows_not_finite
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import (
    FileFormatError,
    Notice,
    PoolError,
    Problem,
    SettingsError,
    near,
    unreadable,
)
from calaudit.runtime.progress import counter
from calaudit.runtime.words import command_line, counted, first_of

_BLOCK_BYTES = 32 << 20
_SHOWN = 5
_ROLES = ("inputs", "targets", "meta", "items")
_FLAGS = {"inputs": "--input", "targets": "--target", "meta": "--meta", "items": "--item"}


def open_npz(path: Path) -> zipfile.ZipFile:
    """Open an .npz file, which is a zip archive of .npy files.

    Raises
    ------
    FileFormatError
        Missing, or not such an archive.
    """
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except (zipfile.BadZipFile, OSError) as error:
        what, step = "isn't a readable .npz file", "Save it again with numpy.savez."
        raise FileFormatError.of([unreadable(error, path, what, step)]) from None


def arrays_in(archive: zipfile.ZipFile, path: Path) -> dict[str, "NpzArray"]:
    """All arrays of an archive by name; only their headers are read."""
    return {
        name.removesuffix(".npy"): NpzArray(archive, name, path)
        for name in archive.namelist()
        if name.endswith(".npy")
    }


class NpzArray:
    """One array of an archive, read from its first row to its last."""

    def __init__(self, archive: zipfile.ZipFile, member: str, path: Path) -> None:
        self._archive = archive
        self._member = member
        self.where = f"{path}: {member.removesuffix('.npy')}"
        """The file and the array, for messages."""
        with archive.open(member) as stream:
            self.shape, self._fortran, self.dtype = self._header(stream)
        self._stream: IO[bytes] | None = None
        self._columnwise: NDArray[Any] | None = None
        self._done = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, at least 1."""
        return max(1, self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64)))

    def refusal(self) -> Problem | None:
        """The problem with an array that would have to be unpickled."""
        if not self.dtype.hasobject:
            return None
        return Problem(
            "holds pickled Python objects, which may run code when loaded; they are never loaded",
            self.where,
            "Save it as numbers or fixed-length text: array.astype(float) or array.astype(str).",
        )

    def take(self, n: int) -> NDArray[Any]:
        """The next `n` rows, (n, …).

        Raises
        ------
        FileFormatError
            The archive is damaged.
        """
        start, self._done = self._done, self._done + n
        if self._fortran:
            # Rows of a column-major array lie scattered over all of it.
            if self._columnwise is None:
                self._columnwise = self.whole()
            return self._columnwise[start : start + n]
        if self._stream is None:
            self._stream = self._archive.open(self._member)
            self._header(self._stream)
        return self._read(self._stream, n * self.row_bytes).reshape(n, *self.shape[1:])

    def whole(self) -> NDArray[Any]:
        """The whole array."""
        count = int(np.prod(self.shape, dtype=np.int64))
        with self._archive.open(self._member) as stream:
            self._header(stream)
            flat = self._read(stream, count * self.dtype.itemsize)
        return flat.reshape(self.shape[::-1]).T if self._fortran else flat.reshape(self.shape)

    def _read(self, stream: IO[bytes], size: int) -> NDArray[Any]:
        try:
            raw = stream.read(size)
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise self._damaged(str(error)) from None
        if len(raw) < size:
            raise self._damaged(f"{size} bytes expected, {len(raw)} found")
        return np.frombuffer(raw, self.dtype)

    def _header(self, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            return read_header(stream)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, what: str) -> FileFormatError:
        return FileFormatError(
            f"is damaged: {what}", where=self.where, next_step="Save or copy the .npz again."
        )


@dataclass(frozen=True, slots=True)
class Roles:
    """Which array of the source becomes what in the pool: pool name → source name."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    ids: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was named."""
        return self.ids is None and not any(getattr(self, role) for role in _ROLES)


def import_npz(
    source: Path,
    out: Path,
    roles: Roles | None = None,
    *,
    dtypes: Mapping[str, str] | None = None,
    classes: Classes | None = None,
    compress: bool = False,
) -> Imported:
    """Write the arrays of an .npz file as a pool.

    Parameters
    ----------
    source : Path
        The .npz file.
    out : Path
        The pool.
    roles : Roles, optional
        What each array becomes. Without it the arrays' names must say so: ``inputs/x``,
        ``targets/label``, ``meta/noise``, ``items/popularity``, ``ids``.
    dtypes : mapping, optional
        Element types of inputs, by name or ``"*"``; by default as they are stored.
    classes, compress
        See `PoolWriter`.

    Returns
    -------
    Number of samples written, and notices of arrays left out and of targets that are missing.

    Raises
    ------
    FileFormatError
        Missing, not an .npz, damaged, or an array that holds pickled objects.
    SettingsError
        Arrays without a role, or roles without an array.
    PoolError
        Differing N, NaN inputs.
    OutputError
        `out` can't be written, or is `source`.
    """
    keep_apart(out, source)
    with open_npz(source) as archive:
        arrays = arrays_in(archive, source)
        roles = _prefixed(list(arrays), source) if roles is None or roles.empty else roles
        _check_known(roles, arrays, source)
        check_named(dtypes or {}, roles.inputs, where=source)
        n = _same_n(roles, arrays, source)
        used = {array for array, _ in _named(roles)}
        with PoolWriter(out, classes=classes, compress=compress) as pool:
            unknown = _write(pool, roles, arrays, n, dtypes=dtypes or {})
    notices = [_unknown_notice(name, ids, n, source) for name, ids in unknown.items()]
    left = [name for name in arrays if name not in used]
    if left:
        notices.append(Notice("left_out", f"arrays left out: {', '.join(left)}", str(source)))
    return Imported(n, tuple(notices))


def _unknown_notice(target: str, ids: Sequence[str], n: int, source: Path) -> Notice:
    return Notice(
        "targets_missing",
        f"target {target} is NaN or infinite for {len(ids):,} of {counted(n, 'sample')}, "
        "so they can't be "
        f"evaluated: {first_of(ids[:_SHOWN], len(ids))}",
        str(source),
    )


def _prefixed(names: list[str], source: Path) -> Roles:
    found: dict[str, dict[str, str]] = {role: {} for role in _ROLES}
    problems = []
    for name in names:
        role, _, rest = name.partition("/")
        if role in found and rest:
            found[role][rest] = name
        elif name != "ids":
            problems.append(
                Problem(
                    f"array {name!r} has no role",
                    str(source),
                    f"Say what each array is, for example {command_line('--input', name)}, "
                    "or save it under a name such as inputs/x, targets/label, meta/noise.",
                )
            )
    if problems:
        raise SettingsError.of(problems)
    return Roles(**found, ids="ids" if "ids" in names else None)


def _named(roles: Roles) -> Iterator[tuple[str, str]]:
    """Source array and flag of everything that was named."""
    for role in _ROLES:
        for array in getattr(roles, role).values():
            yield array, _FLAGS[role]
    if roles.ids is not None:
        yield roles.ids, "--ids"


def _check_known(roles: Roles, arrays: Mapping[str, NpzArray], source: Path) -> None:
    unknown = [
        Problem(f"there is no array {array!r}", f"{source}: {flag}", near(array, arrays))
        for array, flag in _named(roles)
        if array not in arrays
    ]
    named = [array for array, _ in _named(roles)]
    unknown += [
        Problem(f"array {array!r} is given several roles", str(source), "Give it one.")
        for array in dict.fromkeys(named)
        if named.count(array) > 1
    ]
    if not roles.inputs:
        unknown.append(
            Problem("no array is an input", str(source), "Name the model's inputs: --input x.")
        )
    if unknown:
        raise SettingsError.of(unknown)
    refused = [
        problem for array, _ in _named(roles) if (problem := arrays[array].refusal()) is not None
    ]
    if refused:
        raise FileFormatError.of(refused)


def _same_n(roles: Roles, arrays: Mapping[str, NpzArray], source: Path) -> int:
    items = set(roles.items.values())
    shapes = {array: arrays[array].shape for array, _ in _named(roles) if array not in items}
    scalars = [array for array, shape in shapes.items() if not shape]
    sizes = {array: shape[0] for array, shape in shapes.items() if shape}
    if scalars or len(set(sizes.values())) > 1:
        listed = [f"{array} has {size}" for array, size in sizes.items()]
        listed += [f"{array} is a single value" for array in scalars]
        raise PoolError(
            f"arrays differ in their number of samples: {', '.join(listed)}",
            where=source,
            next_step="Save every array with one row per sample.",
        )
    n = next(iter(sizes.values()))
    if n == 0:
        raise PoolError("its arrays hold no samples", where=source, next_step="Save some.")
    return n


def _write(
    pool: PoolWriter,
    roles: Roles,
    arrays: Mapping[str, NpzArray],
    n: int,
    *,
    dtypes: Mapping[str, str],
) -> dict[str, list[str]]:
    """Write all samples. Returns target → ids of the samples for which it isn't finite."""
    unknown: dict[str, list[str]] = {}
    streams = {
        (role, name): arrays[array]
        for role in ("inputs", "targets", "meta")
        for name, array in getattr(roles, role).items()
    }
    ids = None if roles.ids is None else arrays[roles.ids]
    step = max(1, _BLOCK_BYTES // max(array.row_bytes for array in streams.values()))
    with counter(n, what="import") as done:
        for start in range(0, n, step):
            size = min(step, n - start)
            parts: dict[str, dict[str, NDArray[Any]]] = {"inputs": {}, "targets": {}, "meta": {}}
            for (role, name), array in streams.items():
                values = array.take(size)
                if role == "inputs":
                    values = as_asked(name, values, dtypes, where=array.where)
                parts[role][name] = values
            taken = None if ids is None else _texts(ids.take(size), str(pool.path))
            for name, values in parts["targets"].items():
                for at in rows_not_finite(values).tolist():
                    row_id = str(start + at) if taken is None else taken[at]
                    unknown.setdefault(name, []).append(row_id)
            pool.append(parts["inputs"], parts["targets"], parts["meta"], taken)
            done.advance(size)
    if roles.items:
        pool.write_items({name: arrays[array].whole() for name, array in roles.items.items()})
    return unknown


def _texts(ids: NDArray[Any], where: str) -> list[str]:
    """Ids as text, also those that are numbers."""
    return [text or "" for text in as_series(IDS, ids, where=where).cast(pl.String)]
