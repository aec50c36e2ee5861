"""Files written whole or not at all: aside and renamed into place, on disks that may fill up.

HDF5 can't close a file whose last write failed: it tries again, fails again and takes the whole
process down. So HDF5 writes through a file object that answers "done" from the first failure on
and keeps it; `Hdf5Writing.check` and the end of the block raise it.
"""

import atexit
import io
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import h5py

from calaudit.formats.leftovers import open_locked
from calaudit.runtime.errors import CalauditError, OutputError, Problem
from calaudit.runtime.interrupts import Kept, listening, stop_if_asked, unbroken

_in_flight: dict[Path, int] = {}
"""Partial files, and the file descriptor that holds each."""
_disks: "set[_Disk]" = set()
"""Those with an HDF5 file open on them."""

_TAKE_BYTES = 8 << 20
"""What is written before the disk is asked to take it."""

_TEMPORARY = re.compile(r"calaudit-([a-z]+-)?[a-z0-9_]{8}")
"""Folders that commands make for themselves in the temporary folder."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place.

    On any exception (Ctrl-C included) the temporary file is removed and `path` is untouched. Where
    `path` is a link, what it leads to is written.

    Raises
    ------
    OutputError
        `path` is a folder or a device, its folder can't be made or written to, or the disk is full.
    """
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    aside = place.parent / f".{place.name}.{secrets.token_hex(4)}.part"
    with listening():
        try:
            _check_name(path)
            _create(aside)
            stop_if_asked()
            yield aside
            _sync(aside)
            os.replace(aside, place)
        except OSError as error:
            raise _unwritable(path, error) from error
        finally:
            _remove(aside)


def check_room(folder: Path, sizes: Sequence[int]) -> None:
    """Refuse a folder that has no room for files of these sizes, in bytes, side by side.

    Raises
    ------
    OutputError
        The disk is full, or a file may not be as large.
    """
    tried: list[Path] = []
    try:
        for number, size in enumerate(sizes):
            tried.append(folder / f"room.{number}")
            with tried[-1].open("wb") as file:
                if size and hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise _unwritable(tried[-1], error) from error
    finally:
        for path in tried:
            _remove(path)


def keep_apart(out: Path, *sources: Path) -> None:
    """Refuse to write a result over one of the files it is made from.

    Raises
    ------
    OutputError
        `out` is the same file as one of `sources`, whatever the two are called.
    """
    for source in sources:
        if out.exists() and source.exists() and out.samefile(source):
            raise OutputError(
                f"is an input of this command ({source}) and would be overwritten",
                where=out,
                next_step="Write to another file.",
            )


