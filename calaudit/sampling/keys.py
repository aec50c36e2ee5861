"""Permanent random numbers: one 64-bit key per pool row, and the smallest keys are drawn.

A row's key depends on the seed and the row alone, so a draw doesn't change when other candidates
come or go, and a larger draw of the same recipe contains the smaller one (Ohlsson, *Coordination of
samples using permanent random numbers*, 1995). Keys are raw bits of PCG64, whose stream NumPy
guarantees; floating-point draws carry no such promise.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.pool import Rows

Keys = NDArray[np.uint64]
"""Random keys, uniform over all 64-bit numbers."""


def derive_seed(seed: int, name: str) -> int:
    """A 128-bit seed for the recipe called `name`, so that two recipes don't share a stream.

    Parameters
    ----------
    seed : int
        The recipe's own seed, or the command's.
    name : str
        The recipe's name.
    """
    text = f"calaudit draw\0{seed}\0{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def row_keys(seed: int, rows: Rows) -> Keys:
    """The key of each row.

    Parameters
    ----------
    seed : int
        From :func:`derive_seed`.
    rows : int64 (n,)
        Row numbers into the pool, ascending.

    Returns
    -------
    uint64 (n,)
    """
    if len(rows) == 0:
        return np.empty(0, np.uint64)
    stream = np.random.PCG64(seed).random_raw(int(rows[-1]) + 1)
    return stream[rows]


def smallest(keys: Keys, n: int) -> NDArray[np.int64]:
    """Positions of the `n` smallest keys, ascending; of equal keys the earlier position wins."""
    if n >= len(keys):
        return np.arange(len(keys))
    if n == 0:
        return np.empty(0, np.int64)
    threshold = np.partition(keys, n - 1)[n - 1]
    below = np.flatnonzero(keys < threshold)
    at = np.flatnonzero(keys == threshold)[: n - len(below)]
    return np.sort(np.concatenate([below, at]))


def smallest_per_stratum(
    keys: Keys, codes: NDArray[np.int32], asked: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Positions of the ``asked[h]`` smallest keys of every stratum h, ascending.

    Parameters
    ----------
    keys : uint64 (n,)
    codes : int32 (n,)
        Stratum of each position; -1 for none.
    asked : int64 (H,)
        How many to take, at most the stratum's size.
    """
    # A stable sort of 16-bit integers is a radix sort: an order of magnitude faster on 10⁷ rows.
    sortable = codes.astype(np.int16) if len(asked) < np.iinfo(np.int16).max else codes
    order = np.argsort(sortable, kind="stable")
    counts = np.bincount(codes[codes >= 0], minlength=len(asked))
    ends = np.count_nonzero(codes < 0) + np.cumsum(counts)
    taken = [
        members[smallest(keys[members], int(n))]
        for members, n in (
            (order[end - count : end], n) for end, count, n in zip(ends, counts, asked, strict=True)
        )
    ]
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)
