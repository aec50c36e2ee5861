"""Where TensorRT is, and its worker of the moment: started when first needed."""

import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from calaudit.backends.base import Missing
from calaudit.backends.tensorrt.link import LostError, Worker
from calaudit.backends.tensorrt.location import TITLES, Location

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Found:
    """What a target has."""

    library: str | None
    """Version of its TensorRT; None where there is none that can be used."""
    abilities: Mapping[str, bool]
    """`calaudit.backends.tensorrt.worker.detect.Abilities`; empty without a library."""
    gpu: str | None
    """Name of its GPU; None where engines can't run."""
    compute_capability: str | None
    builds_for: tuple[str, ...]
    """Compute capabilities that engines can be built for without such a GPU."""
    missing: tuple[Missing, ...]
    """What keeps it from doing more."""
    tf32: str
    """``"off"``, or what keeps it on."""
    python: str = ""
    """Version of the interpreter."""

    @property
    def device(self) -> str | None:
        """``"NVIDIA H100 (compute capability 9.0)"``."""
        if self.gpu is None:
            return None
        return f"{self.gpu} (compute capability {self.compute_capability})"


class Session:
    """A target and its worker of the moment."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._worker: Worker | None = None
        self._found: Found | None = None
        self._lock = threading.RLock()

    def perform(self, work: Callable[[Worker], Result]) -> Result:
        """Let a worker do something; on a connection that is lost once, all of it once more.

        Raises
        ------
        BackendError
            As from `work`, or no worker can be had.
        """
        with self._lock:
            try:
                return work(self._current())
            except LostError as error:
                first = error
            try:
                return work(self._current())
            except LostError as error:
                error.add_note(f"before: {first}")
                raise

    def look(self) -> Found:
        """What the target has. Raises `BackendError` where it can't be reached."""
        if self._found is None or self._found.missing:  # what was missing may be there by now
            self._found = self.perform(self._look)
        return self._found

    @property
    def title(self) -> str:
        """``TensorRT 10.16.1.11``; without a version where there is none."""
        name, version = TITLES[self.location.library], self.look().library
        return name if version is None else f"{name} {version}"

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
            self._worker = None

    def _current(self) -> Worker:
        if self._worker is None or not self._worker.alive:
            self._worker = None
            worker = Worker(self.location)
            # Imports the library: whatever is asked next needs it.
            worker.ask("hello.look", {"library": self.location.library}, what="import TensorRT")
            self._worker = worker
        return self._worker

    def _there(self, missing: Missing) -> Missing:
        """What is missing, with a step that says on which machine it is to be taken."""
        if self.location.ssh is None:
            return missing
        step = re.sub(r"\b([Rr]un): ", rf"\1 on {self.location.host}: ", missing.next_step)
        return replace(missing, next_step=step)

    def _look(self, worker: Worker) -> Found:
        told = worker.ask("hello.look", {"library": self.location.library}).values
        library = told["library"] or {}
        name, capability = told["gpu"] or (None, None)
        return Found(
            library=library.get("version"),
            abilities=library.get("abilities", {}),
            gpu=name,
            compute_capability=capability,
            builds_for=tuple(told.get("builds_for", ())),
            missing=tuple(self._there(Missing(*each)) for each in told["missing"]),
            tf32=str(worker.hello["tf32"]),
            python=str(worker.hello["python"]),
        )


_examined: dict[Location, Session] = {}
"""Sessions that nobody uses yet but those who looked: a worker takes long to start."""
_used: "weakref.WeakValueDictionary[Location, Session]" = weakref.WeakValueDictionary()
"""Sessions of backends: their workers end with the last backend and engine that uses them."""


def session_of(location: Location) -> Session:
    """The one session of a location in this process."""
    found = _used.get(location) or _examined.get(location)
    if found is None:
        found = _examined[location] = Session(location)
    return found


def take_session(location: Location) -> Session:
    """The one session of a location, from now on for as long as somebody holds it."""
    found = session_of(location)
    _examined.pop(location, None)
    _used[location] = found
    return found
