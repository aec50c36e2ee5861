"""The GPU: its primary context, shared with whatever else runs there, and page-locked memory."""

import atexit
import itertools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from calaudit.backends.base import Missing
from calaudit.backends.tensorrt.detect import find_pycuda
from calaudit.runtime.errors import BackendError

Array = NDArray[Any]

ELSEWHERE: Final = 'Run on a machine with an NVIDIA GPU, or audit with backend = "onnxruntime".'

_GRAIN: Final = 2**16
"""Blocks are multiples of this many bytes, so that arrays of similar size share them."""
_KEPT: Final = 2**30
"""Free blocks beyond this many bytes are given back."""
_SHARE: Final = 2**20
"""Bytes one thread copies before another is worth its while."""


class _Closes(Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """What an engine is bound to, besides TensorRT's version."""

    name: str
    """``"NVIDIA H100 80GB HBM3"``."""
    compute_capability: str
    """``"9.0"``."""

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


class Cuda:
    """Device 0 and its primary context."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        device = driver.Device(0)
        major, minor = device.compute_capability()
        self.gpu = Gpu(str(device.name()), f"{major}.{minor}")
        self._context = device.retain_primary_context()
        self.pinned = PinnedPool(driver)
        """Page-locked memory that all engines share."""
        self._open: weakref.WeakSet[_Closes] = weakref.WeakSet()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread.

        Raises
        ------
        BackendError
            A CUDA call within failed.
        """
        self._context.push()
        try:
            yield
        except self.driver.Error as error:
            raise BackendError(
                f"CUDA failed on {self.gpu}: {' '.join(str(error).split())}",
                next_step="Check the GPU's free memory with nvidia-smi, or lower batch_size.",
            ) from None
        finally:
            self._context.pop()

    def close_at_exit(self, resource: _Closes) -> None:
        """Close `resource` before the context goes, unless it is collected first."""
        self._open.add(resource)

    def close(self) -> None:
        """Close what is still open, and let the context go."""
        for resource in list(self._open):
            resource.close()
        with self.current():
            self.pinned.close()
        self._context.detach()


def find_cuda() -> Cuda | Missing:
    """The GPU, if there is one that pycuda can use. One context serves the whole process."""
    driver = find_pycuda()
    if isinstance(driver, Missing):
        return driver
    return _first_device(driver)


def require_cuda() -> Cuda:
    """The GPU that must be here. Raises `BackendError` with what is missing."""
    found = find_cuda()
    if isinstance(found, Missing):
        raise BackendError(str(found), next_step=found.next_step)
    return found


@cache
def _first_device(driver: Any) -> Cuda | Missing:
    try:
        driver.init()
        if driver.Device.count() == 0:
            return Missing("a GPU", "isn't there", ELSEWHERE)
        cuda = Cuda(driver)
    except driver.Error as error:
        return Missing("a GPU", f"isn't usable: {' '.join(str(error).split())}", ELSEWHERE)
    # After pycuda's own clean-up was registered, so that it runs before it.
    atexit.register(cuda.close)
    return cuda


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
