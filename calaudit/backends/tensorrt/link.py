"""A worker as this process sees it: requests with answers, and what goes wrong on the way.

Whatever interrupts a request ends the worker: Ctrl-C, an error while it is served, a worker that
dies, hangs or exhausts the GPU's memory. `session` then starts another one.
"""

import queue
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from calaudit.backends.base import Missing
from calaudit.backends.tensorrt.bars import Bars
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.process import Process
from calaudit.backends.tensorrt.shared import Probe, SharedBlocks, copy_rows
from calaudit.runtime.errors import BackendError
from calaudit.runtime.interrupts import stop_if_asked

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Values = Mapping[str, Any]
Serve = Callable[[str, Values], tuple[Values, Arrays]]
"""Answers what a worker needs in the middle of a request: its name and values."""

_TICK: Final = 0.2
"""Seconds between two looks at requests to end."""
_CHUNK: Final = 2**26
"""Bytes of one message: execnet's limit is 2 GiB."""
_MEMORY: Final = "Free memory on the GPU, or lower batch_size."
_AHEAD: Final = 2
"""Calibration batches that a worker copies from at a time."""
_BUG: Final = "Report this as a bug of calaudit, with the text above."


class RefusedError(BackendError):
    """A request that the worker understood and couldn't meet."""

    kind: str = ""
    """What can be told apart: ``"memory"``, ``"plan"``, ``"capability"``, ``"bug"``."""


class LostError(BackendError):
    """The connection to another machine has ended."""


