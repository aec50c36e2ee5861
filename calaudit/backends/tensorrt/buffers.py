"""Page-locked host memory and device memory that calibration batches pass through."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.detect import Missing, find_pycuda
from calaudit.errors import BackendError

N_SLOTS: Final = 2
"""One batch that TensorRT works on, one that is being read and copied."""


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

    def close(self) -> None:
        """Give all memory back."""
        ...


class PycudaBuffers:
    """Buffers on the device whose CUDA context is current in the calling thread.

    Parameters
    ----------
    shapes : mapping
        Input → shape of one batch.
    dtypes : mapping
        Input → element type.

    Raises
    ------
    BackendError
        pycuda isn't usable here, or memory runs out.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]
    ) -> None:
        cuda = find_pycuda()
        if isinstance(cuda, Missing):
            raise BackendError(str(cuda), next_step=cuda.next_step)
        self._cuda: Any = cuda
        self._context = self._cuda.Context.get_current()
        if self._context is None:
            raise BackendError("no CUDA context is current: TensorRT couldn't calibrate")
        try:
            self._hosts: list[dict[str, Any]] = [
                {name: cuda.pagelocked_empty(shapes[name], dtypes[name]) for name in shapes}
                for _ in range(N_SLOTS)
            ]
            self._devices: list[dict[str, Any]] = [
                {name: cuda.mem_alloc(max(1, host.nbytes)) for name, host in hosts.items()}
                for hosts in self._hosts
            ]
            self._streams = [cuda.Stream() for _ in range(N_SLOTS)]
        except cuda.Error as error:
            raise BackendError(
                f"no memory for calibration batches: {error}",
                next_step="Make calibration batches smaller.",
            ) from error

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Make the buffers' CUDA context current in the calling thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def host(self, slot: int) -> Mapping[str, NDArray[Any]]:
        """Page-locked host arrays of a slot."""
        return self._hosts[slot]

    def send(self, slot: int) -> None:
        """Start copying on the slot's own stream."""
        for name, device in self._devices[slot].items():
            self._cuda.memcpy_htod_async(device, self._hosts[slot][name], self._streams[slot])

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
        self._devices, self._hosts = [], []
