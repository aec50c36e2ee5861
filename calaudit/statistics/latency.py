"""Latency of two arms: percentiles with intervals, and their differences.

Requests that come together wait together, so that neighbours say less than as many requests far
apart. An arm's percentiles have the intervals of `calaudit.statistics.timing`, stretches of time
being its rounds. For differences the stretches are resampled whole, both arms' requests of a
stretch together: what slows both isn't taken for a difference (block bootstrap: E. Carlstein
(1986), Ann. Statist. 14, 1171–1179; H. Künsch (1989), Ann. Statist. 17, 1217–1241).

Where queues last as long as a stretch, intervals are too narrow: benchmarks/ab_replays.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from calaudit.results.values import Estimate
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.random_numbers import resample_counts
from calaudit.statistics.timing import percentile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PERCENTILES: Final = (50.0, 95.0, 99.0)
STRETCHES: Final = 20
"""Of as many requests each, in the order in which they should have left."""
FEWEST_BEYOND: Final = 10
"""Requests of each arm that must be slower than a percentile, or quicker, before its difference
gets an interval."""
REPLICATES: Final = 1000
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of an arm's latencies, or the difference of two arms', in their unit."""

    percentile: float
    value: float | None
    """None where so many requests never ended that it isn't known."""
    low: float | None = None
    high: float | None = None
    """Two-sided interval; None where requests are too few, or an end isn't known."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """What requests took."""

    control: tuple[Percentile, ...]
    treatment: tuple[Percentile, ...]
    difference: tuple[Percentile, ...]
    """Treatment minus control."""
    n_control: int
    n_treatment: int
    stretches: int
    """Of time, that the intervals go by."""


def latencies(
    arm: NDArray[np.int8],
    latency: Floats,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    level: float = 0.95,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Latencies:
    """Percentiles per arm with intervals, and their differences.

    Parameters
    ----------
    arm : int8 (n,)
        0 for control, 1 for treatment. In shadow mode give each request twice, side by side.
    latency : float64 (n,)
        In the order in which requests should have left; any unit. Infinite where a request never
        ended; NaN where it was never sent, which isn't counted.
    percentiles : sequence of float
        In (0, 100).
    level : float
        Two-sided level of the intervals.
    seed, replicates : int
        Of the resampling.

    Raises
    ------
    SettingsError
        A percentile isn't between 0 and 100.
    """
    for each in percentiles:
        if not 0 < each < 100:
            raise SettingsError(
                f"percentile {each}", next_step="Give numbers between 0 and 100, such as 99."
            )
    stretches = max(1, min(STRETCHES, len(arm) // 2))
    block = np.arange(len(arm)) * stretches // max(len(arm), 1)
    shares = np.asarray(percentiles) / 100.0
    sides = [_Side.of(latency, block, (arm == side) & ~np.isnan(latency)) for side in (0, 1)]
    known = [
        tuple(
            _percentile(each, percentile(one.by_stretch(stretches), each / 100.0, level))
            for each in percentiles
        )
        for one in sides
    ]
    counts = resample_counts(f"latency {seed}", stretches, replicates)
    once = np.ones((1, stretches))
    with np.errstate(invalid="ignore"):
        gap, gaps = (
            _quantiles(sides[1], each, shares) - _quantiles(sides[0], each, shares)
            for each in (once, counts)
        )
    fewer = min(len(one.values) for one in sides)
    few = np.minimum(shares, 1 - shares) * fewer < FEWEST_BEYOND
    wide = _wider(level, stretches)
    differences = tuple(
        _difference(each, float(value), draws, 1 - level, wide if not short else None)
        for each, value, draws, short in zip(percentiles, gap[0], gaps.T, few, strict=True)
    )
    n_control, n_treatment = (len(one.values) for one in sides)
    return Latencies(known[0], known[1], differences, n_control, n_treatment, stretches)


@dataclass(frozen=True, eq=False, slots=True)
class _Side:
    """One arm's latencies, ascending."""

    values: Floats
    block: Ints
    """Stretch of time of each."""

    @classmethod
    def of(cls, latency: Floats, block: Ints, mine: NDArray[np.bool_]) -> "_Side":
        order = np.argsort(latency[mine], kind="stable")
        return cls(latency[mine][order], block[mine][order])

    def by_stretch(self, n: int) -> list[Floats]:
        order = np.argsort(self.block, kind="stable")
        ends = np.bincount(self.block, minlength=n).cumsum()[:-1]
        return np.split(self.values[order], ends)


def _quantiles(side: _Side, counts: Floats, shares: Floats) -> Floats:
    """Order statistics of resampled stretches, (replicates, percentiles); NaN where none is drawn.

    Parameters
    ----------
    side : _Side
    counts : float64 (replicates, stretches)
        How often each stretch is drawn.
    shares : float64 (percentiles,)
    """
    values, found = side.values, np.full((len(counts), len(shares)), np.nan)
    for index, each in enumerate(counts):
        reached = each[side.block].cumsum()
        if len(reached) and reached[-1] > 0:
            # the smallest value that at least this share doesn't exceed
            places = np.searchsorted(reached, shares * reached[-1] * (1 - _ROUNDING), side="left")
            found[index] = values[np.minimum(places, len(values) - 1)]
    return found


def _wider(level: float, stretches: int) -> float:
    """How much further out to read the replicates: Student's t for few stretches, as a share."""
    if stretches < 2:
        return 1.0
    normal = float(ndtri(0.5 + level / 2))
    student = float(stdtrit(stretches - 1, 0.5 + level / 2))
    return student / normal * math.sqrt(stretches / (stretches - 1))


def _percentile(percentile: float, found: Estimate) -> Percentile:
    return Percentile(percentile, *map(_finite, (found.value, found.low, found.high)))


def _difference(
    percentile: float, value: float, draws: Floats, alpha: float, wide: float | None
) -> Percentile:
    if not math.isfinite(value) or wide is None or np.isnan(draws).any():
        return Percentile(percentile, _finite(value))
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], method="inverted_cdf").tolist()
    ends = (_finite(value + (end - value) * wide) for end in (low, high))
    return Percentile(percentile, value, *ends)


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)