@dataclass(slots=True)
class Said:
    """What TensorRT said since a request began."""

    errors: list[str] = field(default_factory=list)
    last: str = ""
    """The latest message of any kind."""

    def last_words(self) -> str:
        """What is to be quoted when nothing more comes."""
        if self.errors:
            return f"; TensorRT's last errors: {'; '.join(dict.fromkeys(self.errors[-3:]))}"
        return f"; TensorRT's last words: {' '.join(self.last.split())}" if self.last else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gave."""

    values: Values
    arrays: Arrays


class Worker:
    """One worker: a process, and the memory that it shares with this one.

    Raises
    ------
    BackendError
        It can't be started, or lacks numpy.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._process = Process(location)
        self._said = Said()
        self._bars: Bars | None = None
        self._lent: dict[int, Array] = {}
        self._sent: list[Arrays] = []
        """In shared memory: the worker reads them until it answers."""
        self._given: deque[Arrays] = deque(maxlen=_AHEAD)
        """In shared memory: what the worker needed last, from which it may still copy."""
        self._shared: SharedBlocks | None = None
        self.alive = True
        try:
            hello = self._receive("start")[1]
            if "missing" in hello:
                missing = Missing(*hello["missing"])
                raise BackendError(str(missing), where=location, next_step=missing.next_step)
            self.hello: Values = hello
            """The worker's pid, Python, and what it says of TF32."""
            probe = Probe()
            told = self.ask("hello.share", {"tokens": probe.tokens}).values
            reached = probe.reached(told["shared"])
            self._shared = SharedBlocks(reached) if reached else None
        except BaseException:
            self.kill()
            raise

    @property
    def shares(self) -> bool:
        """Whether arrays reach it through shared memory."""
        return self._shared is not None

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """An uninitialised array that reaches the worker without being copied, where any can."""
        return np.empty(shape, dtype) if self._shared is None else self._shared.empty(shape, dtype)

    def ask(
        self,
        verb: str,
        values: Values | None = None,
        arrays: Arrays | None = None,
        *,
        what: str = "",
        where: object = None,
        outputs: Sequence[int] = (),
        serve: Serve | None = None,
    ) -> Answer:
        """Ask for something and wait for the answer.

        Parameters
        ----------
        verb : str
            A function of the worker's modules: ``"runner.run"``.
        values, arrays : mapping
            Its arguments: simple values, and arrays of any order and place.
        what : str
            Name of the work in messages and on bars; default: the verb.
        where : object
            The model, for errors.
        outputs : sequence of int
            Sizes in bytes that arrays of the answer are expected to have.
        serve : callable
            Gives what the worker needs meanwhile.

        Raises
        ------
        RefusedError
            The worker can't.
        LostError
            The connection has ended.
        BackendError
            The worker died, or hangs.
        """
        what = what or verb
        self._said, self._bars = Said(), Bars(what)
        try:
            offered = [self._lend(size) for size in outputs] if self._shared is not None else []
            self._send(("do", verb, dict(values or {})), arrays or {}, offered)
            while True:
                kind, *rest = self._receive(what)
                if kind == "answer":
                    found, described = rest
                    return Answer(found, {key: self._taken(d) for key, d in described.items()})
                if kind == "refused":
                    raise self._refusal(rest[0], what, where)
                if kind == "need":
                    self._serve(serve, *rest)
        except RefusedError as error:
            if error.kind in {"memory", "fatal", "bug"}:
                self.kill()
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            self._lent.clear()
            self._sent.clear()
            self._given.clear()
            self._bars.close()

    def kill(self) -> None:
        """End the process at once."""
        self.alive = False
        self._process.kill()
        if self._shared is not None:
            self._shared.close()

    def _serve(self, serve: Serve | None, what: str, values: Values) -> None:
        if what == "room":
            found: Values = {"block": self._lend(int(values["size"]))}
            self._send(("given", found), {}, ())
            return
        if serve is None:
            raise BackendError(f"the worker asked for {what}", next_step=_BUG)
        found, arrays = serve(what, values)
        self._send(("given", dict(found)), arrays, ())

    def _send(self, head: tuple[Any, ...], arrays: Arrays, offered: Sequence[int]) -> None:
        placed = {name: self._placed(values) for name, values in arrays.items()}
        (self._sent if head[0] == "do" else self._given).append(placed)
        described = {name: self._described(values) for name, values in placed.items()}
        news = {} if self._shared is None else self._shared.news()
        try:
            self._process.send((*head, described, {**news, "offered": list(offered)}))
            for name, (way, *_) in described.items():
                if way == "stream":
                    for chunk in _chunks(placed[name]):
                        self._process.send(chunk)
                        stop_if_asked()
        except OSError:
            return  # the line is cut: `_receive` finds out why

    def _receive(self, what: str) -> Any:
        """The worker's next message that isn't an event."""
        deadline = time.monotonic() + self._location.timeout
        while True:
            stop_if_asked()
            try:
                message = self._process.receive(_TICK)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise self._hanging(what) from None
                continue
            if message is None:
                raise self._ended(what)
            if isinstance(message, bytes) or message[0] != "event":
                return message
            deadline = time.monotonic() + self._location.timeout
            self._hear(*message[1:])

    def _hear(self, kind: str, values: Sequence[Any]) -> None:
        if kind == "said":
            severity, self._said.last = values
            if severity != "WARNING":
                self._said.errors.append(self._said.last)
        elif kind == "alive":
            (self._said.last,) = values
        elif kind == "mapped" and self._shared is not None:
            self._shared.mapped(values[0])
        elif kind == "phase" and self._bars is not None:
            self._bars.show(*values)

    def _placed(self, values: Array) -> Array:
        """The array itself where the worker reaches it, or a copy that it reaches."""
        if self._shared is None:
            return np.ascontiguousarray(values)
        if self._shared.place(values) is not None:
            return values
        copied = self._shared.empty(values.shape, values.dtype)
        if values.ndim:
            copy_rows(copied, values)
        else:
            copied[...] = values
        return copied

    def _described(self, values: Array) -> tuple[Any, ...]:
        place = None if self._shared is None else self._shared.place(values)
        shape, kind = tuple(map(int, values.shape)), values.dtype.str
        return ("stream", shape, kind) if place is None else ("shared", *place, shape, kind)

    def _lend(self, n_bytes: int) -> int:
        """A block for the worker to write to; its number."""
        if self._shared is None:
            raise BackendError("the worker asked for shared memory", next_step=_BUG)
        lease = self._shared.lease(n_bytes)
        number, _ = self._shared.place(lease) or (0, 0)
        self._lent[number] = lease
        return number

    def _taken(self, described: Sequence[Any]) -> Array:
        way, *rest = described
        dtype = np.dtype(rest[-1])
        shape = tuple(rest[-2])
        if way == "shared":
            number, offset = rest[:2]
            n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            part: Array = self._lent[number][offset : offset + n_bytes].view(dtype)
            return part.reshape(shape)
        made = np.empty(shape, dtype)
        flat, at = made.reshape(-1).view(np.uint8), 0
        while at < flat.size:
            chunk = np.frombuffer(self._receive("receive"), np.uint8)
            flat[at : at + chunk.size] = chunk
            at += chunk.size
        return made

    def _refusal(self, told: Mapping[str, Any], what: str, where: object) -> RefusedError:
        message, step = told["message"], told["next_step"] or None
        if told["kind"] == "memory":
            message, step = f"{what}: {message}", step or _MEMORY
        error = RefusedError(message, where=where, next_step=step or _BUG)
        error.kind = told["kind"] or ("fatal" if told["fatal"] else "")
        return error

    def _hanging(self, what: str) -> BackendError:
        seconds = f"{self._location.timeout:g} s"
        return BackendError(
            f"the worker gave no sign of life for {seconds} ({what}) and was ended"
            f"{self._said.last_words()}",
            where=self._location,
            next_step="Give it more time by timeout, or see what else uses the GPU.",
        )

    def _ended(self, what: str) -> BackendError:
        trace, told = self._process.error_there(), self._process.stderr()
        tail = f"; its standard error: {told}" if told else ""
        if self._process.lost:
            return LostError(
                f"the connection to {self._location.host} was lost ({what}){tail}",
                where=self._location,
                next_step="Run again once the machine can be reached: finished cells are reused.",
            )
        if trace:
            return BackendError(
                f"the worker failed:\n{trace}", where=self._location, next_step=_BUG
            )
        return BackendError(
            f"the worker {self._process.ending()} ({what}){self._said.last_words()}{tail}",
            where=self._location,
            next_step="See the system's log for who ended it; this TensorRT may be at fault.",
        )


def _chunks(values: Array) -> "Sequence[bytes]":
    flat = values.reshape(-1).view(np.uint8)
    return [flat[at : at + _CHUNK].tobytes() for at in range(0, flat.size, _CHUNK)]
