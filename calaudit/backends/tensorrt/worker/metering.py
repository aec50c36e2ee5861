"""The process that asks the GPU's driver what it does: started once, asked in rows."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .state import State

WHAT = "the GPU's power, energy and clocks"


class Row:
    """Readings of one stretch, once it is over."""

    def __init__(self) -> None:
        self.readings: list[dict[str, Any]] = []
        self.missing: tuple[str, ...] | None = None
        """Why there are none: `Missing` as a tuple; None where they are there, or not wanted."""


class MeterProcess:
    """A `meter` at work, or why there is none."""

    def __init__(self, bus: str) -> None:
        self.missing: Missing | None = None
        # This interpreter's: where TensorRT is, nvidia-ml-py is looked for.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _text(), bus, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
        self._hear_first()

    def _hear_first(self) -> None:
        told = self._line()
        if told is None:
            self.missing = Missing(WHAT, "can't be read: the process that asks for it ended", "")
        elif told["missing"] == "nvidia-ml-py":
            step = f"Run: {sys.executable} -m pip install nvidia-ml-py"
            self.missing = Missing(WHAT, f"can't be read: {told['reason']}", step)
        elif told["missing"] is not None:
            step = "Check the driver with nvidia-smi."
            self.missing = Missing(WHAT, f"can't be read: {told['reason']}", step)
        if self.missing is not None:
            self.close()

    def begin(self) -> None:
        """Begin a row; returns when its first reading is made."""
        if self._say():
            self._line()

    def end(self) -> list[dict[str, Any]]:
        """End a row, and give it."""
        found = self._line() if self._say() else None
        return found or []

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()

    def _say(self) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def _line(self) -> Any:
        """What it says next; None once it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


@contextmanager
def metered(state: State, wanted: bool) -> Iterator[Row]:
    """Readings of the GPU meanwhile, where they are wanted and can be had."""
    row = Row()
    if not wanted:
        yield row
        return
    meter = state.meter
    if meter.missing is not None:
        row.missing = tuple(meter.missing)
        yield row
        return
    meter.begin()
    try:
        yield row
    finally:
        row.readings = meter.end()


def _text() -> str:
    name = f"{__package__}.meter"
    spec = importlib.util.find_spec(name)
    loader: Any = None if spec is None else spec.loader
    return str(loader.get_source(name))
