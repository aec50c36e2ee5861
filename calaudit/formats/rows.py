"""Rows of a dataset: scattered ones read in storage order, with bounded memory; NaN found."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import Problem
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import first_of

BLOCK_BYTES = 32 << 20
"""Most bytes read at once."""
GAP_BYTES = 256 << 10
"""Unwanted bytes that are cheaper to read through than to skip."""

_SHOWN = 5


def check_rows(rows: Rows, n: int) -> None:
    """Refuse rows that aren't ascending, unique and within 0 … n - 1.

    Raises
    ------
    ValueError
        They aren't: a fault of the caller, not of the user.
    """
    if rows.ndim != 1:
        raise ValueError(f"rows must be 1-D, got shape {rows.shape}")
    if len(rows) and (rows[0] < 0 or rows[-1] >= n):
        raise ValueError(f"rows {rows[0]} … {rows[-1]} reach outside 0 … {n - 1}")
    if np.any(np.diff(rows) <= 0):
        raise ValueError("rows must be ascending, without duplicates")


def row_bytes(dataset: h5py.Dataset) -> int:
    """Bytes of one row in memory."""
    return max(1, int(dataset.dtype.itemsize * np.prod(dataset.shape[1:], dtype=np.int64)))


def block_rows(dataset: h5py.Dataset) -> int:
    """Rows per block of at most `BLOCK_BYTES`, a whole number of storage chunks."""
    fit = max(1, BLOCK_BYTES // row_bytes(dataset))
    chunk = dataset.chunks[0] if dataset.chunks else 1
    return int(max(1, fit // chunk) * chunk)


def blocks(dataset: h5py.Dataset) -> Iterator[slice]:
    """Consecutive slices that cover the dataset, in storage order."""
    n, step = dataset.shape[0], block_rows(dataset)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def runs(dataset: h5py.Dataset, rows: Rows) -> Iterator[tuple[slice, Rows]]:
    """Slices to read for ascending `rows`, each with the wanted positions within it."""
    gap = max(1, GAP_BYTES // row_bytes(dataset))
    block = rows // block_rows(dataset)
    cuts = np.flatnonzero((np.diff(rows) > gap) | (np.diff(block) > 0)) + 1
    for part in np.split(rows, cuts):
        if len(part):
            first = int(part[0])
            yield slice(first, int(part[-1]) + 1), part - first


def read_rows(dataset: h5py.Dataset, rows: Rows) -> NDArray[Any]:
    """Read ascending rows of a numeric dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        (N, …).
    rows : (n,) int64
        Strictly ascending.

    Returns
    -------
    (n, …) array in the stored type, native byte order, C order.
    """
    native = dataset.dtype.newbyteorder("=")
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        whole: NDArray[Any] = dataset[int(rows[0]) : int(rows[-1]) + 1]
        return whole.astype(native, copy=False)
    out = np.empty((len(rows), *dataset.shape[1:]), native)
    done = 0
    for span, wanted in runs(dataset, rows):
        out[done : done + len(wanted)] = dataset[span][wanted]
        done += len(wanted)
    return out


def rows_not_finite(values: NDArray[Any]) -> NDArray[np.int64]:
    """Positions along the first axis that hold NaN or infinity; none for integers."""
    if values.dtype.kind != "f" or len(values) == 0:
        return np.empty(0, np.int64)
    # The sum is finite unless a value isn't, or the sum overflows: one pass without a mask, which
    # takes twice as long where values are widened for it.
    wide = np.float64 if values.dtype.itemsize < 4 else None
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=wide)):
            return np.empty(0, np.int64)
    return np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))


def not_finite_problem(
    values: NDArray[Any], ids: Callable[[NDArray[np.int64]], Sequence[str]], where: str
) -> Problem | None:
    """What to say about an input (n, …) that holds NaN or infinity; None when all is finite.

    `ids` names the samples at given positions.
    """
    bad = rows_not_finite(values)
    if len(bad) == 0:
        return None
    return Problem(
        f"holds NaN or infinity in {len(bad)} sample{'s' if len(bad) > 1 else ''}: "
        f"{first_of(ids(bad[:_SHOWN]), len(bad))}",
        where,
        "Fix or leave out these samples; a model can't be evaluated on them.",
    )
