"""Watching a build: progress bars per phase, and Ctrl-C that reaches TensorRT."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.progress import Counter, counter

ENDINGS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""Signals that end a command."""


@contextmanager
def watched(
    found: TensorrtModule,
    config: Any,
    what: str,
    *,
    pointless: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Show the phases of the build that `config` (an ``IBuilderConfig``) is used for.

    An interrupt cancels the build at its next step and is raised again on leaving. The build is
    cancelled too once `pointless` says that nobody will use it.
    """
    if not found.abilities.progress:
        yield
        return
    bars = _Bars()
    monitor = _make_monitor(found, what, bars, pointless)
    config.progress_monitor = monitor
    try:
        with _interrupts_kept(bars):
            yield
    finally:
        bars.close()
        config.progress_monitor = None
    if bars.interruption is not None:
        raise bars.interruption


@contextmanager
def _interrupts_kept(bars: "_Bars") -> Iterator[None]:
    """Keep what the process's handlers of Ctrl-C and of requests to end raise.

    Python would raise it in whichever of our methods TensorRT calls next, the logger's most
    likely, and TensorRT swallows exceptions there.
    """
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def keep(number: int, frame: FrameType | None) -> None:
        with bars.keeping():
            handlers[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for each in ENDINGS:
            handler = signal.getsignal(each)
            if callable(handler):
                handlers[each] = handler
                signal.signal(each, keep)
    try:
        yield
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


class _Bars:
    """Bars of the phases that run; an exception is kept, since in TensorRT it would be lost."""

    def __init__(self) -> None:
        self.interruption: BaseException | None = None
        self._running: dict[str, tuple[ExitStack, Counter]] = {}

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what is raised within for the end of the build."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, OSError) as error:
            self.interruption = error

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
    found: TensorrtModule, what: str, bars: _Bars, pointless: Callable[[], bool]
) -> Any:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with bars.keeping():
                bars.start(phase_name, what if parent_phase is None else phase_name, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            with bars.keeping():
                bars.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with bars.keeping():
                bars.advance(phase_name)
            return bars.interruption is None and not pointless()

    return Monitor()
