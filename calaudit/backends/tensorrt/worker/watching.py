"""TensorRT at work: what it says, and the phases of its builds, told to the host as they come."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .detect import TensorrtModule
    from .line import Line

LAYER_REPORT = "Layers:"
"""How the verbose message begins that lists an engine's layers."""


class Heard:
    """Messages of one piece of work, each on one line; the layer report as it came."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layer_report: str | None = None

    def explain(self) -> str:
        """The errors in a sentence; for a failure that TensorRT said nothing about, that."""
        return "; ".join(dict.fromkeys(self.errors)) or "TensorRT gave no reason"


class Ear:
    """The one logger of this process, and who listens to it."""

    def __init__(self, found: TensorrtModule, line: Line) -> None:
        self._line = line
        self._heard: list[Heard] = []
        self.logger = self._make_logger(found)
        """To make builders, parsers and runtimes with."""

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """What is heard meanwhile."""
        heard = Heard()
        self._heard.append(heard)
        try:
            yield heard
        finally:
            self._heard.remove(heard)

    def _hear(self, severity: str, message: str) -> None:
        if severity in {"ERROR", "INTERNAL_ERROR", "WARNING"}:
            text = " ".join(message.split())
            self._line.event("said", severity, text)
            for heard in self._heard:
                (heard.warnings if severity == "WARNING" else heard.errors).append(text)
            return
        if message.startswith(LAYER_REPORT):
            for heard in self._heard:
                heard.layer_report = message
        self._line.beat(message)

    def _make_logger(self, found: TensorrtModule) -> Any:
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = found.module
        hear = self._hear

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
                hear(severity.name, msg)

        return Logger()


def make_monitor(found: TensorrtModule, line: Line, wanted: Any) -> Any:
    """An ``IProgressMonitor`` that tells of a build's phases and ends it once it isn't `wanted`."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            line.event("phase", "start", phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            line.event("phase", "finish", phase_name, None, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            line.event("phase", "step", phase_name, None, step)
            return bool(wanted())

    return Monitor()
