"""Arrays that come from the host and go to it: in memory that both share, or by the line.

Shared memory is the host's: files that both map. Each is registered with CUDA once, so that the
GPU copies from and to it directly, and asynchronously.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .cuda import Cuda
    from .line import Line

Array = Any
CHUNK = 2**26
"""Bytes of one message: execnet's limit is 2 GiB."""


class Block:
    """One file of shared memory, mapped here."""

    def __init__(self, path: str, size: int) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self.bytes: Array = np.frombuffer(self._map, np.uint8)
        self.start = int(self.bytes.ctypes.data)
        self.registered: bool | None = None
        """Whether CUDA has page-locked it; None before it was asked."""
        self.device = 0
        """Where the GPU reaches the memory itself; 0 where it doesn't."""


class Arrays:
    """Arrays in blocks of the host's, or in messages."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._blocks: dict[int, Block] = {}
        self._offered: list[int] = []
        self._reached: dict[int, tuple[int, Array]] = {}
        """Arrays of the request by id, which nothing else gets meanwhile: where the GPU reaches
        them, 0 for nowhere."""
        self.shares = False
        """Whether the host's memory can be reached from here."""
        self.cuda: Cuda | None = None
        """The GPU, once one is in use."""

    def update(self, blocks: dict[str, Any]) -> None:
        """Map the host's new blocks, let old ones go, and know which may be written to."""
        self._reached.clear()
        for number in blocks.get("gone", ()):
            self._release(self._blocks.pop(number))
        new = blocks.get("new", ())
        for number, path, size in new:
            self._blocks[number] = Block(path, size)
        if new:
            self._line.event("mapped", [number for number, _, _ in new])
        self._offered = list(blocks.get("offered", ()))

    def taken(self, described: Sequence[Any]) -> Array:
        """An array of a message; those in shared memory aren't copied."""
        where, *rest = described
        if where == "shared":
            number, offset, shape, kind = rest
            return self._part(self._block(number), offset, shape, np.dtype(kind))
        shape, kind = rest
        made = np.empty(shape, np.dtype(kind))
        flat = made.reshape(-1).view(np.uint8)
        at = 0
        while at < flat.size:
            chunk = np.frombuffer(self._line.receive(), np.uint8)
            flat[at : at + chunk.size] = chunk
            at += chunk.size
        return made

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """An array for an answer: in shared memory where there is some, so that it isn't copied."""
        dtype, shape = np.dtype(dtype), tuple(shape)
        if not self.shares:
            return np.empty(shape, dtype)
        size = _size(shape, dtype)
        fitting = [n for n in self._offered if size <= self._blocks[n].bytes.size <= 2 * size]
        if fitting:
            self._offered.remove(fitting[0])
            block = self._block(fitting[0])
        else:
            found, _ = self._line.need("room", size=size)
            block = self._block(found["block"])
        return self._part(block, 0, shape, dtype)

    def _part(self, block: Block, offset: int, shape: Sequence[int], dtype: Any) -> Array:
        values = block.bytes[offset : offset + _size(shape, dtype)].view(dtype).reshape(shape)
        self._reached[id(values)] = (block.device + offset if block.device else 0, values)
        return values

    def described(self, values: Array) -> tuple[Any, ...]:
        """What a message says of an array."""
        shape, kind = tuple(map(int, values.shape)), values.dtype.str
        found = self._place(values) if self.shares and values.flags.c_contiguous else None
        if found is None:
            return ("stream", shape, kind)
        return ("shared", found[0], found[1], shape, kind)

    def chunks(self, values: Array) -> Iterator[bytes]:
        """An array's bytes, piece by piece."""
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            yield flat[start : start + CHUNK].tobytes()

    def device_address(self, values: Array) -> int:
        """Where the GPU reaches an array itself; 0 where it doesn't."""
        reached = self._reached.get(id(values))
        if reached is not None:
            return reached[0]
        place = self._place(values)
        if place is None:
            return 0
        block = self._block(place[0])
        return block.device + place[1] if block.device else 0

    def _place(self, values: Array) -> tuple[int, int] | None:
        start = int(values.ctypes.data)
        for number, block in self._blocks.items():
            if block.start <= start < block.start + block.bytes.size:
                return number, start - block.start
        return None

    def _block(self, number: int) -> Block:
        block = self._blocks[number]
        if block.registered is None and self.cuda is not None:
            self._register(block, self.cuda)
        return block

    def _register(self, block: Block, cuda: Cuda) -> None:
        device = cuda.page_lock(block.start, block.bytes.size)
        block.registered = device is not None
        block.device = device or 0

    def _release(self, block: Block) -> None:
        if block.registered and self.cuda is not None:
            self.cuda.unlock(block.start)


def _size(shape: Sequence[int], dtype: Any) -> int:
    return int(np.prod(shape, dtype=np.int64)) * int(dtype.itemsize)
