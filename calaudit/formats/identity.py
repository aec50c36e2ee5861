"""What identifies samples: their ids, each once, and hashes of their content and of whole pools."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.hdf5 import datasets_in, decode, is_text, node_at, reading
from calaudit.formats.pool_levels import LEVELS, decoded
from calaudit.formats.rows import blocks, row_bytes
from calaudit.runtime.errors import PoolError
from calaudit.runtime.progress import Counter, counter
from calaudit.runtime.words import first_of

_SHOWN = 5

DIGEST_BYTES = 16
"""BLAKE2b-128: 32 hexadecimal digits."""
_ROLES = ("classes", "ids", "ignored", "inputs", "items", "meta", "missing", "targets")


def check_ids(ids: pl.Series | NDArray[Any], *, where: str) -> None:
    """Refuse ids that aren't text, are empty, or occur twice.

    Raises
    ------
    PoolError
        They are; with the first few of them.
    """
    if not isinstance(ids, pl.Series):
        raise PoolError("ids must be text", where=where, next_step="Write ids as text.")
    empty = int((ids == "").sum())
    if empty:
        raise PoolError(
            f"{empty} of {len(ids)} ids are empty",
            where=where,
            next_step="Give every sample an id, or give none at all.",
        )
    # Hashes are compared first: a quarter of the memory and time of comparing texts.
    if ids.hash().n_unique() == len(ids):
        return
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    if len(twice) == 0:
        return
    shown = first_of((repr(text) for text in twice.head(_SHOWN)), len(twice))
    raise PoolError(
        f"ids occur more than once: {shown}",
        where=where,
        next_step="Give every sample its own id, or give none at all.",
    )


def fingerprint_of(file: h5py.File, path: Path) -> str:
    """Hash every array of a pool in name order.

    The hash covers name, element type, shape and values. It doesn't depend on chunks, compression,
    byte order, or on whether text has fixed length; attributes aren't covered. Inputs stored as
    bytes count as the numbers that these stand for.

    Returns
    -------
    32 hexadecimal digits.

    Raises
    ------
    FileFormatError
        An array is damaged.
    """
    with reading(path, ", /".join(_ROLES)):
        arrays, levels = _arrays(file), datasets_in(file, LEVELS)
        tables = {f"inputs/{name}": table[...] for name, table in levels.items()}
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    total = sum(row_bytes(dataset) * dataset.shape[0] for dataset in arrays.values())
    with counter(total, what="fingerprint", unit="B", scale=True) as done:
        for name, dataset in arrays.items():
            text = is_text(dataset)
            table = tables.get(name)
            dtype = np.dtype(dataset.dtype if table is None else table.dtype)
            kind = "text" if text else dtype.newbyteorder("<").str
            whole.update(f"{name}\0{kind}\0{tuple(map(int, dataset.shape))}\0".encode())
            with reading(path, name):
                whole.update(
                    _texts(dataset, path, name, done) if text else _numbers(dataset, table, done)
                )
    return whole.hexdigest()


def _arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    arrays: dict[str, h5py.Dataset] = {}
    for role in _ROLES:
        node = node_at(file, role)
        if isinstance(node, h5py.Dataset):
            arrays[role] = node
        else:
            arrays |= {f"{role}/{name}": found for name, found in datasets_in(file, role).items()}
    return arrays


def digest_rows(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.str_]:
    """Content digest of each sample over all its inputs.

    Parameters
    ----------
    inputs : mapping
        Input name to (n, …).

    Returns
    -------
    (n,) text of 32 hexadecimal digits; equal inputs give equal digests whatever pool they are in.
    """
    arrays = [(name, _little(inputs[name])) for name in sorted(inputs)]
    n = len(arrays[0][1]) if arrays else 0
    head = "\0".join(f"{name}\0{a.dtype.str}\0{a.shape[1:]}" for name, a in arrays).encode()
    start = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
    views = [(a.nbytes // max(1, n), _bytes(a)) for _, a in arrays]
    digests = []
    for row in range(n):
        digest = start.copy()
        for size, view in views:
            digest.update(view[row * size : (row + 1) * size])
        digests.append(digest.hexdigest())
    return np.array(digests, dtype=f"U{2 * DIGEST_BYTES}")


def _numbers(dataset: h5py.Dataset, table: NDArray[Any] | None, done: Counter) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for span in blocks(dataset):
        stored = dataset[span]
        digest.update(_bytes(_little(stored if table is None else decoded(stored, table))))
        done.advance(stored.nbytes)
    return digest.digest()


def _texts(dataset: h5py.Dataset, path: Path, name: str, done: Counter) -> bytes:
    # Lengths and bytes are hashed apart, so that neither depends on where blocks end.
    lengths = hashlib.blake2b(digest_size=DIGEST_BYTES)
    content = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for span in blocks(dataset):
        texts = decode(dataset[span], where=f"{path}: /{name}")
        lengths.update(_bytes(texts.str.len_bytes().to_numpy().astype("<u4")))
        content.update(texts.str.join("").item().encode())
        done.advance((span.stop - span.start) * row_bytes(dataset))
    return lengths.digest() + content.digest()


def _little(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def _bytes(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data
