"""Watching TensorRT at work: what it says, progress bars per phase, and Ctrl-C that reaches it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from calaudit.backends.tensorrt.detect import Library, TensorrtModule
from calaudit.runtime import interrupts
from calaudit.runtime.interrupts import Kept
from calaudit.runtime.progress import Counter, counter

LAYER_REPORT: Final = "Layers:"
"""How the verbose message begins that lists an engine's layers."""

_LOGGERS: Final[dict[Library, Any]] = {}
"""TensorRT keeps the first logger it is given for the whole process, and so do we."""


@dataclass(slots=True)
class Heard:
    """Messages of one piece of work, each on one line; the layer report as it came."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layer_report: str | None = None

    def explain(self) -> str:
        """The errors in a sentence; for a failure that TensorRT said nothing about, that."""
        return "; ".join(dict.fromkeys(self.errors)) or "TensorRT gave no reason"


_LISTENERS: Final[dict[Library, list[Heard]]] = {}


@contextmanager
def listening(found: TensorrtModule) -> Iterator[tuple[Any, Heard]]:
    """The logger to make builders, parsers and runtimes with, and what is heard meanwhile."""
    if found.library not in _LOGGERS:
        _LISTENERS[found.library] = []
        _LOGGERS[found.library] = _make_logger(found, _LISTENERS[found.library])
    heard = Heard()
    listeners = _LISTENERS[found.library]
    listeners.append(heard)
    try:
        yield _LOGGERS[found.library], heard
    finally:
        listeners[:] = [each for each in listeners if each is not heard]


def _make_logger(found: TensorrtModule, listeners: list[Heard]) -> Any:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    failures = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
            if severity in failures:
                for heard in listeners:
                    heard.errors.append(_one_line(msg))
            elif severity == trt.ILogger.Severity.WARNING:
                for heard in listeners:
                    heard.warnings.append(_one_line(msg))
            elif msg.startswith(LAYER_REPORT):
                for heard in listeners:
                    heard.layer_report = msg

    return Logger()


def _one_line(message: str) -> str:
    return " ".join(message.split())


@contextmanager
def watched(
    found: TensorrtModule,
    config: Any,
    what: str,
    *,
    pointless: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Show the phases of the build that `config` (an ``IBuilderConfig``) is used for.

    Stands in an `unbroken` function: TensorRT swallows what is raised in its calls of our methods,
    and Python would raise a request to end in whichever comes next, the logger's most likely. A
    request cancels the build at its next step, and is raised on leaving. The build is cancelled
    too once `pointless` says that nobody will use it.
    """
    kept = Kept()
    bars = _Bars()
    with interrupts.listening():
        if found.abilities.progress:
            config.progress_monitor = _make_monitor(found, what, bars, kept, pointless)
        try:
            yield
        finally:
            bars.close()
            if found.abilities.progress:
                config.progress_monitor = None
        kept.raise_first()
        interrupts.stop_if_asked()


class _Bars:
    """Bars of the phases that run."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[ExitStack, Counter]] = {}

    def start(self, phase: str, title: str, n: int) -> None:
        """A bar over `n` steps."""
        stack = ExitStack()
        self._running[phase] = (
            stack,
            stack.enter_context(counter(n, what=title, unit="step")),
        )

    def advance(self, phase: str) -> None:
        """One step is done."""
        if phase in self._running:
            self._running[phase][1].advance(1)

    def finish(self, phase: str) -> None:
        """Remove a phase's bar."""
        if phase in self._running:
            self._running.pop(phase)[0].close()

    def close(self) -> None:
        """Remove the bars that a cancelled build left."""
        for phase in list(self._running):
            self.finish(phase)


def _make_monitor(
    found: TensorrtModule, what: str, bars: _Bars, kept: Kept, pointless: Callable[[], bool]
) -> Any:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with kept:
                bars.start(phase_name, what if parent_phase is None else phase_name, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            with kept:
                bars.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with kept:
                bars.advance(phase_name)
            return not (kept.errors or interrupts.asked() or pointless())

    return Monitor()
