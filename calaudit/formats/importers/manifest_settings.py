"""How a manifest's files become model inputs, and its columns targets and metadata."""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from calaudit.runtime.errors import Notice, SettingsError
from calaudit.runtime.settings import setting

Dtype = Literal[
    "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
"""Element types that a pool stores."""

_BYTES = 8.0
"""Pixels that reach this far were not scaled to 0 … 1 or −1 … 1."""


@setting
class ImageSettings:
    """Preprocessing of an image: size, then value / divide_by, then (value − mean) / std."""

    size: tuple[int, int] | None = None
    """(height, width) in pixels; None keeps the file's."""
    fit: Literal["stretch", "crop", "letterbox"] = "stretch"
    """``crop`` keeps the aspect ratio and cuts the centre; ``stretch`` takes the whole image;
    ``letterbox`` takes it, keeps the aspect ratio and leaves a border."""
    shorter_side: int | None = None
    """With ``crop``: scale the shorter side to this first (ImageNet: 256, then size 224)."""
    border: float = 114.0
    """With ``letterbox``: what an 8-bit value of the border is, before the division."""
    align: Literal["center", "top-left"] = "center"
    """With ``letterbox``: where the image lies."""
    interpolation: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    divide_by: float = 255.0
    """What an 8-bit value is divided by. Deeper images are brought to 0 … 255 first."""
    white: float | None = None
    """The value that is white in images of more than 8 bits: by default 1 in those of floats, 65535
    in those of whole numbers. 8-bit images have 255."""
    mean: tuple[float, ...] | None = None
    """Per channel, or one for all."""
    std: tuple[float, ...] | None = None
    """Per channel, or one for all."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "float16", "float64", "uint8"] = "float32"
    as_bytes: bool = False
    """Store images of 8 bits as they are, in a byte per value, and what each byte stands for after
    this preprocessing: a quarter of float32's room, read as the same numbers."""

    def __post_init__(self) -> None:
        n = 1 if self.channels == "gray" else 3
        if self.size is not None:
            self._check_size(self.size, n)
        for name, values in (("mean", self.mean), ("std", self.std)):
            _check_finite(name, values or ())
            if values is not None and len(values) not in {1, n}:
                raise SettingsError(
                    f"{name} has {len(values)} values for {n} channel{'s' if n > 1 else ''}",
                    next_step="Give one per channel, or one for all.",
                )
        if self.std is not None and min(self.std) <= 0:
            raise SettingsError(f"std must be positive, got {list(self.std)}")
        for name, value in (("divide_by", self.divide_by), ("white", self.white)):
            if value is not None and not 0 < value < math.inf:
                raise SettingsError(f"{name} must be positive, got {value}")
        if not 0 <= self.border <= 255:
            raise SettingsError(f"border must be an 8-bit value, 0 to 255, got {self.border:g}")
        if self.shorter_side is not None:
            self._check_shorter_side(self.shorter_side)
        if self.dtype == "uint8":
            self._check_bytes()

    def _check_size(self, size: tuple[int, int], channels: int) -> None:
        if min(size) < 1:
            raise SettingsError(f"size must be at least 1 × 1, got {list(size)}")
        width = 1 if self.as_bytes else np.dtype(self.dtype).itemsize
        _check_fits("size", f"{size[0]} × {size[1]}", size[0] * size[1] * channels * width)

    def _check_bytes(self) -> None:
        if self.divide_by != 1.0 or self.mean or self.std:
            raise SettingsError(
                "dtype uint8 keeps the pixel values as they are",
                next_step="Set divide_by = 1 and remove mean and std, or use float32.",
            )
        if self.as_bytes:
            raise SettingsError(
                "dtype uint8 is stored in bytes anyway",
                next_step="Remove as_bytes (--as-bytes), or name the float that the model takes.",
            )

    def _check_shorter_side(self, shorter_side: int) -> None:
        if self.fit != "crop" or self.size is None:
            raise SettingsError(
                "shorter_side works with fit = 'crop' and a size only",
                next_step="Add both, or remove shorter_side.",
            )
        if shorter_side < max(self.size):
            raise SettingsError(
                f"shorter_side {shorter_side} is less than the size {list(self.size)}",
                next_step="Scale to at least the size that is cut out.",
            )


def _check_finite(name: str, values: Sequence[float]) -> None:
    wrong = [each for each in values if not math.isfinite(each)]
    if wrong:
        raise SettingsError(
            f"{name} must be finite, got {wrong[0]}",
            next_step="Give a number, not NaN or infinity.",
        )


def _check_fits(name: str, shown: str, n_bytes: int) -> None:
    """Refuse a size of which this machine's memory doesn't hold one sample."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return  # this system doesn't tell
    if n_bytes > memory:
        raise SettingsError(
            f"{name} {shown} takes {n_bytes / 1e9:,.0f} GB of memory per sample, and this machine "
            f"has {memory / 1e9:,.0f} GB",
            next_step="Give the size that the model takes.",
        )


def unit_notices(name: str, settings: "ImageSettings | AudioSettings") -> Iterator[Notice]:
    """Means and deviations of an input that are in other units than the values they change.

    The commonest reason why a model that works elsewhere knows nothing here: ImageNet's 0.485 for
    pixels of 0 … 255, or 123.675 for pixels that were divided by 255.
    """
    means: Sequence[float]
    deviations: Sequence[float]
    if isinstance(settings, AudioSettings):
        low, high, means, deviations = -1.0, 1.0, [settings.mean], [settings.std]
        what = "a wave lies in -1 … 1"
    else:
        low, high = 0.0, 255.0 / settings.divide_by
        means, deviations = settings.mean or (), settings.std or ()
        what = f"pixels lie in 0 … {high:.4g} after division by {settings.divide_by:g}"
    shown = _numbers_of(means)
    if any(not low <= each <= high for each in means):
        advice = f"write means between {low:g} and {high:.4g}, or change the division"
        yield Notice("mean_units", f"{what}, where mean = {shown} lies outside: {advice}", name)
    elif high >= _BYTES and 0 < max(means, default=0.0) <= 1:
        advice = "divide by 255 first, or multiply the means by 255"
        yield Notice("mean_units", f"{what}, where mean = {shown} does nothing: {advice}", name)
    shown = _numbers_of(deviations)
    if any(each > high for each in deviations):
        advice = f"write deviations below {high:.4g}, or change the division"
        yield Notice("std_units", f"{what}, which std = {shown} squeezes: {advice}", name)
    elif high >= _BYTES and max(deviations, default=1.0) < 1:
        advice = "divide by 255 first, or multiply the deviations by 255"
        yield Notice("std_units", f"{what}, which std = {shown} blows up: {advice}", name)


def _numbers_of(values: Sequence[float]) -> str:
    return ", ".join(f"{each:g}" for each in values)


@setting
class AudioSettings:
    """Preprocessing of a recording: mono, resampled, cut or padded to one length."""

    sample_rate: int
    """Hz; files with another rate are resampled (polyphase)."""
    length: int | None = None
    """Samples at `sample_rate`; None keeps each file's length, which must then be equal."""
    crop: Literal["start", "center"] = "start"
    """Which part of a longer recording is kept."""
    mean: float = 0.0
    std: float = 1.0
    """The input is (wave − mean) / std, wave in −1 … 1."""
    layout: Literal["NCL", "NL"] = "NCL"
    """(1, length) or (length,) per sample."""
    dtype: Literal["float32", "float16", "float64"] = "float32"

    def __post_init__(self) -> None:
        for name, value in (("sample_rate", self.sample_rate), ("length", self.length)):
            if value is not None and value < 1:
                raise SettingsError(f"{name} must be at least 1, got {value}")
        if self.length is not None:
            _check_fits("length", f"{self.length}", self.length * np.dtype(self.dtype).itemsize)
        _check_finite("mean", [self.mean])
        _check_finite("std", [self.std])
        if self.std <= 0:
            raise SettingsError(f"std must be positive, got {self.std}")


@setting
class ArraySettings:
    """An .npy file per sample, taken as it is."""

    dtype: Dtype | None = None
    """Element type to convert to; None keeps the files'."""


@setting
class InputSettings:
    """One model input: the column with the files' paths, and what kind of files they are."""

    column: str = "path"
    image: ImageSettings | None = None
    audio: AudioSettings | None = None
    npy: ArraySettings | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("image", "audio", "npy") if getattr(self, n) is not None]
        if len(given) != 1:
            raise SettingsError(
                "an input is exactly one of image, audio and npy"
                + (f", got {' and '.join(given)}" if given else ""),
                next_step="Give one table, for example image = {size = [224, 224]}.",
            )

    @property
    def settled(self) -> bool:
        """Whether every file gives an array of the same element type."""
        return self.npy is None or self.npy.dtype is not None


