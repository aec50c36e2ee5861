"""Calibration batches served from device memory: while TensorRT works on one, the next comes in."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .cuda import Cuda
    from .line import Line

N_SLOTS = 2
"""One batch that TensorRT works on, one that is being read and copied."""


class HostBatches:
    """A calibration set that the host reads, batch by batch.

    Parameters
    ----------
    line : Line
    about : mapping
        What the host says of it: ``n_batches``, ``size``, and ``sizes``: input → bytes of a batch.
    """

    def __init__(self, line: Line, about: Mapping[str, Any]) -> None:
        self._line = line
        self.n_batches = int(about["n_batches"])
        self.size = int(about["size"])
        """Samples per batch."""
        self.sizes: Mapping[str, int] = about["sizes"]
        """Input → bytes of one batch."""

    def read(self, number: int) -> Mapping[str, Any]:
        """A batch: input → array; the host leaves its memory alone until the batch after next."""
        return self._line.need("batch", number=number)[1]


class DeviceBuffers:
    """Device memory for `N_SLOTS` batches, each with a stream of its own.

    Parameters
    ----------
    cuda : Cuda
        Its context is current.
    sizes : mapping
        Input → bytes of one batch.
    """

    def __init__(self, cuda: Cuda, sizes: Mapping[str, int]) -> None:
        self._cuda = cuda
        self._devices: list[dict[str, Any]] = [
            {name: cuda.take_memory(size, f"calibration of {name}") for name, size in sizes.items()}
            for _ in range(N_SLOTS)
        ]
        self._streams = [cuda.driver.Stream() for _ in range(N_SLOTS)]
        self._held: list[Mapping[str, Any]] = [{} for _ in range(N_SLOTS)]

    def send(self, slot: int, batch: Mapping[str, Any]) -> None:
        """Start copying a batch, in another thread than the one that made these."""
        with self._cuda.current():
            for name, device in self._devices[slot].items():
                self._cuda.driver.memcpy_htod_async(device, batch[name], self._streams[slot])
        self._held[slot] = batch

    def wait(self, slot: int) -> dict[str, int]:
        """Wait until a slot's copies have arrived; gives the device addresses, by input."""
        self._streams[slot].synchronize()
        return {name: int(device) for name, device in self._devices[slot].items()}

    def close(self) -> None:
        """Free the memory, once the copies have ended."""
        for stream in self._streams:
            stream.synchronize()
        for device in (each for slot in self._devices for each in slot.values()):
            device.free()
        self._devices, self._streams, self._held = [], [], []


class BatchFeed:
    """Serves batches; while TensorRT works on one, the next is read and copied.

    Batch i lies in slot i mod 2. TensorRT asks for a batch when it is done with the one before,
    so that one's slot is free to be filled from then on.

    Parameters
    ----------
    batches : HostBatches
    buffers : DeviceBuffers
        With room for the batches; they have to outlast the feed.
    """

    def __init__(self, batches: Any, buffers: Any) -> None:
        self._batches = batches
        self._buffers = buffers
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="calaudit-calibration")
        self._ahead: Future[bool] = self._thread.submit(self._load, 0)
        self.served = 0
        """Batches that TensorRT got."""

    @property
    def n_batches(self) -> int:
        """Batches there are."""
        return int(self._batches.n_batches)

    @property
    def batch_size(self) -> int:
        """Samples per batch."""
        return int(self._batches.size)

    def next(self, names: Sequence[str]) -> list[int] | None:
        """Device addresses of the next batch, in the order of `names`; None after the last.

        Raises
        ------
        RefusedError
            `names` aren't the inputs.
        """
        known = self._batches.sizes
        if sorted(names) != sorted(known):
            raise RefusedError(
                f"TensorRT asked for {', '.join(names) or 'no input'}; "
                f"the network was given {', '.join(known)}",
                "Report this as a bug of calaudit.",
            )
        if not self._ahead.result():
            return None
        slot = self.served % N_SLOTS
        addresses = self._buffers.wait(slot)
        self.served += 1
        self._ahead = self._thread.submit(self._load, self.served)
        return [addresses[name] for name in names]

    def close(self) -> None:
        """Wait for the reading thread."""
        self._thread.shutdown(wait=True)

    def _load(self, number: int) -> bool:
        """Read one batch and start its copy; False when none is left."""
        if number >= self.n_batches:
            return False
        self._buffers.send(number % N_SLOTS, self._batches.read(number))
        return True
