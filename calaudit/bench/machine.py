"""What a bench ran on, and what else that machine did meanwhile."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calaudit.audit.backends import accelerators
from calaudit.audit.prepare import Audit
from calaudit.audit.records import describe_environment
from calaudit.runtime.compiled import n_cores
from calaudit.runtime.errors import Notice

BUSY: Final = 0.05
"""Share of the processors that others may take before a bench says so."""
_STAT: Final = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Processors:
    """How long processors have worked, in seconds since some moment of the past."""

    at: float
    busy: float | None
    """For anyone, over all of them; None where the system doesn't tell."""
    own: float
    """For this process and all below it, such as the one that runs TensorRT, whether they still run
    or have ended."""
    count: int


def look() -> Processors:
    """What processors have done so far."""
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    busy, count = None, n_cores()
    if _STAT.exists():
        ticks = os.sysconf("SC_CLK_TCK")
        own += _descendants_ticks() / ticks
        lines = _STAT.read_text(encoding="utf-8").splitlines()
        user, nice, system, _, _, irq, soft, *_ = map(int, lines[0].split()[1:])
        busy = (user + nice + system + irq + soft) / ticks
        count = sum(line.startswith("cpu") for line in lines) - 1
    return Processors(time.perf_counter(), busy, own, count)


def _descendants_ticks() -> int:
    """Clock ticks that living processes below this one have worked, and those they waited for.

    `os.times` has those of a child only once it has ended. Fields as in proc_pid_stat(5).
    """
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for path in _STAT.parent.glob("[0-9]*/stat"):
        try:
            told = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        fields = told.rpartition(")")[2].split()  # a name may hold anything
        number = int(path.parent.name)
        children[int(fields[1])].append(number)
        ticks[number] = sum(map(int, fields[11:15]))
    below = children[os.getpid()]
    for number in below:
        below += children[number]
    return sum(ticks[number] for number in below)


def others_share(before: Processors, after: Processors) -> float | None:
    """Share of all processors that other programs took between two looks; None where unknown."""
    if before.busy is None or after.busy is None or after.at <= before.at:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, others / ((after.at - before.at) * after.count)))


def busy_notice(share: float | None) -> list[Notice]:
    """That other programs ran meanwhile, where they took a part that shows."""
    if share is None or share <= BUSY:
        return []
    message = (
        f"other programs took {share:.0%} of the processors meanwhile: runs that last longer than "
        "a turn on a processor wait for them, short ones mostly don't, so that times and ratios "
        "are of this load alone; measure again on a machine of one's own"
    )
    return [Notice("bench_machine_busy", message, "bench")]


def environment(audit: Audit) -> dict[str, str | None]:
    """What the engines run on, and how busy it is as the bench begins."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        **describe_environment(accelerators(audit.backends)),
        "cores": str(n_cores()),
        "load": None if load is None else f"{load:.2f}",
    }
