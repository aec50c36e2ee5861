"""Latency of two arms: percentiles with intervals, and their differences.

Requests that come together wait together, so that neighbours say less than as many requests far
apart. Blocks of time are resampled whole, both arms' requests of a block together: what slows both
isn't taken for a difference. (Non-overlapping block bootstrap: E. Carlstein 1986, Ann. Statist.
14, 1171–1179; H. Künsch 1989, Ann. Statist. 17, 1217–1241.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.random_numbers import resample_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PERCENTILES: Final = (50.0, 95.0, 99.0)
BLOCKS: Final = 50
"""Of as many requests each, in the order in which they should have left."""
FEWEST_BEYOND: Final = 10
"""Requests that must be slower than a percentile, or quicker, before it gets an interval."""
REPLICATES: Final = 1000


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
    blocks: int


def latencies(
    arm: NDArray[np.int8],
    latency: Floats,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    level: float = 0.95,
    blocks: int = BLOCKS,
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
    blocks : int
        Blocks of time that are resampled.
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
    n_blocks = max(1, min(blocks, len(arm) // 2))
    block = np.arange(len(arm)) * n_blocks // max(len(arm), 1)
    shares = np.asarray(percentiles) / 100.0
    counts = resample_counts(f"latency {seed}", n_blocks, replicates)
    points, drawn, kept = [], [], []
    for side in (0, 1):
        mine = (arm == side) & ~np.isnan(latency)
        order = np.argsort(latency[mine], kind="stable")
        values, where = latency[mine][order], block[mine][order]
        kept.append(len(values))
        points.append(_quantiles(values, where, np.ones((1, n_blocks)), shares)[0])
        drawn.append(_quantiles(values, where, counts, shares))
    with np.errstate(invalid="ignore"):
        gap, gaps = points[1] - points[0], drawn[1] - drawn[0]
    few = [np.minimum(shares, 1 - shares) * n < FEWEST_BEYOND for n in kept]
    wide = _wider(level, n_blocks)
    described = [
        tuple(
            _percentile(each, float(value), draws, alpha=1 - level, wide=wide, few=bool(short))
            for each, value, draws, short in zip(percentiles, point, own.T, thin, strict=True)
        )
        for point, own, thin in (
            (points[0], drawn[0], few[0]),
            (points[1], drawn[1], few[1]),
            (gap, gaps, few[0] | few[1]),
        )
    ]
    return Latencies(described[0], described[1], described[2], kept[0], kept[1], n_blocks)


def _quantiles(values: Floats, block: Ints, counts: Floats, shares: Floats) -> Floats:
    """Order statistics of resampled blocks, (replicates, percentiles); NaN where none is drawn.

    Parameters
    ----------
    values : float64 (n,), ascending
    block : int64 (n,)
        Of each value.
    counts : float64 (replicates, blocks)
        How often each block is drawn.
    shares : float64 (percentiles,)
    """
    found = np.full((len(counts), len(shares)), np.nan)
    if not len(values):
        return found
    for index, each in enumerate(counts):
        reached = each[block].cumsum()
        if reached[-1] > 0:
            # the smallest value that at least this share doesn't exceed
            places = np.searchsorted(reached, shares * reached[-1] * (1 - 1e-12), side="left")
            found[index] = values[np.minimum(places, len(values) - 1)]
    return found


def _wider(level: float, blocks: int) -> float:
    """How much further out to read the replicates: Student's t for few blocks, as a share."""
    if blocks < 2:
        return 1.0
    normal = float(ndtri(0.5 + level / 2))
    student = float(stdtrit(blocks - 1, 0.5 + level / 2)) * np.sqrt(blocks / (blocks - 1))
    return float(student / normal)


def _percentile(
    percentile: float, value: float, draws: Floats, *, alpha: float, wide: float, few: bool
) -> Percentile:
    known = bool(np.isfinite(value))
    if not known or few or np.isnan(draws).any():
        return Percentile(percentile, float(value) if known else None)
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    low, high = value - (value - low) * wide, value + (high - value) * wide
    ends = [float(end) if np.isfinite(end) else None for end in (low, high)]
    return Percentile(percentile, float(value), *ends)
