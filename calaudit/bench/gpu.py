"""What a GPU drew and did while an engine ran, from its driver's readings."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.timed import GpuReading, Times
from calaudit.results.bench import Estimate, GpuUse
from calaudit.statistics.timing import middle


def gpu_use(rounds: Sequence[Times], batch: int, streams: int, level: float) -> GpuUse | None:
    """What the rounds' readings tell; None where there is none.

    Parameters
    ----------
    rounds : sequence of Times
        Of watched blocks.
    batch, streams : int
    level : float
        Of the intervals.
    """
    readings = [each for times in rounds for each in times.readings]
    if not readings:
        return None
    watts = np.array([_power(times.readings) for times in rounds])
    joules = np.array([energy_per_sample(times, batch) for times in rounds])
    hottest = _known(each.temperature_celsius for each in readings)
    return GpuUse(
        batch=batch,
        streams=streams,
        utilisation=_typical(fmean, (each.utilisation for each in readings)),
        power_watts=_estimate(watts, level),
        energy_joules=_estimate(joules, level),
        sm_clock_mhz=_typical(median, (each.sm_clock_mhz for each in readings)),
        memory_clock_mhz=_typical(median, (each.memory_clock_mhz for each in readings)),
        temperature_celsius=max(hottest, default=None),
        throttled=tuple(sorted({reason for each in readings for reason in each.throttled})),
    )


def energy_per_sample(times: Times, batch: int) -> float:
    """Joules per sample of one block; NaN where unknown."""
    samples = batch * len(times.host_ms)
    return _power(times.readings) * times.seconds / samples if samples else float("nan")


def _power(readings: Sequence[GpuReading]) -> float:
    """Watts: by the energy taken between the readings, else their mean; NaN where unknown."""
    counted = [each for each in readings if each.energy_joules is not None]
    if len(counted) > 1 and counted[-1].at > counted[0].at:
        first, last = counted[0], counted[-1]
        assert first.energy_joules is not None
        assert last.energy_joules is not None
        taken = last.energy_joules - first.energy_joules
        if taken > 0:  # else the block was shorter than the driver's counter takes
            return taken / (last.at - first.at)
    told = _known(each.power_watts for each in readings)
    return fmean(told) if told else float("nan")


def _estimate(values: NDArray[np.float64], level: float) -> Estimate | None:
    found = middle(values, level)
    return None if found.value is None else found


def _known(values: Iterable[float | None]) -> list[float]:
    return [each for each in values if each is not None]


def _typical(how: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return how(known) if known else None