def write_text(path: Path, text: str, *, check: Callable[[Path], object] | None = None) -> None:
    """Write a UTF-8 text file, whole or not at all; `check` as for :func:`written_hdf5`."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")
        if check is not None:
            _check_readable(aside, path, check)


def _check_readable(aside: Path, path: Path, check: Callable[[Path], object]) -> None:
    """Refuse a file that its own reader refuses; what `path` holds stays. Raises `OutputError`."""
    try:
        check(aside)
    except CalauditError as error:
        raise OutputError.of(
            Problem(
                "wasn't written, since it couldn't be read again: "
                + (each.message if each.where is None else f"{each.where}: {each.message}")
                .replace(f"{aside}: ", "")
                .replace(str(aside), str(path)),
                str(path),
                "Check the values that were given; what was there before is as it was.",
            )
            for each in error.problems
        ) from error


class _Disk(io.RawIOBase):
    """A file that HDF5 reads and writes; keeps the first failure instead of raising it.

    The disk begins with what is written while more is computed. Left to the end, it would have
    nothing to do before, and the cores nothing after.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._place = 0
        self._size = 0
        self._taken = 0
        self._lock = Lock()
        self._kept = Kept()
        self.hdf5: h5py.File | None = None

    @unbroken
    def open(self) -> h5py.File:
        """Start an HDF5 file on this one."""
        self.hdf5 = h5py.File(self, "w")
        _disks.add(self)
        return self.hdf5

    @unbroken
    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        with self._kept:
            self._file.seek(self._place)
            while left and not self._kept.errors:
                left = left[self._file.write(left) :]
        self._place += size
        self._grown(self._place)
        return size

    def write_at(self, place: int, data: Any) -> None:
        """Write where HDF5 left room, from any thread. Raises `OSError`."""
        left = memoryview(data).cast("B")
        while left:
            n = os.pwrite(self._file.fileno(), left, place)
            left, place = left[n:], place + n
        self._grown(place)

    def _grown(self, end: int) -> None:
        """Note how far the file reaches, and have the disk begin with what is new."""
        with self._lock:
            self._size = max(self._size, end)
            start, size = self._taken, self._size - self._taken
            if size < _TAKE_BYTES:
                return
            self._taken = self._size
        _take(self._file.fileno(), start, size)

    @unbroken
    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # what a failed write left out reads as zeros
        with self._kept:
            self._file.seek(self._place)
            self._file.readinto(view)
        n = max(0, min(len(view), self._size - self._place))
        self._place += n
        return n

    @unbroken
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    @unbroken
    def tell(self) -> int:
        return self._place

    @unbroken
    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        with self._kept:
            self._file.truncate(self._size)
        return self._size

    @unbroken
    def flush(self) -> None:
        """Nothing is held back."""

    def check(self) -> None:
        stop_if_asked()
        self._kept.raise_first()

    @unbroken
    def close(self) -> None:
        """Close HDF5's file and then this one: an HDF5 file left open would still write to it."""
        if self.hdf5 is not None:
            self.hdf5.close()
            self.hdf5 = None
        _disks.discard(self)
        self._file.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Hdf5Writing:
    """An HDF5 file that is being written."""

    file: h5py.File
    check: Callable[[], None]
    """Call between batches: raises when the disk is full or the user asked to end."""
    write_at: Callable[[int, Any], None]
    """Writes bytes at a place in the file that HDF5 gave to a dataset; any thread may call it."""


@contextmanager
def written_hdf5(path: Path, *, check: Callable[[Path], object]) -> Iterator[Hdf5Writing]:
    """Yield a new HDF5 file that appears at `path` when the block ends without error.

    Parameters
    ----------
    path : Path
    check : callable
        Opens the finished file as its reader does, before it takes the place of what is there.

    Raises
    ------
    OutputError
        `path` can't be written, its disk is full, or `check` refuses what was written.
    """
    with atomic_write(path) as aside:
        disk = _Disk(aside)
        try:
            yield Hdf5Writing(disk.open(), disk.check, disk.write_at)
        finally:
            disk.close()
            # A failed write, those of closing included, is why whatever followed went wrong.
            disk.check()
        _check_readable(aside, path, check)


def _check_name(path: Path) -> None:
    if not path.name or (path.exists() and not path.is_file()):
        kind = "folder" if path.is_dir() else "device or pipe"
        raise OutputError(
            f"is a {kind}, not a file to write",
            where=path,
            next_step="Name the file, such as results/out.h5.",
        )


@unbroken
def _create(aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    _in_flight[aside] = open_locked(aside)


@unbroken
def _remove(aside: Path) -> None:
    held = _in_flight.pop(aside, None)
    if held is not None:
        # Where its folder became read-only, what kept the file from being finished is told already.
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        os.close(held)


@atexit.register
def _remove_all() -> None:
    # A request to end can arrive where Python leaves a `with` block without running its end.
    for disk in tuple(_disks):
        disk.close()  # HDF5 would close it once no Python is left to write for it
    for aside in tuple(_in_flight):
        _remove(aside)


def _take(descriptor: int, start: int, size: int) -> None:
    """Have the disk begin with a part of a file, without waiting for it.

    Linux starts to write what isn't wanted in memory, and leaves there what isn't on the disk yet.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # an advice; what is wrong with the disk is told by fsync
            os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_DONTNEED)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> OutputError:
    aside = Path(tempfile.gettempdir())
    if any(each.parent == aside and _TEMPORARY.fullmatch(each.name) for each in path.parents):
        return OutputError(
            f"the temporary folder can't be written to: {error.strerror or error}",
            where=aside,
            next_step="Free space there, or name another folder by the environment variable "
            "TMPDIR.",
        )
    return OutputError(
        f"can't be written: {error.strerror or error}",
        where=path,
        next_step="Choose another output folder, or check its free space and permissions.",
    )
