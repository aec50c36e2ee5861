"""One array of a file, written batch by batch in blocks of whole chunks."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError

CHUNK_BYTES = 256 << 10
"""Aim for one chunk: small enough for reading scattered samples, large enough to be quick."""
CHUNK_ROWS = 1 << 16
"""Most rows in a chunk."""
_FLUSH_CHUNKS = 16


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
        Store with gzip (level 1) and byte shuffling.
    """

    def __init__(self, file: h5py.File, key: str, first: NDArray[Any], *, compress: bool) -> None:
        self._file = file
        self._key = key
        self._dtype = first.dtype.newbyteorder("=")
        self._shape = first.shape[1:]
        size = max(1, self._dtype.itemsize * int(np.prod(self._shape, dtype=np.int64)))
        self._chunk = min(max(1, CHUNK_BYTES // size), CHUNK_ROWS)
        self._filters: dict[str, Any] = (
            {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress else {}
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
        """Append a checked batch (n, …)."""
        self._pending.append(np.array(values, self._dtype))
        self._n_pending += len(values)
        if self._n_pending >= _FLUSH_CHUNKS * self._chunk:
            self._flush(self._n_pending - self._n_pending % self._chunk)

    def finish(self) -> None:
        """Write what is left; an array that never filled its buffer is stored in one piece."""
        if self._dataset is None:
            values = self._joined()
            chunks = (min(self._chunk, len(values)), *self._shape) if self._filters else None
            self._file.create_dataset(self._key, data=values, chunks=chunks, **self._filters)
        elif self._n_pending:
            self._flush(self._n_pending)
        self._pending = []

    def _joined(self) -> NDArray[Any]:
        return self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)

    def _flush(self, n: int) -> None:
        values = self._joined()
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
        self._dataset.resize(start + n, axis=0)
        self._dataset[start:] = values[:n]
        self._pending = [values[n:].copy()] if n < len(values) else []
        self._n_pending -= n
