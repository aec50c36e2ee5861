"""A worker in this process: its code runs in a thread, so that a test sees what it did.

The library that it finds is a FAKE around NVIDIA's bindings, and host memory stands in for the
GPU's while it calibrates; what lies between them and the host is as in a process of its own.
"""

import contextlib
import queue
import threading
from typing import Any

import execnet
import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.backends.tensorrt import link
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.session import Session
from calaudit.backends.tensorrt.worker import implicit, main, state
from calaudit.backends.tensorrt.worker.detect import TensorrtModule, find_tensorrt
from calaudit.backends.tensorrt.worker.feed import N_SLOTS
from calaudit.backends.tensorrt.worker.line import Line
from tests.backends.tensorrt.fakes.fake_tensorrt import Behaviour, make_module


class Buffers:
    """A FAKE of device memory. Keeps what was done, and by which thread."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._devices: list[dict[str, NDArray[Any]]] = [
            {name: np.zeros(size, np.uint8) for name, size in sizes.items()} for _ in range(N_SLOTS)
        ]
        self.sent: list[int] = []
        """Slots, in the order of their copies."""
        self.senders: set[int] = set()
        """Threads that started copies."""
        self.waited: list[int] = []
        self.open = True
        self._sent_one = threading.Condition()

    def send(self, slot: int, batch: dict[str, NDArray[Any]]) -> None:
        assert self.open
        for name, device in self._devices[slot].items():
            device[...] = batch[name].reshape(-1).view(np.uint8)
        with self._sent_one:
            self.sent.append(slot)
            self.senders.add(threading.get_ident())
            self._sent_one.notify_all()

    def wait(self, slot: int) -> dict[str, int]:
        assert self.open
        self.waited.append(slot)
        return {name: device.ctypes.data for name, device in self._devices[slot].items()}

    def close(self) -> None:
        self.open = False

    def wait_for_sends(self, n: int) -> None:
        """Block until `n` copies were started."""
        with self._sent_one:
            assert self._sent_one.wait_for(lambda: len(self.sent) >= n, timeout=300)


class _Channel:
    """What execnet gives a worker, without a line: messages become bytes all the same."""

    def __init__(self, outbox: "queue.SimpleQueue[Any]") -> None:
        self._outbox = outbox
        self.arrived: Any = None

    def setcallback(self, callback: Any, endmarker: Any) -> None:
        self.arrived = callback

    def send(self, message: Any) -> None:
        self._outbox.put(execnet.loads(execnet.dumps(message)))


class _Process:
    """`Process`, but its worker is a thread."""

    lost = False

    def __init__(self, location: Location) -> None:
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._channel = _Channel(self._inbox)
        kept = state.State(Line(self._channel))
        self._inbox.put(("hello", {"pid": 0, "python": "3", "tf32": "off"}))
        threading.Thread(target=self._serve, args=(kept,), daemon=True).start()

    @staticmethod
    def _serve(kept: Any) -> None:
        with contextlib.suppress(ValueError):  # what `kill` sends is no request
            while True:
                main._answer(kept)

    def send(self, message: Any) -> None:
        self._channel.arrived(execnet.loads(execnet.dumps(message)))

    def receive(self, timeout: float) -> Any:
        return self._inbox.get(timeout=timeout)

    def kill(self) -> None:
        """Whatever it waits for doesn't come."""
        for _ in range(2):
            self._channel.arrived(("killed",))

    def ending(self) -> str:
        return "isn't one"

    def stderr(self) -> str:
        return ""

    def error_there(self) -> str:
        return ""


class Loopback:
    """Sessions whose worker is in this process, and the memory that it used."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.made: list[Buffers] = []
        patch.setattr(link, "Process", _Process)
        patch.setattr(implicit, "make_buffers", self._buffers)

    def session(self, behaviour: Behaviour, **abilities: bool) -> Session:
        """A session with a TensorRT that behaves so, and lacks or has these abilities."""
        found = find_tensorrt("tensorrt")
        assert isinstance(found, TensorrtModule), found
        changed = found.abilities._replace(**abilities)
        module = found._replace(module=make_module(behaviour), abilities=changed)
        self._patch.setattr(state, "find_tensorrt", lambda _: module)
        return Session(Location("tensorrt"))

    def _buffers(self, _: Any, sizes: dict[str, int]) -> Buffers:
        self.made.append(Buffers(sizes))
        return self.made[-1]
