"""What a GPU did while an engine ran: readings of its driver, over the blocks of all rounds."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from calaudit.backends.timed import GpuReading, Times
from calaudit.results.bench import GpuUse
from calaudit.results.values import Estimate
from calaudit.statistics.timing import middle

SETTLING = 0.5
"""Seconds of a block whose utilisation and power, where the driver gives means of the past, are of
what ran before it."""


class Drawn(NamedTuple):
    """Of one block."""

    watts: float | None
    joules: float | None
    """Per sample."""


def gpu_use(
    blocks: Sequence[Times], *, batch: int, streams: int, level: float = 0.95
) -> GpuUse | None:
    """What the GPU did in blocks of one engine, one per round; None where it wasn't read.

    Energy is the driver's counter from its first to its last step within a block: of its steps, ten
    or so in a second, those that a block cuts belong to others, too. A block with fewer than two
    has the mean of the driver's power, as have GPUs without a counter; a mean over the second
    before (since Ampere) says little of blocks that aren't longer.

    Parameters
    ----------
    blocks : sequence of Times
    batch : int
        Samples of each run.
    streams : int
    level : float
        Of the intervals, which are over blocks.
    """
    read = [each for each in blocks if each.readings]
    if not read:
        return None
    drawn = [_drawn(each, batch) for each in read]
    every = [reading for each in read for reading in each.readings]
    late = [reading for each in read for reading in _late(each.readings)]
    watts, joules = ([d[at] for d in drawn] for at in (0, 1))
    return GpuUse(
        batch=batch,
        streams=streams,
        utilisation=_of(np.mean, (r.utilisation for r in late)),
        power_watts=_estimate(watts, level),
        energy_joules=_estimate(joules, level),
        sm_clock_mhz=_of(np.median, (r.sm_clock_mhz for r in every)),
        memory_clock_mhz=_of(np.median, (r.memory_clock_mhz for r in every)),
        temperature_celsius=_of(max, (r.temperature_celsius for r in every)),
        throttled=tuple(dict.fromkeys(reason for r in every for reason in r.throttled)),
    )


def _drawn(block: Times, batch: int) -> Drawn:
    watts = _by_counter(block.readings)
    if watts is None:
        watts = _of(np.mean, (r.power_watts for r in _late(block.readings)))
    if watts is None:
        return Drawn(None, None)
    return Drawn(watts, watts * block.seconds / (len(block.host_ms) * batch))


def _by_counter(readings: Sequence[GpuReading]) -> float | None:
    """Mean watts between the first and the last step of the counter."""
    known = [(r.at, r.energy_joules) for r in readings if r.energy_joules is not None]
    steps = [here for before, here in pairwise(known) if here[1] != before[1]]
    if len(steps) < 2:
        return None
    (start, first), (end, last) = steps[0], steps[-1]
    return (last - first) / (end - start) if end > start and last > first else None


def _late(readings: Sequence[GpuReading]) -> Sequence[GpuReading]:
    """Readings whose means of the past are of the block itself; all of a short one."""
    began = readings[0].at
    return [r for r in readings if r.at - began >= SETTLING] or readings


def _of(take: Callable[[list[float]], Any], values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return float(take(known)) if known else None


def _estimate(values: Iterable[float | None], level: float) -> Estimate | None:
    known = np.array([each for each in values if each is not None], np.float64)
    return middle(known, level) if len(known) else None