@setting
class MaskSettings:
    """Images of a class number per pixel, laid as the model's input is."""

    ignore: int | None = None
    """The number that stands where a mask says nothing, and for the border of a letterbox."""
    input: str | None = None
    """The input that is the masks' image; not needed where only one is made of images."""

    def __post_init__(self) -> None:
        if self.ignore is not None and not 0 <= self.ignore < 2**16:
            raise SettingsError(f"ignore must be 0 to 65535, got {self.ignore}")


@setting
class TargetSettings:
    """One target: a column of numbers, of text, of classes that have names, or of masks' paths."""

    column: str
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs; the column may hold names or numbers."""
    mask: MaskSettings | None = None
    """Says that the column holds paths of masks."""

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")


@setting
class ManifestSettings:
    """Everything an import from a manifest needs to know."""

    inputs: dict[str, InputSettings]
    """Model input name → where it comes from."""
    targets: dict[str, TargetSettings] | None = None
    meta: dict[str, str] | None = None
    """Metadata column in the pool → column of the manifest. None takes all columns not used."""
    ids: str | None = None
    """Column with stable ids; without it the first input's path serves."""
    outside: bool = False
    """Whether paths may leave the manifest's folder."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise SettingsError("there is no input", next_step="Add a table [inputs.<name>].")
        for name, target in (self.targets or {}).items():
            if target.mask is not None:
                self.image_of(name, target.mask)

    def image_of(self, target: str, mask: MaskSettings) -> str:
        """The input whose image a target's masks belong to. Raises `SettingsError`."""
        images = [name for name, how in self.inputs.items() if how.image is not None]
        if mask.input in images:
            return str(mask.input)
        if mask.input is None and len(images) == 1:
            return images[0]
        listed = ", ".join(images) or "none"
        raise SettingsError(
            f"the masks of {target} belong to one input of images, and there are {listed}"
            if mask.input is None
            else f"the masks of {target} belong to {mask.input!r}, which is no input of images "
            f"(there are {listed})",
            next_step='Say which in its table: mask = {input = "…"}.',
        )
