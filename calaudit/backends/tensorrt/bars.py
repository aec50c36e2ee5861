"""Progress bars of the phases of a build that runs elsewhere."""

from contextlib import ExitStack
from typing import Literal

from calaudit.runtime.progress import Counter, counter


class Bars:
    """Bars of the phases that run.

    Parameters
    ----------
    what : str
        Name of the outermost one.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._running: dict[str, tuple[ExitStack, Counter]] = {}

    def show(
        self, step: Literal["start", "step", "finish"], phase: str, parent: str | None, n: int
    ) -> None:
        """A phase starts with `n` steps, has done one more, or ends."""
        if step == "start":
            self.finish(phase)
            stack = ExitStack()
            title = self._what if parent is None else phase
            self._running[phase] = (stack, stack.enter_context(counter(n, what=title, unit="step")))
        elif step == "finish":
            self.finish(phase)
        elif phase in self._running:
            self._running[phase][1].advance(1)

    def finish(self, phase: str) -> None:
        """Remove a phase's bar."""
        if phase in self._running:
            self._running.pop(phase)[0].close()

    def close(self) -> None:
        """Remove the bars that are left."""
        for phase in list(self._running):
            self.finish(phase)
