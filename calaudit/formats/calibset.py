"""Calibration sets on disk: the drawn inputs, and how they were drawn."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.counted import counted
from calaudit.errors import FileFormatError, PoolError
from calaudit.formats.array_stream import ArrayStream
from calaudit.formats.drawn import (
    AGAIN,
    DrawnSet,
    read_column,
    read_drawn,
    well_formed,
    write_column,
    write_drawn,
)
from calaudit.formats.fingerprint import digest_rows
from calaudit.formats.finite import not_finite_problem
from calaudit.formats.hdf5 import mark, open_hdf5, reading
from calaudit.formats.hdf5_nodes import datasets_in
from calaudit.formats.hdf5_writing import Hdf5Writing, written_hdf5
from calaudit.pool import TensorSpec
from calaudit.progress import counter

__all__ = ["Calibset", "DrawnSet", "open_calibset", "write_calibset"]

KIND = "calibset"
VERSION = 1
"""Format history: 1, the first."""

_MADE_BY = "`calaudit sample`"
_SHOWN = 5

Batch = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calibset(DrawnSet):
    """A calibration set in a file. Made by :func:`open_calibset`."""

    path: Path
    digests: NDArray[np.str_]
    """(n,) content digest of each sample's inputs (`formats.fingerprint.digest_rows`)."""
    inputs: Mapping[str, TensorSpec]
    """What is stored, by the model's input names."""

    @property
    def fingerprint(self) -> str:
        """Content hash over ids, weights and inputs (32 hexadecimal digits)."""
        whole = hashlib.blake2b(digest_size=16)
        for text in (*self.ids, *self.digests):
            whole.update(f"{text}\0".encode())
        whole.update(self.weights.astype("<f8").tobytes())
        return whole.hexdigest()

    def read_inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Inputs of the samples from `start` to `stop`, each (stop - start, …).

        Raises
        ------
        FileFormatError
            They aren't what was written: a sample's content doesn't give its digest.
        PoolError
            An input holds NaN or infinity.
        """
        with self._open() as file:
            return self._read(file, slice(start, stop))

    def pieces(self, positions: Iterable[NDArray[np.int64]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Inputs of some samples after others, each piece of positions ascending.

        Raises as :meth:`read_inputs`.
        """
        with self._open() as file:
            for piece in positions:
                yield self._read(file, piece)

    def batches(self, size: int) -> Iterator[dict[str, NDArray[Any]]]:
        """All inputs, at most `size` samples at a time. Raises as :meth:`read_inputs`."""
        with self._open() as file:
            for start in range(0, len(self), size):
                yield self._read(file, slice(start, min(start + size, len(self))))

    def _open(self) -> h5py.File:
        return open_hdf5(self.path, kind=KIND, version=VERSION, made_by=_MADE_BY)

    def _read(self, file: h5py.File, which: slice | NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        values: dict[str, NDArray[Any]] = {}
        for name, spec in self.inputs.items():
            with reading(self.path, f"inputs/{name}"):
                values[name] = file[f"inputs/{name}"][which].astype(spec.dtype, copy=False)
        ids = self.ids[which]
        found = [
            not_finite_problem(array, lambda at: ids[at].tolist(), f"{self.path}: /inputs/{name}")
            for name, array in values.items()
        ]
        problems = [problem for problem in found if problem is not None]
        if problems:
            raise PoolError.of(problems)
        changed = ids[digest_rows(values) != self.digests[which]]
        if len(changed):
            raise FileFormatError(
                counted(len(changed), "sample isn't", "samples aren't")
                + " what was drawn, by their digests: "
                f"{', '.join(changed[:_SHOWN])}",
                where=self.path,
                next_step=AGAIN,
            )
        return values


def write_calibset(path: Path, drawn: DrawnSet, batches: Iterable[Batch]) -> Calibset:
    """Write a calibration set, whole or not at all, and open it.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.
    drawn : DrawnSet
    batches : iterable of mapping
        Inputs in the order of ``drawn.rows``: input name → (b, …); the b add up to n.

    Raises
    ------
    OutputError
        The file can't be written.
    ValueError
        The batches hold more or fewer samples than were drawn.
    """
    with written_hdf5(path) as writing:
        mark(writing.file, kind=KIND, version=VERSION)
        write_drawn(writing.file, drawn)
        digests = _write_inputs(writing, batches, str(path), len(drawn))
        write_column(writing.file, "digests", digests.tolist())
    return open_calibset(path)


def open_calibset(path: str | Path) -> Calibset:
    """Open a calibration set; its inputs are read when asked for.

    Raises
    ------
    FileFormatError
        Missing, truncated, foreign, damaged, or of a newer version.
    """
    path = Path(path)
    with open_hdf5(path, kind=KIND, version=VERSION, made_by=_MADE_BY) as file, well_formed(path):
        drawn = read_drawn(file, path)
        digests = np.array(read_column(file["digests"]), np.str_)
        stored = datasets_in(file, "inputs")
        lengths = {f"inputs/{name}": len(dataset) for name, dataset in stored.items()}
        specs = {
            name: TensorSpec(name, dataset.dtype.newbyteorder("="), tuple(dataset.shape[1:]))
            for name, dataset in stored.items()
        }
    lengths["digests"] = len(digests)
    wrong = [f"/{name} has {size}" for name, size in lengths.items() if size != len(drawn)]
    if wrong or not specs:
        raise FileFormatError(
            f"has {len(drawn)} rows, but {', '.join(wrong) or 'no inputs'}",
            where=path,
            next_step=AGAIN,
        )
    values = {field.name: getattr(drawn, field.name) for field in fields(drawn)}
    return Calibset(path=path, digests=digests, inputs=specs, **values)


def _write_inputs(
    writing: Hdf5Writing, batches: Iterable[Batch], where: str, n: int
) -> NDArray[np.str_]:
    """Write the inputs; gives the digest of every sample (n,)."""
    streams: dict[str, ArrayStream] = {}
    digests: list[NDArray[np.str_]] = []
    with counter(n, what="writing") as done:
        for batch in batches:
            for name, values in batch.items():
                if name not in streams:
                    streams[name] = ArrayStream(
                        writing.file, f"inputs/{name}", values, compress=False
                    )
                streams[name].check(values, where=where)
                streams[name].add(values)
            digests.append(digest_rows(batch))
            writing.check()
            done.advance(len(digests[-1]))
    for stream in streams.values():
        stream.finish()
    found = sum(map(len, digests))
    if found != n:
        raise ValueError(f"{found} samples were given for {n} drawn rows")
    return np.concatenate(digests)
