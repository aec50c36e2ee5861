"""Random numbers that are the same on every machine, and for every set of slices and cells."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

N_BUCKETS = 2048
"""Blocks that units are added up in: what replicates cost doesn't grow with their number."""

_KEPT_TOSSES = 1 << 19
"""Coins that are tossed at once and kept, since many tests take some of the same."""
_BLOCK = 1 << 20
"""Counts made at a time: 8 MiB."""

_FEW = 64
_KEPT_NORMALS = 32
"""Slices and metrics ask for the same few."""


def bucket_of(clusters: NDArray[np.int64], n_clusters: int) -> NDArray[np.int64]:
    """Bucket of each unit, (n,) in [0, `N_BUCKETS`): units of one cluster share one.

    Up to `N_BUCKETS` clusters keep one each; more are spread by a hash of their numbers, so that
    it matters neither in which order nor in which batch they come.

    Parameters
    ----------
    clusters : int64 (n,)
        Cluster of each unit, in [0, `n_clusters`).
    n_clusters : int
    """
    if n_clusters <= N_BUCKETS:
        return clusters
    return (_mixed(clusters) % np.uint64(N_BUCKETS)).astype(np.int64)


def resample_counts(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Bootstrap counts: how often each of `n` blocks is drawn, with replacement, n times.

    The last ones are kept, as comparisons share them. Only the raw bits of PCG64 are used, which
    numpy keeps the same for ever.

    Parameters
    ----------
    key : str
        The same key gives the same counts.
    n : int
        Blocks, 1 … 2³².
    replicates : int

    Returns
    -------
    ndarray, shape (replicates, n), read-only
        Each row adds up to n.
    """
    return (_few_counts if n <= _FEW else _counts)(key, n, replicates)


def _count(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    bits = _bits(key)
    counts = np.empty((replicates, n))
    step = max(1, _BLOCK // n)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = _uniform(bits, rows * n, n).reshape(rows, n)
        drawn += n * np.arange(rows, dtype=np.int64)[:, None]
        counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(
            rows, n
        )
    counts.setflags(write=False)
    return counts


_counts = lru_cache(maxsize=1)(_count)
_few_counts = lru_cache(maxsize=_FEW)(_count)


def random_coins(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Signs +1 or −1, (replicates, n), read-only; the last ones are kept."""
    return (_few_coins if n <= _FEW else _coins)(key, n, replicates)


def _coin(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    signs = 2.0 * random_signs(key, n, replicates).astype(np.float64) - 1.0
    signs.setflags(write=False)
    return signs


_coins = lru_cache(maxsize=1)(_coin)
_few_coins = lru_cache(maxsize=_FEW)(_coin)


def random_signs(key: str, n: int, replicates: int) -> NDArray[np.bool_]:
    """Fair coins, (replicates, n); the same key gives the same."""
    tosses = replicates * n
    drawn = _tossed(key, _KEPT_TOSSES) if tosses <= _KEPT_TOSSES else _tosses(key, tosses)
    return drawn[:tosses].reshape(replicates, n)


def _tosses(key: str, n: int) -> NDArray[np.bool_]:
    """The first n coins of a key, (n,) and up to 63 more, read-only."""
    raw: NDArray[Any] = np.asarray(_bits(key).random_raw((n + 63) // 64))
    coins = np.unpackbits(raw.astype("<u8").view(np.uint8)).view(np.bool_)
    coins.setflags(write=False)
    return coins


_tossed = lru_cache(maxsize=2)(_tosses)


def random_normals(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Standard normal numbers, (replicates, n), read-only; the same key gives the same."""
    return (_few_normals if n <= _FEW else _normal)(key, n, replicates)


def _normal(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    drawn = np.asarray(ndtri(_open_uniform(key, n, replicates)), dtype=np.float64)
    drawn.setflags(write=False)
    return drawn


_few_normals = lru_cache(maxsize=_KEPT_NORMALS)(_normal)


def random_exponentials(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Standard exponential numbers, (replicates, n), read-only; the same key gives the same."""
    return _exponentials(key, n, replicates)


def random_uniforms(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Numbers in (0, 1), (replicates, n); the same key gives the same."""
    return _open_uniform(key, n, replicates)


def scatter(numbers: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    """Deal `numbers` into `n_groups` groups of equal size (give or take one).

    Which go together follows from a hash, so that neighbours, which a pool's order may make alike,
    are spread.
    """
    order = np.lexsort((numbers, _mixed(numbers)))
    group = np.empty(len(numbers), dtype=np.int64)
    group[order] = np.arange(len(numbers)) % n_groups
    return group


@lru_cache(maxsize=4)
def _exponentials(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    drawn = -np.log1p(-_open_uniform(key, n, replicates))
    drawn.setflags(write=False)
    return drawn


def _bits(key: str) -> np.random.PCG64:
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return np.random.PCG64(int.from_bytes(digest, "little"))


def _open_uniform(key: str, n: int, replicates: int) -> NDArray[np.float64]:
    """Numbers in (0, 1), (replicates, n)."""
    raw: NDArray[Any] = np.asarray(_bits(key).random_raw(replicates * n), dtype=np.uint64)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return uniform.reshape(replicates, n)


def _uniform(bits: np.random.PCG64, size: int, below: int) -> NDArray[np.int64]:
    """Integers in [0, below), by multiply-shift of 32 bits: a bias of at most below/2³²."""
    raw: NDArray[Any] = np.asarray(bits.random_raw((size + 1) // 2), dtype=np.uint64)
    halves = np.empty(2 * len(raw), dtype=np.uint64)
    halves[0::2] = raw & np.uint64(0xFFFFFFFF)
    halves[1::2] = raw >> np.uint64(32)
    return ((halves[:size] * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def _mixed(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
