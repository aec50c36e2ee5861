"""A figure of a benchmark: what we measured beside its peer or limit, in the same run.

Each benchmark offers ``figures(repeats, folder)``, which yields them; benchmarks/table.py prints
those of all. Ratios are ours / theirs, taken repeat by repeat, since what disturbs a machine
disturbs both of a pair.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """Ours / theirs over the repeats."""

    median: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.smallest:.2f} to {self.largest:.2f})"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters
    ----------
    what : str
        What was measured: "ranges of ResNet-50, 32 images, one set".
    ours, theirs : tuple of float
        One value per repeat of both, in `unit`, measured by turns; a limit is repeated
        (`within`).
    peer : str
        What it is compared with: "the plain pass", "Fairlearn"; or a limit: "2 GiB".
    unit : str
        "s", "B", or anything else, which is printed as it is.
    goal : float, optional
        The ratio wanted: at most this, or at least this where `more_is_better`.

    Raises
    ------
    ValueError
        Without repeats, with more of one than of the other, or where a value isn't positive and
        finite.
    """

    what: str
    ours: tuple[float, ...]
    peer: str
    theirs: tuple[float, ...]
    unit: str = "s"
    goal: float | None = None
    more_is_better: bool = False

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.theirs):
            raise ValueError(
                f"{self.what}: {len(self.ours)} repeats of ours, {len(self.theirs)} of {self.peer}"
            )
        for value in (*self.ours, *self.theirs):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.what}: {value} {self.unit} can't be a measured value")

    @property
    def ratio(self) -> Ratio:
        """Of each repeat, then their median and ends."""
        found = self._ratios()
        return Ratio(statistics.median(found), min(found), max(found))

    @property
    def met(self) -> bool | None:
        """Whether the median ratio keeps the goal; None where there is none."""
        return None if self.goal is None else self._keeps(self.ratio.median, self.goal)

    @property
    def verdict(self) -> str:
        """The goal and how it was judged: "≤ 1.30: met, 4 of 5"; empty without one.

        Told is in how many repeats the goal was kept, where it wasn't all or none.
        """
        if self.goal is None:
            return ""
        found = self._ratios()
        kept = sum(self._keeps(each, self.goal) for each in found)
        sign = "≥" if self.more_is_better else "≤"
        split = f", {kept} of {len(found)}" if 0 < kept < len(found) else ""
        return f"{sign} {self.goal:.2f}: {'met' if self.met else 'missed'}{split}"

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Texts of a line: what, ours (median), peer, theirs (median), ratio, verdict."""
        ours, theirs = (
            quantity(statistics.median(each), self.unit) for each in (self.ours, self.theirs)
        )
        return self.what, ours, self.peer, theirs, str(self.ratio), self.verdict

    def _ratios(self) -> list[float]:
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]

    def _keeps(self, ratio: float, goal: float) -> bool:
        return ratio >= goal if self.more_is_better else ratio <= goal


STEPS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
}


def quantity(value: float, unit: str) -> str:
    """With its unit, to three digits: "12.3 ms", "1.21 GiB", "34,500 rows/s"."""
    steps = STEPS.get(unit, ((1.0, unit),))
    size, name = next((step for step in steps if value >= step[0]), steps[-1])
    number = value / size
    digits = max(0, 2 - math.floor(math.log10(number))) if 0 < number < 100 else 0
    return f"{number:,.{digits}f} {name}"


def within(
    what: str, ours: tuple[float, ...], limit: float, *, unit: str = "s", name: str = ""
) -> Figure:
    """A figure that ought not to be above a limit: its goal is a ratio of 1."""
    peer = name or f"limit of {quantity(limit, unit)}"
    return Figure(what, ours, peer, (limit,) * len(ours), unit=unit, goal=1.0)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once, by the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def by_turns(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    repeats: int,
    measure: Callable[[Callable[[], Any]], float] = seconds,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Each once unmeasured (it compiles, and warms caches), then by turns.

    Parameters
    ----------
    ours, theirs : callable
        The work.
    repeats : int
        How often each is measured.
    measure : callable
        Runs the work and returns what it took.

    Returns
    -------
    tuple of tuple of float
        Ours and theirs, as `Figure` takes them.
    """
    ours(), theirs()
    pairs = [(measure(ours), measure(theirs)) for _ in range(repeats)]
    found, peer = zip(*pairs, strict=True)
    return found, peer
