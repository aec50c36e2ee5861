"""HDF5 files written whole or not at all, on disks that may fill up.

HDF5 can't close a file whose last write failed: it tries again, fails again and takes the whole
process down. So HDF5 writes through a file object that answers "done" from the first failure on
and keeps it; `Hdf5Writing.check` and the end of the block raise it.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from calaudit.formats.aside import written_aside
from calaudit.interrupts import stop_if_asked, unbroken


class _Disk(io.RawIOBase):
    """A file that HDF5 reads and writes; keeps the first failure instead of raising it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._place = 0
        self._size = 0
        self.failure: OSError | None = None
        self.hdf5: h5py.File | None = None

    @unbroken
    def open(self) -> h5py.File:
        """Start an HDF5 file on this one."""
        self.hdf5 = h5py.File(self, "w")
        return self.hdf5

    @unbroken
    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            self._file.seek(self._place)
            while left and self.failure is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.failure = self.failure or error
        self._place += size
        self._size = max(self._size, self._place)
        return size

    @unbroken
    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # what a failed write left out reads as zeros
        try:
            self._file.seek(self._place)
            self._file.readinto(view)
        except OSError as error:
            self.failure = self.failure or error
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
        try:
            self._file.truncate(self._size)
        except OSError as error:
            self.failure = self.failure or error
        return self._size

    @unbroken
    def flush(self) -> None:
        """Nothing is held back."""

    def check(self) -> None:
        stop_if_asked()
        if self.failure is not None:
            raise self.failure

    @unbroken
    def close(self) -> None:
        """Close HDF5's file and then this one: an HDF5 file left open would still write to it."""
        if self.hdf5 is not None:
            self.hdf5.close()
            self.hdf5 = None
        self._file.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Hdf5Writing:
    """An HDF5 file that is being written."""

    file: h5py.File
    check: Callable[[], None]
    """Call between batches: raises when the disk is full or the user asked to end."""


@contextmanager
def written_hdf5(path: Path) -> Iterator[Hdf5Writing]:
    """Yield a new HDF5 file that appears at `path` when the block ends without error.

    Raises
    ------
    OutputError
        `path` can't be written, or its disk is full.
    """
    with written_aside(path) as aside:
        disk = _Disk(aside)
        try:
            yield Hdf5Writing(disk.open(), disk.check)
        finally:
            disk.close()
            # A failed write, those of closing included, is why whatever followed went wrong.
            disk.check()
