"""Two sets of scales beside each other: where they differ most, and what each one clips."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calaudit.calibration.histogram import Histogram
from calaudit.calibration.methods import N_STEPS


@dataclass(frozen=True, slots=True)
class Clipping:
    """What a scale cuts off one tensor's distribution."""

    values: float
    """Share of all values, zeros included, that saturate."""
    energy: float
    """Squared error of cutting them off, as a share of the sum of all squares (the inverse of the
    signal-to-noise ratio that clipping alone would leave)."""


@dataclass(frozen=True, slots=True)
class TapDifference:
    """One tap in both sets of scales."""

    tap: str
    first: float
    """Its scale in the first set."""
    second: float
    ratio: float | None
    """second / first; None where one of them is no positive, finite number."""
    first_clips: Clipping | None = None
    """None where no distribution is known, or the scale is no positive, finite number."""
    second_clips: Clipping | None = None


@dataclass(frozen=True, slots=True)
class ScaleDiff:
    """How two sets of scales differ."""

    shared: tuple[TapDifference, ...]
    """Taps of both, those that differ most first."""
    only_first: tuple[str, ...]
    """Taps that only the first set has, in its order."""
    only_second: tuple[str, ...]

    @property
    def different(self) -> tuple[TapDifference, ...]:
        """Shared taps whose scales aren't the same float32."""
        return tuple(each for each in self.shared if not _same(each.first, each.second))


def clipping(histogram: Histogram, scale: float) -> Clipping:
    """What symmetric int8 with this scale cuts off.

    A value saturates beyond 127.5 · scale, from where rounding to the nearest step would leave
    int8's 127 steps. Values are taken as spread evenly over each bin, the topmost ending at the
    exact maximum.

    Parameters
    ----------
    histogram : Histogram
        Distribution of |x|.
    scale : float
        Positive and finite.
    """
    filled = np.flatnonzero(histogram.counts)
    counts = histogram.counts[filled].astype(np.float64)
    if len(filled) and filled[0] == 0:
        counts[0] = max(0.0, counts[0] - histogram.n_zero)
    low = histogram.edges[filled]
    high = np.maximum(low, np.minimum(histogram.edges[filled + 1], histogram.amax))
    energy = float((counts * (low**2 + low * high + high**2)).sum() / 3)
    if energy == 0:
        return Clipping(0.0, 0.0)
    start = np.maximum(low, (N_STEPS + 0.5) * scale)
    width = high - low
    share = np.divide(high - start, width, out=np.zeros_like(width), where=width > 0)
    share = np.where(width > 0, np.maximum(share, 0), start <= low)
    near, far = start - N_STEPS * scale, high - N_STEPS * scale
    lost = counts * share * (near**2 + near * far + far**2) / 3
    return Clipping(float((counts * share).sum() / histogram.n), float(lost.sum() / energy))


def diff_scales(
    first: Mapping[str, float],
    second: Mapping[str, float],
    distributions: Mapping[str, Histogram] | None = None,
) -> ScaleDiff:
    """Compare two sets of scales, tap by tap.

    Parameters
    ----------
    first, second : mapping
        Tap → scale. Scales that no engine should get (zero, infinite, NaN) may occur; taps where
        just one has them come first.
    distributions : mapping, optional
        Tap → distribution of |x|, to tell what each scale clips.
    """
    known = distributions or {}
    shared = [
        TapDifference(
            tap,
            scale,
            second[tap],
            second[tap] / scale if _usable(scale) and _usable(second[tap]) else None,
            _clips(known.get(tap), scale),
            _clips(known.get(tap), second[tap]),
        )
        for tap, scale in first.items()
        if tap in second
    ]
    shared.sort(key=_distance, reverse=True)
    return ScaleDiff(
        tuple(shared),
        tuple(tap for tap in first if tap not in second),
        tuple(tap for tap in second if tap not in first),
    )


def _usable(scale: float) -> bool:
    return math.isfinite(scale) and scale > 0


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _clips(histogram: Histogram | None, scale: float) -> Clipping | None:
    return None if histogram is None or not _usable(scale) else clipping(histogram, scale)


def _distance(each: TapDifference) -> float:
    if each.ratio is None:
        return 0.0 if _same(each.first, each.second) else math.inf
    return abs(math.log(each.second) - math.log(each.first))
