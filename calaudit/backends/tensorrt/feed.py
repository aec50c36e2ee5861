"""Calibration batches served from device memory, one read ahead through page-locked memory."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.cuda import Cuda, require_cuda
from calaudit.runtime.errors import BackendError, Notice, near

N_SLOTS: Final = 2
"""One batch that TensorRT works on, one that is being read and copied."""

Shapes = Mapping[str, tuple[int, ...]]
Dtypes = Mapping[str, np.dtype[Any]]


class Batches(Protocol):
    """A calibration set, batch by batch, as `source.BatchReader` reads one."""

    @property
    def n_batches(self) -> int:
        """Batches there are."""
        ...

    @property
    def size(self) -> int:
        """Samples per batch."""
        ...

    @property
    def shapes(self) -> Shapes:
        """Shape of one batch, by input."""
        ...

    @property
    def dtypes(self) -> Dtypes:
        """Element type, by input."""
        ...

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What calibration sees differently from the set."""
        ...

    def read(self) -> Generator[Mapping[str, NDArray[Any]], None, None]:
        """All batches in order: input → (size, …)."""
        ...


class DeviceBuffers(Protocol):
    """`N_SLOTS` slots, each with room for one batch of every input on the host and the device.

    One thread at a time uses a slot. Only `PycudaBuffers` reaches a GPU; tests put a stand-in in
    its place where none is.
    """

    def attached(self) -> AbstractContextManager[None]:
        """Make the device usable in the calling thread, for as long as the context lasts."""
        ...

    def host(self, slot: int) -> Mapping[str, NDArray[Any]]:
        """Host arrays of a slot, by input: to be filled while no copy from them is under way."""
        ...

    def send(self, slot: int) -> None:
        """Start copying a slot's host arrays to the device; returns at once."""
        ...

    def wait(self, slot: int) -> Mapping[str, int]:
        """Wait until a slot's copies have arrived; gives the device addresses, by input."""
        ...


class MakeBuffers(Protocol):
    """Makes buffers that last as long as the context."""

    def __call__(self, shapes: Shapes, dtypes: Dtypes, /) -> AbstractContextManager[DeviceBuffers]:
        """Buffers for batches of these shapes and element types, by input."""
        ...


@contextmanager
def pycuda_buffers(shapes: Shapes, dtypes: Dtypes) -> Iterator["PycudaBuffers"]:
    """Buffers on the GPU, with its context current, as TensorRT needs it while it calibrates.

    Raises
    ------
    BackendError
        pycuda or a GPU isn't usable here, or a CUDA call failed.
    """
    cuda = require_cuda()
    with cuda.current():
        buffers = PycudaBuffers(cuda, shapes, dtypes)
        try:
            yield buffers
        finally:
            buffers.close()


class PycudaBuffers:
    """Buffers on the GPU, each slot with a stream of its own.

    Parameters
    ----------
    cuda : Cuda
        Its context is current.
    shapes : mapping
        Input → shape of one batch.
    dtypes : mapping
        Input → element type.
    """

    def __init__(self, cuda: Cuda, shapes: Shapes, dtypes: Dtypes) -> None:
        driver = cuda.driver
        self._cuda = cuda
        self._hosts: list[dict[str, Any]] = [
            {name: driver.pagelocked_empty(shapes[name], dtypes[name]) for name in shapes}
            for _ in range(N_SLOTS)
        ]
        self._devices: list[dict[str, Any]] = [
            {name: driver.mem_alloc(host.nbytes) for name, host in hosts.items()}
            for hosts in self._hosts
        ]
        self._streams = [driver.Stream() for _ in range(N_SLOTS)]

    def attached(self) -> AbstractContextManager[None]:
        """Make the GPU's context current in the calling thread."""
        return self._cuda.current()

    def host(self, slot: int) -> Mapping[str, NDArray[Any]]:
        """Page-locked host arrays of a slot."""
        return self._hosts[slot]

    def send(self, slot: int) -> None:
        """Start copying on the slot's own stream."""
        for name, device in self._devices[slot].items():
            host = self._hosts[slot][name]
            self._cuda.driver.memcpy_htod_async(device, host, self._streams[slot])

    def wait(self, slot: int) -> Mapping[str, int]:
        """Wait for the slot's stream."""
        self._streams[slot].synchronize()
        return {name: int(device) for name, device in self._devices[slot].items()}

    def close(self) -> None:
        """Free host and device memory, once the copies have ended."""
        for stream in self._streams:
            stream.synchronize()
        for device in (each for slot in self._devices for each in slot.values()):
            device.free()
        self._devices, self._hosts, self._streams = [], [], []


class BatchFeed:
    """Serves a reader's batches; while TensorRT works on one, the next is read and copied.

    Batch i lies in slot i mod 2. TensorRT asks for a batch when it is done with the one before,
    so that one's slot is free to be filled from then on.

    Parameters
    ----------
    reader : Batches
    buffers : DeviceBuffers
        With room for the reader's shapes and types; they have to outlast the feed.
    """

    def __init__(self, reader: Batches, buffers: DeviceBuffers) -> None:
        self._reader = reader
        self._buffers = buffers
        self._batches = reader.read()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="calaudit-calibration")
        self._ahead: Future[bool] = self._thread.submit(self._load, 0)
        self.served = 0
        """Batches that TensorRT got."""

    @property
    def n_batches(self) -> int:
        """Batches there are."""
        return self._reader.n_batches

    @property
    def batch_size(self) -> int:
        """Samples per batch."""
        return self._reader.size

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What TensorRT sees differently from the calibration set."""
        return self._reader.notices

    def next(self, names: Sequence[str]) -> list[int] | None:
        """Device addresses of the next batch, in the order of `names`; None after the last.

        Raises
        ------
        BackendError
            `names` aren't the reader's inputs, or values don't fit them.
        FileFormatError, PoolError
            As from `Batches.read`.
        """
        self._check_names(names)
        if not self._ahead.result():
            return None
        slot = self.served % N_SLOTS
        addresses = self._buffers.wait(slot)
        self._ahead = self._thread.submit(self._load, (slot + 1) % N_SLOTS)
        self.served += 1
        return [addresses[name] for name in names]

    def close(self) -> None:
        """Wait for the reading thread, and close the file."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._batches.close()

    def _load(self, slot: int) -> bool:
        """Read one batch and start its copy; False when none is left."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        for name, array in self._buffers.host(slot).items():
            array[...] = batch[name]
        with self._buffers.attached():
            self._buffers.send(slot)
        return True

    def _check_names(self, names: Sequence[str]) -> None:
        known = self._reader.dtypes
        if sorted(names) == sorted(known):
            return
        strange = [name for name in names if name not in known]
        raise BackendError(
            f"TensorRT asked for {', '.join(names) or 'no input'}; "
            f"the network was given {', '.join(known)}",
            next_step=near(strange[0], known) if strange else "Report this as a bug of calaudit.",
        )
