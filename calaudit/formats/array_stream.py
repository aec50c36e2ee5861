"""Arrays that are written to HDF5 as their samples come: a chunk at a time, or row by row.

Chunks are handed to HDF5 as they are to be stored (`write_direct_chunk`). Written through a
selection instead, each value is copied into HDF5's cache first, and compressed by one core under
h5py's lock.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.formats.rows import rows_not_finite
from calaudit.formats.writing import Hdf5Writing
from calaudit.runtime.compiled import map_on_cores
from calaudit.runtime.errors import PoolError

CHUNK_BYTES = 256 << 10
"""Aim for one chunk: small enough for reading scattered samples, large enough to be quick."""
CHUNK_ROWS = 1 << 16
"""Most rows in a chunk."""
_FLUSH_CHUNKS = 16
"""Chunks of an array that is stored in pieces; one of fewer is stored in one."""
_LEVEL = 1
"""Of gzip."""


class ArrayStream:
    """Collects batches of (n, …) and writes them when whole chunks are full.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    key : str
        Path of the dataset, such as ``"inputs/x"``.
    first : (n, …) array
        Sets element type and shape of a sample.
    compress : bool
        Store with gzip (level 1) and byte shuffling, as HDF5's own filters do.
    """

    def __init__(self, file: h5py.File, key: str, first: NDArray[Any], *, compress: bool) -> None:
        self._file = file
        self._key = key
        self._dtype = first.dtype.newbyteorder("=")
        self._shape = first.shape[1:]
        size = max(1, self._dtype.itemsize * int(np.prod(self._shape, dtype=np.int64)))
        self._chunk = min(max(1, CHUNK_BYTES // size), CHUNK_ROWS)
        self._filters: dict[str, Any] = (
            {"compression": "gzip", "compression_opts": _LEVEL, "shuffle": True} if compress else {}
        )
        self._pending: list[NDArray[Any]] = []
        self._n_pending = 0
        self._dataset: h5py.Dataset | None = None

    def check(self, values: NDArray[Any], *, where: str) -> None:
        """Refuse a batch that doesn't continue the first one.

        Raises
        ------
        PoolError
            Another shape, or an element type that would lose digits.
        """
        step = "Give every sample the same element type and shape."
        if values.shape[1:] != self._shape:
            raise PoolError(
                f"{self._key} changes its shape per sample from {self._shape} "
                f"to {values.shape[1:]}",
                where=where,
                next_step=step,
            )
        if not np.can_cast(values.dtype, self._dtype, "safe"):
            raise PoolError(
                f"{self._key} changes its type from {self._dtype} to {values.dtype}",
                where=where,
                next_step=step,
            )

    def add(self, values: NDArray[Any]) -> None:
        """Append a checked batch (n, …); the caller may change it afterwards."""
        values = np.asarray(values, self._dtype, order="C")
        n_chunks = (self._n_pending + len(values)) // self._chunk
        if n_chunks < (_FLUSH_CHUNKS if self._dataset is None else 1):
            self._hold(values.copy())
        else:
            self._write(values)

    def finish(self) -> None:
        """Write what is left; an array of few chunks is stored in one piece."""
        if self._dataset is None:
            values = self._joined()
            chunks = (min(self._chunk, len(values)), *self._shape) if self._filters else None
            self._file.create_dataset(self._key, data=values, chunks=chunks, **self._filters)
        elif self._n_pending:
            start = len(self._dataset)
            self._dataset.resize(start + self._n_pending, axis=0)
            self._dataset[start:] = self._joined()
        self._release()

    def _hold(self, values: NDArray[Any]) -> None:
        self._pending.append(values)
        self._n_pending += len(values)

    def _release(self) -> None:
        self._pending, self._n_pending = [], 0

    def _joined(self) -> NDArray[Any]:
        return self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)

    def _write(self, values: NDArray[Any]) -> None:
        """Write what is pending and `values`, at least a chunk, but for the rows of a last part."""
        if self._dataset is None:
            self._dataset = self._file.create_dataset(
                self._key,
                shape=(0, *self._shape),
                maxshape=(None, *self._shape),
                chunks=(self._chunk, *self._shape),
                dtype=self._dtype,
                **self._filters,
            )
        start = len(self._dataset)
        chunks = list(self._filled(values))
        self._dataset.resize(start + len(chunks) * self._chunk, axis=0)
        # What is stored beyond the first axis begins at 0.
        rest = (0,) * len(self._shape)
        stored = map_on_cores(_deflated, chunks) if self._filters else chunks
        for place, chunk in enumerate(stored):
            self._dataset.id.write_direct_chunk((start + place * self._chunk, *rest), chunk)

    def _filled(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Whole chunks; the rows that are left are held."""
        size = self._chunk
        if self._pending:
            lacking = -self._n_pending % size
            self._hold(values[:lacking])
            yield from np.split(self._joined(), self._n_pending // size)
            self._release()
            values = values[lacking:]
        for start in range(0, len(values) - size + 1, size):
            yield values[start : start + size]
        left = len(values) % size
        if left:
            self._hold(values[-left:].copy())


class ReservedRows:
    """An array of a known number of samples, whose rows are written in any order, by any thread.

    HDF5 says where in the file the array lies, and leaves its bytes to whoever writes them: nobody
    waits for its lock.

    Parameters
    ----------
    writing : Hdf5Writing
    key : str
        Path of the dataset.
    n : int
        Samples, at least one.
    like : (…) array
        Element type and shape of each.
    """

    def __init__(self, writing: Hdf5Writing, key: str, n: int, like: NDArray[Any]) -> None:
        self._done = bytearray(n)
        self._write_at = writing.write_at
        self._shape, self._dtype = like.shape, like.dtype.newbyteorder("=")
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        dataset = writing.file.create_dataset(
            key, shape=(n, *self._shape), dtype=self._dtype, dcpl=settings
        )
        self._start = int(dataset.id.get_offset())

    def write(self, row: int, values: NDArray[Any]) -> bool:
        """Write a sample, or answer False where it has another type or shape, NaN or infinity.

        Raises
        ------
        OSError
            The disk is full.
        """
        if (values.shape, values.dtype) != (self._shape, self._dtype):
            return False
        if len(rows_not_finite(values[None])):
            return False
        values = np.ascontiguousarray(values)
        self._write_at(self._start + row * values.nbytes, values.reshape(-1).view(np.uint8))
        self._done[row] = 1
        return True

    def are_all(self, n: int) -> bool:
        """Whether they are n, and each is written: others would read as zeros."""
        return len(self._done) == n and all(self._done)


def _deflated(chunk: NDArray[Any]) -> bytes:
    """A chunk in C order as HDF5's filters shuffle and gzip leave it.

    Shuffled, the first bytes of all values come first, then their second bytes, and so on.
    """
    each = chunk.reshape(-1).view(np.uint8).reshape(-1, chunk.dtype.itemsize)
    return zlib.compress(each.T.tobytes(), _LEVEL)
