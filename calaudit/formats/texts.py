"""Text columns in HDF5: UTF-8, of fixed length where that is compact, of any length otherwise.

Fixed length reads an order of magnitude faster, since no text becomes a Python object.
"""

from typing import Any

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.errors import PoolError
from calaudit.formats.rows import blocks, runs
from calaudit.pool import Rows

_ROOMY = 64
"""Bytes up to which every text gets the same room, whatever the mean length is."""
_WASTE = 4
"""Above that, fixed length may take this many times the bytes of the texts themselves."""


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
    longest = int(lengths.max() or 0)  # type: ignore[arg-type]  # a UInt32 series' max is an int
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
