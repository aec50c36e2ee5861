"""The line to the host: requests come in, answers, questions and signs of life go out.

The process ends when the host hangs up, whatever it is doing.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any

import numpy as np

from .arrays import Arrays

Message = Any
"""A tuple whose first element says what it is, or a piece of an array."""
BEAT = 1.0
"""Seconds between two signs of life that carry nothing else."""


class Line:
    """Messages over an execnet channel.

    Host to worker: ``("do", verb, values, arrays, blocks)`` and, when asked, ``("given", values,
    arrays, blocks)``. Worker to host: ``("answer", values, arrays)``, ``("refused", error)``,
    ``("need", what, values)``, ``("event", kind, values)``. The arrays' contents follow a message
    as far as they don't lie in shared memory.
    """

    def __init__(self, channel: Any) -> None:
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._channel = channel
        self._sending = threading.Lock()
        self._beaten = 0.0
        self.arrays = Arrays(self)
        channel.setcallback(self._arrived, endmarker=None)

    def _arrived(self, message: Message | None) -> None:
        if message is None:  # in the receiving thread, in the middle of a build perhaps
            os._exit(0)
        self._inbox.put(message)

    def receive(self) -> Message:
        """The next message, once it is there."""
        return self._inbox.get()

    def request(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The next request: its verb, values and arrays."""
        kind, verb, values, arrays, blocks = self.receive()
        if kind != "do":
            raise ValueError(f"a request was expected, not {kind!r}")
        return verb, values, self._taken(arrays, blocks)

    def need(self, what: str, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask the host for something; gives values and arrays."""
        self.send(("need", what, values))
        kind, found, arrays, blocks = self.receive()
        if kind != "given":
            raise ValueError(f"{what} was expected, not {kind!r}")
        return found, self._taken(arrays, blocks)

    def answer(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Answer the request."""
        described = {name: self.arrays.described(each) for name, each in arrays.items()}
        with self._sending:
            self._channel.send(("answer", values, described))
            for name, (where, *_) in described.items():
                if where == "stream":
                    for chunk in self.arrays.chunks(arrays[name]):
                        self._channel.send(chunk)

    def send(self, message: Message) -> None:
        """Send a message without arrays."""
        with self._sending:
            self._channel.send(message)

    def event(self, kind: str, *values: Any) -> None:
        """Tell the host of something."""
        self.send(("event", kind, values))

    def beat(self, text: str) -> None:
        """A sign of life, with what TensorRT said last; at most one in a second is sent."""
        now = time.monotonic()
        if now - self._beaten >= BEAT:
            self._beaten = now
            self.event("alive", text[:500])

    def _taken(self, arrays: dict[str, Any], blocks: dict[str, Any]) -> dict[str, Any]:
        self.arrays.update(blocks)
        return {name: self.arrays.taken(each) for name, each in arrays.items()}


def as_array(content: bytes) -> Any:
    """Bytes as an array, to be sent."""
    return np.frombuffer(content, np.uint8)
