"""The scale table: tensor → int8 scale, for one calibration set and method."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from calaudit.calibration.diff import clipping
from calaudit.calibration.distribution import BULK, Distribution
from calaudit.calibration.entropy_trt import choose_amax
from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.histogram import N_OCTAVES, Histograms, first_bin
from calaudit.calibration.methods import ENTROPY_TRT, N_STEPS, check_method, estimate_amax
from calaudit.runtime.compiled import map_pieces
from calaudit.runtime.errors import Notice, Problem, RangesError

DEAD_AMAX: Final = 1.0
"""amax given to a tap that was never seen to be anything but zero."""
WIDE: Final = 16.0
"""amax beyond so many times the bulk's edge is remarked on: 4 of int8's 7 bits are lost."""
MUCH: Final = 0.1
"""Clipping that costs more than this share of the signal power is remarked on: 10 dB are left."""
SMALLEST_NORMAL: Final = float(np.finfo(np.float32).tiny)
_IMPORTER_MADE: Final = re.compile(r"\(Unnamed Layer\* [0-9]+\) \[[^\]]*\]_output.*")
_SMALLEST_AMAX: Final = N_STEPS * SMALLEST_NORMAL * (1 + 1e-6)

RangesBy = Literal["calaudit", "tensorrt"]
"""Who estimated the ranges."""


def is_importer_made(tensor: str) -> bool:
    """Whether a tensor is called as TensorRT calls those that no ONNX file has."""
    return _IMPORTER_MADE.fullmatch(tensor) is not None


@dataclass(frozen=True, slots=True)
class TapScale:
    """What one tensor is quantized with."""

    amax: float
    """Largest magnitude that isn't clipped."""
    scale: float
    """Width of one int8 step, a float32: amax / 127."""

    @classmethod
    def of(cls, amax: float) -> "TapScale":
        """What clips at `amax`."""
        return cls(amax, scale_of(amax))


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
    options: Mapping[str, float | str] = field(default_factory=dict)
    """Options of the method; of ``entropy-trt`` the batches."""
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
    equal: EqualBins | None = None,
    model_fingerprint: str | None = None,
    notices: Sequence[Notice] = (),
    tried: Collection[str] = (),
    **options: float,
) -> ScaleTable:
    """The scale table of one group by one method, which may have options.

    See `estimate_tables`, which shares what several methods need.
    """
    (table,) = estimate_tables(
        histograms,
        group,
        {method: options},
        calibset=calibset,
        equal=equal,
        model_fingerprint=model_fingerprint,
        notices=notices,
        tried=tried,
    )
    return table


def estimate_tables(
    histograms: Histograms,
    group: int,
    methods: Mapping[str, Mapping[str, float]],
    *,
    calibset: str,
    equal: EqualBins | None = None,
    model_fingerprint: str | None = None,
    notices: Sequence[Notice] = (),
    tried: Collection[str] = (),
) -> list[ScaleTable]:
    """The scale tables of one group by some methods; taps are estimated on all cores.

    A tap that is dead in this group (all zero, or no larger than float32 can scale) gets
    amax 1 and a notice: any positive scale keeps its zeros exact, and at 1 it doesn't saturate at
    once if it comes alive.

    Parameters
    ----------
    histograms : Histograms
        Of all taps.
    group : int
        Which group.
    methods : mapping
        Method, as in `estimate_amax`, or ``entropy-trt`` → its options.
    calibset : str
        What the tables and their notices call the group.
    equal : EqualBins, optional
        The group's equal bins of the same taps: what ``entropy-trt`` is estimated from.
    model_fingerprint : str, optional
        Of the model that was observed.
    notices : sequence of Notice
        What is known of the observation already; a table's own follow.
    tried : collection of str
        Methods that the group has tables by, for what notices advise.

    Returns
    -------
    list of ScaleTable
        By method.

    Raises
    ------
    SettingsError
        Unknown method or option.
    RangesError
        ``entropy-trt`` without equal bins of these taps.
    """
    for method, options in methods.items():
        check_method(method, dict(options))
    bins = _equal_bins(histograms, equal, calibset) if ENTROPY_TRT in methods else None
    by = {method: _By(method, calibset, "minmax" in tried) for method in methods}

    def estimate(position: int) -> list[tuple[TapScale, list[Notice]]]:
        seen = Distribution(histograms.one(position, group))
        alive = scale_of(seen.histogram.amax) >= SMALLEST_NORMAL
        found = []
        for method, options in methods.items():
            amax = DEAD_AMAX
            if alive and method == ENTROPY_TRT:
                assert bins is not None
                amax = choose_amax(bins.counts[position], float(bins.widths[position]))
            elif alive:
                amax = estimate_amax(seen, method, **options)
            scale = TapScale.of(max(amax, _SMALLEST_AMAX) if alive else amax)
            remarks = _remarks if alive else _dead
            found.append((scale, remarks(histograms.taps[position], seen, scale, by[method])))
        return found

    estimated = map_pieces(estimate, len(histograms.taps))
    tables = []
    for number, (method, options) in enumerate(methods.items()):
        own = [each[number] for each in estimated]
        batches = bins if method == ENTROPY_TRT else None
        of_batches = [] if batches is None else batches.notices(calibset)
        tables.append(
            ScaleTable(
                dict(zip(histograms.taps, (scale for scale, _ in own), strict=True)),
                method,
                calibset,
                options=dict(options) if batches is None else batches.batching.options,
                model_fingerprint=model_fingerprint,
                notices=(*notices, *of_batches, *(note for _, notes in own for note in notes)),
            )
        )
    return tables


