"""Random numbers that are the same on every machine, and for every set of slices and cells."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20
"""Counts made at a time: 8 MiB."""


def resample_counts(key: str, n: int, replicates: int) -> Iterator[NDArray[np.float64]]:
    """Bootstrap counts: how often each of `n` units is drawn, with replacement, n times.

    Only the raw bits of PCG64 are used, which numpy keeps the same for ever.

    Parameters
    ----------
    key : str
        The same key gives the same counts.
    n : int
        Units, 1 … 2³².
    replicates : int

    Yields
    ------
    ndarray, shape (some, n)
        `replicates` rows in all; each adds up to n.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    bits = np.random.PCG64(int.from_bytes(digest, "little"))
    step = max(1, _BLOCK // n)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = _uniform(bits, rows * n, n).reshape(rows, n)
        drawn += n * np.arange(rows, dtype=np.int64)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=rows * n)
        yield counts.reshape(rows, n).astype(np.float64)


def scatter(rows: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    """Deal `rows` into `n_groups` groups of equal size (give or take one).

    Which rows go together follows from a hash of their numbers, so that neighbours, which a pool's
    order may make alike, are spread.
    """
    order = np.lexsort((rows, _mixed(rows)))
    group = np.empty(len(rows), dtype=np.int64)
    group[order] = np.arange(len(rows)) % n_groups
    return group


def _uniform(bits: np.random.PCG64, size: int, below: int) -> NDArray[np.int64]:
    """Integers in [0, below), by multiply-shift of 32 bits: a bias of at most below/2³²."""
    raw: NDArray[Any] = np.asarray(bits.random_raw((size + 1) // 2), dtype=np.uint64)
    halves = np.empty(2 * len(raw), dtype=np.uint64)
    halves[0::2] = raw & np.uint64(0xFFFFFFFF)
    halves[1::2] = raw >> np.uint64(32)
    return ((halves[:size] * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def _mixed(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    z = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
