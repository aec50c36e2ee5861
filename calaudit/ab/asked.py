"""What a replay is asked to do, checked before anything is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.results.ab import Mode
from calaudit.runtime.errors import Problem, SettingsError
from calaudit.runtime.words import visible

if TYPE_CHECKING:
    from calaudit.ab.traffic import Traffic

TIMEOUT_S = 10.0
CONNECTIONS = 32
MADE = 2000
"""Requests that are made where nobody says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which arms answer which requests, and how.

    Raises
    ------
    SettingsError
        With everything that makes no sense.
    """

    arms: tuple[str, ...]
    """Two: control, treatment; a cell's id or an address."""
    requests: "Path | Traffic"
    """A log, or what requests are made by."""
    n: int | None = None
    """The first requests of the log, or as many as are made."""
    mode: Mode = "split"
    share: float = 0.5
    """Of users that get the treatment, in split mode."""
    salt: str = "calaudit"
    timeout_s: float = TIMEOUT_S
    speed: float = 1.0
    """Seconds of the log per second."""
    metrics: tuple[str, ...] = ()
    """Only these; by default all of the audit."""
    engines: int = 1
    """Of each arm in this process."""
    connections: int = CONNECTIONS
    """To each endpoint."""
    skip_unknown: bool = False
    write_log: "Path | None" = None
    """Where requests that are made are written."""
    seed: int = 0
    """Of resampling."""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SettingsError.of(problems)

    def _problems(self) -> "list[Problem]":
        found = []
        if len(self.arms) != 2:
            what = f"{len(self.arms)} arms were given"
            found.append(Problem(what, "--arm", "Give two: the control, then the treatment."))
        if self.mode == "split" and not 0 < self.share < 1:
            what = f"the treatment's share is {self.share:g}"
            found.append(Problem(what, "--split", "Give a number between 0 and 1, such as 0.5."))
        if self.write_log is not None and isinstance(self.requests, Path):
            what = f"the requests are those of {visible(self.requests)}"
            found.append(Problem(what, "--write-log", "Give it with --poisson or --bursty."))
        above = {"--timeout": self.timeout_s, "--speed": self.speed}
        counts = {"--engines": self.engines, "--connections": self.connections}
        counts |= {} if self.n is None else {"--n": self.n}
        for flag, value in {**above, **counts}.items():
            if not 0 < value < float("inf"):
                found.append(Problem(f"is {value:g}", flag, "Give a number above 0."))
        return found

    @property
    def named(self) -> tuple[str, ...]:
        """What records call the arms: the second has a number where it is the first again."""
        first, second = self.arms
        return first, f"{second} #2" if first == second else second

    @property
    def source(self) -> str:
        """Where requests come from, in words."""
        if isinstance(self.requests, Path):
            return self.requests.name
        kind = "bursty" if self.requests.bursty else "Poisson"
        return f"{kind}, {self.requests.rate:g} per second"
