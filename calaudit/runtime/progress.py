"""Progress on long work: a bar with rate and time left on a terminal, now and then a line in a log.

A terminal that can't go back to a line (``TERM=dumb``) gets lines as well, sooner. Bars are drawn
without Unicode where stderr's encoding has none.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from calaudit.runtime.interrupts import stop_if_asked

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
_TICK = 0.5
"""Seconds between two looks at the clock."""
_IN_LOG = (30.0, 30.0)
"""Seconds to the first line of some work in a log, and between two lines: short work is silent."""
_ON_DUMB = (1.0, 5.0)
"""As much on a terminal that can't go back to a line."""
_NARROW = 60
"""Columns below which numbers take the place of the bar."""
_NUMBERS = "{desc} {percentage:.0f} %, {remaining} left {rate_fmt}"
_LINE = "{desc}: {n_fmt} of {total_fmt}, {percentage:.0f} %, {rate_fmt}, {remaining} left"
_WITHOUT_TOTAL = "{desc}: {n_fmt}, {rate_fmt}, {elapsed}"


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show what is at work and for how long, where steps can't be counted; bars within stay apart.

    Nothing may be printed meanwhile but by bars.
    """
    if not sys.stderr.isatty():
        yield
        return
    if _is_dumb():
        print(f"{what} {_in_reach('…', '...')}", file=sys.stderr)
        yield
        return
    with _bar(desc=what, bar_format="{desc}: {elapsed}") as line, _ticking(line):
        yield


def progress(
    steps: Iterable[T], *, total: int | None, what: str, unit: str = "batch"
) -> Iterator[T]:
    """Go through `steps`, and show how far it is; see `counter`."""
    with counter(total, what=what, unit=unit) as done:
        for step in steps:
            yield step
            done.advance(1)


class _Shown(Protocol):
    def update(self, n: int, /) -> object: ...


class Counter:
    """A bar advanced by hand, for work whose steps differ in size."""

    def __init__(self, shown: _Shown | None = None) -> None:
        self._shown = shown

    def advance(self, n: int) -> None:
        """Count `n` more units as done; a request to end is raised here at the latest."""
        stop_if_asked()
        if self._shown is not None:
            self._shown.update(n)


@contextmanager
def counter(
    total: int | None, *, what: str, unit: str = "sample", scale: bool = False
) -> Iterator[Counter]:
    """Show progress over `total` units: ``with counter(n, what="FP32") as done: done.advance(8)``.

    `scale` shows large counts as k, M, G, for bytes.
    """
    settings: dict[str, Any] = {"total": total, "unit": unit, "unit_scale": scale}
    if not sys.stderr.isatty() or _is_dumb():
        yield Counter(_Lines(what, settings, _ON_DUMB if sys.stderr.isatty() else _IN_LOG))
        return
    with _bar(desc=what, **settings) as bar, _ticking(bar):
        yield Counter(bar)


class _Lines:
    """Lines on stderr at intervals, (first, every) in seconds."""

    def __init__(self, what: str, settings: dict[str, Any], every: tuple[float, float]) -> None:
        self._what = what
        self._settings = settings
        self._every = every[1]
        self._started = time.monotonic()
        self._due = self._started + every[0]
        self._n = 0

    def update(self, n: int, /) -> None:
        self._n += n
        now = time.monotonic()
        if now < self._due:
            return
        from tqdm import tqdm

        self._due = now + self._every
        line = tqdm.format_meter(
            self._n,
            elapsed=now - self._started,
            prefix=self._what,
            bar_format=_LINE if self._settings["total"] else _WITHOUT_TOTAL,
            **self._settings,
        )
        print(" ".join(line.split()), file=sys.stderr, flush=True)


def _bar(**settings: Any) -> "tqdm[Any]":
    """A bar on a terminal; where it is narrow, numbers alone."""
    from tqdm import tqdm

    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    # Where nobody said how large a terminal is, as in containers, tqdm would show nothing.
    size = {} if columns and lines else {"ncols": 80, "nrows": 24}
    if 0 < columns < _NARROW:
        counted = _NUMBERS if settings.get("total") else _WITHOUT_TOTAL
        settings = {"bar_format": counted, **settings}
    bar: tqdm[Any] = tqdm(leave=False, miniters=0, **{**settings, **size})
    return bar


@contextmanager
def _ticking(bar: "tqdm[Any]") -> Iterator[None]:
    """Let time go on where a step takes long."""
    ended = Event()

    def tick() -> None:
        while not ended.wait(_TICK):
            bar.refresh()

    ticking = Thread(target=tick, name="progress", daemon=True)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join()


def _is_dumb() -> bool:
    """Whether the terminal can't go back to a line."""
    return os.environ.get("TERM") == "dumb"


def _in_reach(text: str, otherwise: str) -> str:
    """A text that stderr has letters for."""
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except UnicodeEncodeError:
        return otherwise
    return text