def _equal_bins(histograms: Histograms, equal: EqualBins | None, calibset: str) -> EqualBins:
    if equal is None or equal.taps != histograms.taps:
        raise RangesError(
            f"{ENTROPY_TRT} needs equal bins of these taps; none were counted over {calibset!r}",
            next_step=f"Observe the set with {ENTROPY_TRT} among the methods.",
        )
    return equal


@dataclass(frozen=True, slots=True)
class _By:
    """What chose an amax, for notices."""

    method: str
    calibset: str
    beside_minmax: bool
    """Whether minmax is tried on the same set."""

    @property
    def instead(self) -> str:
        """What to do where the largest values carry meaning."""
        if self.beside_minmax:
            return "Where they carry meaning, minmax, which is tried here too, keeps them"
        return "Where they carry meaning, take minmax"


def _percent(share: float) -> str:
    """A share in percent, never rounded to all: ``"12.3 %"``."""
    text = f"{100 * share:.3g}"
    return "> 99.9 %" if share < 1 and text == "100" else f"{text} %"


def _dead(name: str, seen: Distribution, scale: TapScale, by: _By) -> list[Notice]:
    """That a tap was never seen to be anything but zero, or nothing that float32 can scale."""
    largest = f"never above {seen.histogram.amax:.3g}" if seen.histogram.n else "never observed"
    within = f"in calibration set {by.calibset!r}"
    message = f"{largest} {within}: taken as amax = {scale.amax:g}"
    return [Notice("dead_tap", message, f"tap {name!r}")]


def _remarks(name: str, seen: Distribution, scale: TapScale, by: _By) -> list[Notice]:
    """What a user should know of one tap's scale."""
    histogram, amax = seen.histogram, scale.amax
    where, within = f"tap {name!r}", f"in calibration set {by.calibset!r}"
    if seen.constant:
        return [Notice("constant_tap", f"always {histogram.amax:.3g} {within}", where)]
    found: list[Notice] = []
    edge = seen.bulk_edge
    if amax <= seen.edges[1] and first_bin(histogram.amax) > 0:
        message = (
            f"amax {amax:.3g} by {by.method} isn't fitted to the values {within}: all below it lie "
            f"in one bin, 2^-{N_OCTAVES - 1} of the largest ({histogram.amax:.3g}). Leave out the "
            "samples that hold such large values"
        )
        found.append(Notice("unresolved_tap", message, where))
    if amax > WIDE * edge:
        message = (
            f"outliers {within}: amax {amax:.3g} by {by.method} is {amax / edge:.3g} times "
            f"what {_percent(BULK)} of the values stay below, which leaves them "
            f"{math.floor(N_STEPS * edge / amax)} of {N_STEPS} steps"
        )
        found.append(Notice("outlier_tap", message, where))
    # Of no value more than (1 - amax / largest)² of its square is lost.
    if (1 - amax / histogram.amax) ** 2 > MUCH:
        lost = clipping(histogram, scale.scale)
        if lost.energy > MUCH:
            message = (
                f"amax {amax:.3g} by {by.method} cuts off {_percent(lost.energy)} of the signal "
                f"power {within}: {_percent(lost.values)} of the values saturate, the largest is "
                f"{histogram.amax:.3g}. {by.instead}"
            )
            found.append(Notice("clipped_tap", message, where))
    return found
