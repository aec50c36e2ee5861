"""Memory that this process and a worker on this machine share: page-aligned blocks, used again.

Which way a worker reaches is found out by trying (`Shares.tokens`): memory of this process that
has no name, or files in a folder. A block's array belongs to whoever holds it; the block is used
again once nobody does.
"""

import contextlib
import itertools
import mmap
import os
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

_GRAIN: Final = 2**16
"""Blocks are multiples of this many bytes, so that arrays of similar size share them."""
_KEPT: Final = 2**30
"""Free blocks beyond this many bytes are given back, but for those in use of late."""
_RECENT: Final = 16
"""Blocks taken last: what the current size of batch needs."""
_SHARE: Final = 2**20
"""Bytes one thread copies before another is worth its while."""
_FOLDERS: Final = ("/dev/shm", tempfile.gettempdir())


class _Opened:
    """A piece of memory that has been made and that a worker hasn't mapped yet."""

    def __init__(self, descriptor: int, path: str, *, named: bool) -> None:
        self.descriptor = descriptor
        self.path = path
        self._named = named

    def close(self) -> None:
        """Forget how it is reached: who mapped it keeps it."""
        os.close(self.descriptor)
        if self._named:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def _unnamed(size: int) -> _Opened:
    descriptor = os.memfd_create("calaudit")
    os.ftruncate(descriptor, size)
    return _Opened(descriptor, f"/proc/{os.getpid()}/fd/{descriptor}", named=False)


def _file(folder: str, size: int) -> _Opened:
    path = str(Path(folder) / f"calaudit-{secrets.token_hex(8)}")
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    made = _Opened(descriptor, path, named=True)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)  # or writing to it would be the end of us
        else:
            os.ftruncate(descriptor, size)
    except OSError:
        made.close()
        raise
    return made


Maker = Callable[[int], _Opened]


def _ways() -> Iterator[Maker]:
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        yield _unnamed
    for folder in dict.fromkeys(_FOLDERS):
        if os.access(folder, os.W_OK):
            yield partial(_file, folder)


class Probe:
    """Finds out which memory a worker can reach: tells it where tokens lie, and checks."""

    def __init__(self) -> None:
        self._token = secrets.token_bytes(16)
        self._made: list[tuple[_Opened, Maker]] = []
        for way in _ways():
            with contextlib.suppress(OSError):
                opened = way(len(self._token))
                os.write(opened.descriptor, self._token)
                self._made.append((opened, way))

    @property
    def tokens(self) -> dict[str, bytes]:
        """Where it may look, and what it should find."""
        return {opened.path: self._token for opened, _ in self._made}

    def reached(self, paths: Sequence[str]) -> tuple[Maker, ...]:
        """The ways that a worker reaches which found the tokens at `paths`."""
        found = tuple(way for opened, way in self._made if opened.path in paths)
        for opened, _ in self._made:
            opened.close()
        self._made.clear()
        return found


class Block:
    """Shared memory of one number."""

    def __init__(self, number: int, size: int, ways: Sequence[Maker]) -> None:
        self.number = number
        self.taken = 0
        """When it was taken last, counted in takes."""
        self.opened = _first(ways, size)
        self.bytes: Array = np.frombuffer(mmap.mmap(self.opened.descriptor, size), np.uint8)


def _first(ways: Sequence[Maker], size: int) -> _Opened:
    for way in ways[:-1]:
        with contextlib.suppress(OSError):  # a folder that is full
            return way(size)
    return ways[-1](size)


class SharedBlocks:
    """Arrays in memory that a worker maps; an array's block is used again once nobody holds it."""

    def __init__(self, ways: Sequence[Maker]) -> None:
        self._ways = ways
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._free: list[Block] = []
        self._returned: deque[Block] = deque()
        """Free ones that aren't in `_free` yet: the garbage collector may bring them any time."""
        self._clock = 0
        self._new: list[Block] = []
        self._told: list[Block] = []
        self._gone: list[int] = []

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """An uninitialised array. Views of it keep its block, as they would any array's memory."""
        kind = np.dtype(dtype)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        return self.lease(n_bytes)[:n_bytes].view(kind).reshape(tuple(shape))

    def lease(self, n_bytes: int) -> Array:
        """A block with room for so many bytes, as an array of bytes; `place` tells its number."""
        return np.asarray(_Lease(self, self._taken(n_bytes)))

    def place(self, values: Array) -> tuple[int, int] | None:
        """Number of the block that an array lies in, and offset; None for any other array."""
        owner: Any = values
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if not (isinstance(owner, _Lease) and owner.blocks is self and values.flags.c_contiguous):
            return None
        block = owner.block
        return block.number, values.ctypes.data - block.bytes.ctypes.data

    def news(self) -> dict[str, Any]:
        """What a worker doesn't know yet of the blocks."""
        with self._lock:
            self._told += self._new
            new = [(each.number, each.opened.path, each.bytes.size) for each in self._new]
            gone = self._gone
            self._new, self._gone = [], []
        return {"new": new, "gone": gone}

    def mapped(self, numbers: Sequence[int]) -> None:
        """The worker has mapped these blocks."""
        with self._lock:
            done = [each for each in self._told if each.number in numbers]
            self._told = [each for each in self._told if each.number not in numbers]
        for each in done:
            each.opened.close()

    def put_back(self, block: Block) -> None:
        """A block that no array uses any more."""
        self._returned.append(block)

    def close(self) -> None:
        """Forget all blocks; arrays in them live on."""
        with self._lock:
            self._free.clear()
            self._returned.clear()
            waiting = [*self._new, *self._told]
            self._new, self._told = [], []
        for each in waiting:
            each.opened.close()

    def _taken(self, n_bytes: int) -> Block:
        with self._lock:
            self._clock += 1
            self._take_back()
            fitting = [
                block
                for block in self._free
                if n_bytes <= block.bytes.size <= 2 * max(n_bytes, _GRAIN)
            ]
            if fitting:
                block = min(fitting, key=lambda each: each.bytes.size)
                self._free = [each for each in self._free if each is not block]
            else:
                size = max(1, -(-n_bytes // _GRAIN)) * _GRAIN
                block = Block(next(self._numbers), size, self._ways)
                self._new.append(block)
            block.taken = self._clock
            return block

    def _take_back(self) -> None:
        """Add what is free again, and give back what wasn't taken of late if that is too much."""
        while self._returned:
            self._free.append(self._returned.popleft())
        self._free.sort(key=lambda each: each.taken, reverse=True)
        total = sum(each.bytes.size for each in self._free)
        while total > _KEPT and self._clock - self._free[-1].taken > _RECENT:
            gone = self._free.pop()
            total -= gone.bytes.size
            self._gone.append(gone.number)


class _Lease:
    """Owner of one array's memory: numpy keeps it alive for the array and all its views."""

    def __init__(self, blocks: SharedBlocks, block: Block) -> None:
        self.blocks = blocks
        self.block = block
        self.__array_interface__: Mapping[str, Any] = {
            "version": 3,
            "shape": block.bytes.shape,
            "typestr": block.bytes.dtype.str,
            "data": (block.bytes.ctypes.data, False),
        }

    def __del__(self) -> None:
        self.blocks.put_back(self.block)


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
