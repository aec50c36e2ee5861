"""Lint: what is suspicious about a set of scales that somebody else estimated."""

import math
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.scales import SMALLEST_NORMAL, scale_of
from calaudit.runtime.errors import near

PLAUSIBLE_AMAX: Final = (1e-10, 1e10)
"""Largest magnitudes outside are taken as mistakes."""
DEFAULT_SCALES: Final[dict[float, str]] = {
    scale_of(1.0): "1/127, of amax 1",
    scale_of(2048.5 / 2048): "1/127 as TensorRT's entropy calibration rounds it, of amax 1",
    1 / 128: "1/128",
    1.0: "1",
    127.0: "127, the inverse of 1/127",
}
"""Scales that placeholders have; no range that was measured on real data hits them by chance."""
NEAR_NAMES: Final = 10
"""Unknown names that near ones are looked up for."""
SAME_RANGE: Final = 1.25
"""Factor within which two ranges of one tap agree."""
ENOUGH: Final = 3
"""Scales it takes for the whole set to look wrong."""

_CALIBRATE: Final = "Calibrate on real samples."


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspicious thing."""

    code: str
    """Machine-readable kind, such as ``"zero_scale"``."""
    message: str
    where: str | None = None
    """The tap or the line, as messages name it."""
    next_step: str | None = None

    def __str__(self) -> str:
        return self.message if self.where is None else f"{self.where}: {self.message}"


def lint_scales(
    scales: Mapping[str, float], *, ends_at_one: Collection[str] | None = None
) -> list[Finding]:
    """What is suspicious about scales by themselves.

    Parameters
    ----------
    scales : mapping
        Tensor → scale, any float32.
    ends_at_one : collection of str, optional
        Tensors whose largest magnitude may well be exactly 1. None when nothing is known about
        them: then default scales are reported only where half of all scales or more have them.

    Returns
    -------
    list of Finding
        Codes ``zero_scale``, ``negative_scale``, ``denormal_scale``, ``infinite_scale``,
        ``nan_scale``, ``implausible_scale``, ``default_scale``; or one finding ``byte_order`` or
        ``one_scale`` that explains the whole set.
    """
    if _reversed_bytes(scales.values()):
        message = "most scales make sense only with their bytes in the opposite order"
        step = "Write the most significant byte first: struct.pack('>f', scale).hex()."
        return [Finding("byte_order", message, next_step=step)]
    if len(scales) >= ENOUGH and len(set(scales.values())) == 1:
        message = f"all {len(scales)} tensors have one scale, {next(iter(scales.values())):.6g}"
        return [Finding("one_scale", message, next_step=_CALIBRATE)]
    found = [_invalid(name, scale) for name, scale in scales.items()]
    return [finding for finding in found if finding] + _defaults(scales, ends_at_one)


def lint_names(
    found: Iterable[str], taps: Sequence[str], known: Callable[[str], bool], near_to: Iterable[str]
) -> list[Finding]:
    """What the names in a cache tell about the model it is for.

    Parameters
    ----------
    found : iterable of str
        Names in the cache.
    taps : sequence of str
        Tensors that TensorRT asks for scales of.
    known : callable
        Whether the model may have a tensor of that name.
    near_to : iterable of str
        Names to offer instead of an unknown one.

    Returns
    -------
    list of Finding
        Codes ``missing_tap`` and ``unknown_name``; or one finding ``other_model`` when not one
        name fits.
    """
    names = list(found)
    unknown = [name for name in names if not known(name)]
    if names and len(unknown) == len(names):
        message = f"none of its {len(names)} names is a tensor of this model, such as {names[0]!r}"
        step = "Give the model it was made for, or calibrate this one."
        return [Finding("other_model", message, next_step=step)]
    present = set(names)
    missing = [
        Finding("missing_tap", "has no scale: the layers around it run in float", _tap(tap))
        for tap in taps
        if tap not in present
    ]
    candidates = set(near_to)
    return missing + [
        Finding(
            "unknown_name",
            "the model has no such tensor: TensorRT ignores the scale",
            _tap(name),
            near(name, candidates) if position < NEAR_NAMES else None,
        )
        for position, name in enumerate(unknown)
    ]


def agreement(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Share of the shared taps whose scales are within a factor `SAME_RANGE` of each other.

    Scales must be positive and finite. Without shared taps 0.
    """
    shared = [tap for tap in first if tap in second]
    close = sum(1 / SAME_RANGE <= first[tap] / second[tap] <= SAME_RANGE for tap in shared)
    return close / len(shared) if shared else 0.0


def _tap(name: str) -> str:
    return f"tap {name!r}"


def _invalid(name: str, scale: float) -> Finding | None:
    low, high = PLAUSIBLE_AMAX
    if math.isnan(scale):
        code, message = "nan_scale", "the scale is NaN"
    elif math.isinf(scale):
        code, message = "infinite_scale", "the scale is infinite: every value becomes 0"
    elif scale == 0:
        code, message = "zero_scale", "the scale is 0: the tensor was zero in every sample"
    elif scale < 0:
        code, message = "negative_scale", f"the scale is negative ({scale:.6g})"
    elif scale < SMALLEST_NORMAL:
        code, message = "denormal_scale", f"the scale is denormal ({scale:.3g})"
    elif not low <= scale * N_STEPS <= high:
        code, message = "implausible_scale", f"amax would be {scale * N_STEPS:.3g}"
    else:
        return None
    return Finding(code, message, _tap(name), _CALIBRATE)


def _defaults(scales: Mapping[str, float], ends_at_one: Collection[str] | None) -> list[Finding]:
    suspect = [
        name
        for name, scale in scales.items()
        if scale in DEFAULT_SCALES and (ends_at_one is None or name not in ends_at_one)
    ]
    if ends_at_one is None and (len(scales) < ENOUGH or 2 * len(suspect) < len(scales)):
        return []
    return [
        Finding(
            "default_scale",
            f"the scale is exactly {DEFAULT_SCALES[scales[name]]}: a placeholder, or from "
            "random data",
            _tap(name),
            _CALIBRATE,
        )
        for name in suspect
    ]


def _reversed_bytes(scales: Collection[float]) -> bool:
    """Whether most scales are nonsense, and sensible once their bytes are swapped."""
    swapped = [struct.unpack("<f", struct.pack(">f", scale))[0] for scale in scales]
    mended = sum(
        not _plausible(scale) and _plausible(other)
        for scale, other in zip(scales, swapped, strict=True)
    )
    return len(scales) >= ENOUGH and 2 * mended > len(scales)


def _plausible(scale: float) -> bool:
    return PLAUSIBLE_AMAX[0] <= scale * N_STEPS <= PLAUSIBLE_AMAX[1]
