"""Page-locked host memory: what the GPU copies from and to without a detour."""

import itertools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

_GRAIN: Final = 2**16
"""Blocks are multiples of this many bytes, so that arrays of similar size share them."""
_KEPT: Final = 2**30
"""Free blocks beyond this many bytes are given back."""
_SHARE: Final = 2**20
"""Bytes one thread copies before another is worth its while."""


class PinnedPool:
    """Arrays in page-locked memory; an array's block is used again once nobody holds the array."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._free: list[Array] = []
        self._lock = threading.Lock()

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """An uninitialised array. Views of it keep its block, as they would any array's memory."""
        kind = np.dtype(dtype)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        block = self._taken(n_bytes)
        lease = _Lease(self, block, tuple(shape), kind)
        return np.asarray(lease)

    def put_back(self, block: Array) -> None:
        """A block that no array uses any more."""
        with self._lock:
            if sum(each.nbytes for each in self._free) + block.nbytes <= _KEPT:
                self._free.append(block)

    def close(self) -> None:
        """Give the free blocks back."""
        with self._lock:
            self._free.clear()

    def _taken(self, n_bytes: int) -> Array:
        with self._lock:
            fitting = [b for b in self._free if n_bytes <= b.nbytes <= 2 * max(n_bytes, _GRAIN)]
            if fitting:
                block = min(fitting, key=lambda each: each.nbytes)
                self._free = [each for each in self._free if each is not block]
                return block
        size = max(1, -(-n_bytes // _GRAIN)) * _GRAIN
        flags = self._driver.host_alloc_flags.PORTABLE
        made: Array = self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        return made


class _Lease:
    """Owner of one array's memory: numpy keeps it alive for the array and all its views."""

    def __init__(
        self, pool: PinnedPool, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._pool = pool
        self._block = block
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.ctypes.data, False),
        }

    def __del__(self) -> None:
        self._pool.put_back(self._block)


def is_pinned(values: Array) -> bool:
    """Whether an array is one of a pool's, or a C-ordered part of one."""
    owner: Any = values
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, _Lease) and bool(values.flags.c_contiguous)


def copy_rows(target: Array, source: Array) -> None:
    """``target[:] = source`` by as many threads as the size is worth."""
    n = min(_n_threads(), len(target), target.nbytes // _SHARE)
    if n < 2:
        np.copyto(target, source)
        return
    edges = np.linspace(0, len(target), n + 1).astype(int).tolist()
    spans = itertools.pairwise(edges)
    list(_threads().map(lambda s: np.copyto(target[s[0] : s[1]], source[s[0] : s[1]]), spans))


def _n_threads() -> int:
    return min(8, os.cpu_count() or 1)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_n_threads(), thread_name_prefix="calaudit-copy")
