"""A FAKE of device memory: host memory stands in for it where there is no GPU."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.feed import N_SLOTS


class FakeDeviceBuffers:
    """`DeviceBuffers` in host memory. Keeps what was done, and by which thread."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]
    ) -> None:
        self._hosts, self.devices = (
            [
                {name: np.zeros(shapes[name], dtypes[name]) for name in shapes}
                for _ in range(N_SLOTS)
            ]
            for _ in range(2)
        )
        self.sent: list[int] = []
        """Slots, in the order of their copies."""
        self.senders: set[int] = set()
        """Threads that started copies."""
        self.waited: list[int] = []
        self.open = True
        self._sent_one = threading.Condition()

    def attached(self) -> nullcontext[None]:
        return nullcontext()

    def host(self, slot: int) -> dict[str, NDArray[Any]]:
        assert self.open
        return self._hosts[slot]

    def send(self, slot: int) -> None:
        assert self.open
        for name, device in self.devices[slot].items():
            device[...] = self._hosts[slot][name]
            self._hosts[slot][name].view(np.uint8)[...] = 0xEE
        with self._sent_one:
            self.sent.append(slot)
            self.senders.add(threading.get_ident())
            self._sent_one.notify_all()

    def wait(self, slot: int) -> dict[str, int]:
        assert self.open
        self.waited.append(slot)
        return {name: device.ctypes.data for name, device in self.devices[slot].items()}

    def wait_for_sends(self, n: int) -> None:
        """Block until `n` copies were started."""
        with self._sent_one:
            assert self._sent_one.wait_for(lambda: len(self.sent) >= n, timeout=30)


class FakeGpu:
    """Makes fake buffers, and remembers them."""

    def __init__(self) -> None:
        self.made: list[FakeDeviceBuffers] = []

    @contextmanager
    def __call__(
        self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]], /
    ) -> Iterator[FakeDeviceBuffers]:
        buffers = FakeDeviceBuffers(shapes, dtypes)
        self.made.append(buffers)
        try:
            yield buffers
        finally:
            buffers.open = False
