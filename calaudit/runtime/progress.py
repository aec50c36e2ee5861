"""Progress on long work: a bar with rate and time left on a terminal, silence in a log."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from calaudit.runtime.interrupts import stop_if_asked

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
_TICK = 0.5
"""Seconds between two looks at the clock."""


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show what is at work and for how long, where steps can't be counted; bars within stay apart.

    Nothing may be printed meanwhile but by bars.
    """
    if not sys.stderr.isatty():
        yield
        return
    if os.environ.get("TERM") == "dumb":  # which can't go back to a line
        print(f"{what} …", file=sys.stderr)
        yield
        return
    ended = Event()
    with _bar(desc=what, bar_format="{desc}: {elapsed}") as line:

        def tick() -> None:
            while not ended.wait(_TICK):
                line.refresh()

        ticking = Thread(target=tick, name="progress", daemon=True)
        ticking.start()
        try:
            yield
        finally:
            ended.set()
            ticking.join()


def _bar(steps: Iterable[Any] | None = None, **settings: Any) -> "tqdm[Any]":
    """A bar on a terminal."""
    from tqdm import tqdm

    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    # Where nobody said how large a terminal is, as in containers, tqdm would show nothing.
    size = {} if columns and lines else {"ncols": 80, "nrows": 24}
    bar: tqdm[Any] = tqdm(steps, leave=False, **{**settings, **size})
    return bar


def progress(
    steps: Iterable[T], *, total: int | None, what: str, unit: str = "batch"
) -> Iterator[T]:
    """Go through `steps` with a bar on stderr when stderr is a terminal."""
    shown = sys.stderr.isatty()
    for step in _bar(steps, total=total, desc=what, unit=unit) if shown else steps:
        yield step
        stop_if_asked()


class Counter:
    """A bar advanced by hand, for work whose steps differ in size."""

    def __init__(self, bar: "tqdm[Any] | None" = None) -> None:
        self._bar = bar

    def advance(self, n: int) -> None:
        """Count `n` more units as done; a request to end is raised here at the latest."""
        stop_if_asked()
        if self._bar is not None:
            self._bar.update(n)


@contextmanager
def counter(
    total: int | None, *, what: str, unit: str = "sample", scale: bool = False
) -> Iterator[Counter]:
    """A bar over `total` units, for ``with counter(n, what="FP32") as done: done.advance(8)``.

    `scale` shows large counts as k, M, G, for bytes.
    """
    if not sys.stderr.isatty():
        yield Counter()
        return
    with _bar(total=total, desc=what, unit=unit, unit_scale=scale) as bar:
        yield Counter(bar)
