"""The scale table: tensor → int8 scale, for one calibration set and method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from calaudit.errors import Notice, Problem, RangesError
from calaudit.ranges.bulk import BULK, bulk_edge
from calaudit.ranges.compiled import map_on_cores
from calaudit.ranges.histogram import Histogram, Histograms
from calaudit.ranges.methods import N_STEPS, check_method, estimate_amax

DEAD_AMAX: Final = 1.0
"""amax given to a tap that was never seen to be anything but zero."""
WIDE: Final = 16.0
"""amax beyond so many times the bulk's edge is remarked on: 4 of int8's 7 bits are lost."""
SMALLEST_NORMAL: Final = float(np.finfo(np.float32).tiny)

RangesBy = Literal["calaudit", "tensorrt"]
"""Who estimated the ranges."""


@dataclass(frozen=True, slots=True)
class TapScale:
    """What one tensor is quantized with."""

    amax: float
    """Largest magnitude that isn't clipped."""
    scale: float
    """Width of one int8 step, a float32: amax / 127."""


@dataclass(frozen=True, slots=True)
class ScaleTable:
    """Scales of all taps, and where they come from. Every scale is finite, positive and normal.

    Raises
    ------
    RangesError
        With one problem per scale that isn't: engines accept infinite and denormal scales
        silently.
    """

    taps: Mapping[str, TapScale]
    method: str
    """minmax, entropy, percentile, mse, or the name another tool gives its own."""
    calibset: str
    """Name of the calibration set (or other group of samples) behind the ranges."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Options of the method."""
    ranges_by: RangesBy = "calaudit"
    model_fingerprint: str | None = None
    notices: tuple[Notice, ...] = ()
    """Taps that got a fallback."""

    def __post_init__(self) -> None:
        problems = [
            Problem(
                f"the scale is {tap.scale!r}",
                f"tap {name!r}",
                "Give a finite scale of at least 1.2e-38.",
            )
            for name, tap in self.taps.items()
            if not (math.isfinite(tap.scale) and tap.scale >= SMALLEST_NORMAL)
        ]
        if problems:
            raise RangesError.of(problems)

    @property
    def scales(self) -> dict[str, float]:
        """Scale of each tap."""
        return {name: tap.scale for name, tap in self.taps.items()}


def scale_of(amax: float) -> float:
    """float32 scale of symmetric int8: amax / 127."""
    return float(np.float32(amax) / np.float32(N_STEPS))


def estimate_scales(
    histograms: Histograms,
    group: int,
    method: str,
    *,
    calibset: str,
    model_fingerprint: str | None = None,
    notices: Sequence[Notice] = (),
    **options: float,
) -> ScaleTable:
    """The scale table of one group by one method; taps are estimated on all cores.

    A tap that is dead in this group (all zero, or no larger than float32 can scale) gets
    amax 1 and a notice: any positive scale keeps its zeros exact, and at 1 it doesn't saturate at
    once if it comes alive.

    Parameters
    ----------
    histograms : Histograms
        Of all taps.
    group : int
        Which group.
    method : str
        As in `estimate_amax`.
    calibset : str
        What the table and its notices call the group.
    model_fingerprint : str, optional
        Of the model that was observed.
    notices : sequence of Notice
        What is known of the observation already; the table's own follow.
    **options
        Options of the method.

    Raises
    ------
    SettingsError
        Unknown method or option.
    """
    check_method(method, options)
    each = [histograms.one(position, group) for position in range(len(histograms.taps))]
    found = map_on_cores(lambda histogram: estimate_amax(histogram, method, **options), each)
    taps: dict[str, TapScale] = {}
    own: list[Notice] = []
    for name, histogram, amax in zip(histograms.taps, each, found, strict=True):
        dead = scale_of(amax) < SMALLEST_NORMAL
        own += _remarks(name, histogram, amax, calibset, dead=dead)
        kept = DEAD_AMAX if dead else amax
        taps[name] = TapScale(kept, scale_of(kept))
    return ScaleTable(
        taps,
        method,
        calibset,
        options=dict(options),
        model_fingerprint=model_fingerprint,
        notices=(*notices, *own),
    )


def _remarks(
    name: str, histogram: Histogram, amax: float, calibset: str, *, dead: bool
) -> list[Notice]:
    """What a user should know of one tap's scale."""
    where = f"tap {name!r}"
    if dead:
        seen = f"never above {histogram.amax:.3g}" if histogram.n else "never observed"
        message = f"{seen} in calibration set {calibset!r}: taken as amax = {DEAD_AMAX:g}"
        return [Notice("dead_tap", message, where)]
    if histogram.n > 1 and np.count_nonzero(histogram.counts) == 1:
        message = f"always {histogram.amax:.3g} in calibration set {calibset!r}"
        return [Notice("constant_tap", message, where)]
    edge = bulk_edge(histogram)
    if amax > WIDE * edge:
        message = (
            f"outliers in calibration set {calibset!r}: amax {amax:.3g} is {amax / edge:.3g} times "
            f"what {BULK:.2%} of the values stay below, which leaves them "
            f"{math.floor(N_STEPS * edge / amax)} of {N_STEPS} steps"
        )
        return [Notice("outlier_tap", message, where)]
    return []
