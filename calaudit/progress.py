"""Progress on long work: a bar with rate and time left on a terminal, silence in a log."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from calaudit.interrupts import stop_if_asked

T = TypeVar("T")


def progress(
    steps: Iterable[T], *, total: int | None, what: str, unit: str = "batch"
) -> Iterator[T]:
    """Go through `steps` with a bar on stderr when stderr is a terminal."""
    for step in tqdm(
        steps, total=total, desc=what, unit=unit, leave=False, disable=not sys.stderr.isatty()
    ):
        yield step
        stop_if_asked()


class Counter:
    """A bar advanced by hand, for work whose steps differ in size."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def advance(self, n: int) -> None:
        """Count `n` more units as done; a request to end is raised here at the latest."""
        stop_if_asked()
        self._bar.update(n)


@contextmanager
def counter(
    total: int | None, *, what: str, unit: str = "sample", scale: bool = False
) -> Iterator[Counter]:
    """A bar over `total` units, for ``with counter(n, what="FP32") as done: done.advance(8)``.

    `scale` shows large counts as k, M, G, for bytes.
    """
    with tqdm(
        total=total,
        desc=what,
        unit=unit,
        unit_scale=scale,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield Counter(bar)
