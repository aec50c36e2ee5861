"""One sample's file as a model input: arrays (.npy), images with Pillow, audio with soundfile.

Pickled objects are refused, never loaded.
"""

from collections.abc import Callable, Iterable, Mapping
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from calaudit.formats.importers.manifest_settings import ArraySettings, AudioSettings, ImageSettings
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near

EVERY = "*"
"""Name that stands for every input that isn't named itself."""

_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_DEEP = ("I", "F")
_PHOTOMETRIC = 262
"""TIFF tag that says what 0 means."""
_WHITE_IS_ZERO = 0


def check_named(dtypes: Mapping[str, str], inputs: Iterable[str], *, where: object) -> None:
    """Refuse an element type for an input that isn't there. Raises `SettingsError`."""
    known = list(inputs)
    unknown = [name for name in dtypes if name not in {EVERY, *known}]
    if unknown:
        raise SettingsError.of(
            Problem(f"--dtype: there is no input {name!r}", str(where), near(name, known))
            for name in unknown
        )


def read_npy(path: Path, settings: ArraySettings) -> NDArray[Any]:
    """Read one array.

    Raises
    ------
    PoolError
        The file isn't an .npy of numbers, is damaged, or holds pickled objects.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        pickled = "allow_pickle" in str(error)
        raise PoolError(
            "holds pickled Python objects, which are never loaded"
            if pickled
            else f"isn't a readable .npy file: {error}",
            where=path,
            next_step="Save it as an array of numbers with numpy.save.",
        ) from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise PoolError("isn't an array of numbers", where=path, next_step="Save it as numbers.")
    return values if settings.dtype is None else converted(values, settings.dtype, where=path)


def as_asked(
    name: str, values: NDArray[Any], dtypes: Mapping[str, str], *, where: object
) -> NDArray[Any]:
    """An input in the element type that was asked for it, or as it is; see `converted`."""
    dtype = dtypes.get(name, dtypes.get(EVERY))
    return values if dtype is None else converted(values, dtype, where=where)


def converted(values: NDArray[Any], dtype: str, *, where: object) -> NDArray[Any]:
    """Values of another element type: integers unchanged, floats rounded.

    Raises
    ------
    PoolError
        A value doesn't fit: a fraction or a large number in integers, a number too large for the
        floats.
    """
    wanted = np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(wanted)
        if wanted.kind == "f":
            lost = np.isinf(made) & np.isfinite(values)
        else:
            # Both are compared as the wider of the two kinds, where a wrap shows.
            lost = (
                made != values if values.dtype.kind != "f" else made.astype(values.dtype) != values
            )
            lost |= (values < 0) != (made < 0)
    if lost.any():
        raise PoolError(
            f"{values[lost].flat[0]} doesn't fit {wanted}",
            where=where,
            next_step="Choose another --dtype, or scale the values as the model expects them.",
        )
    return made


def read_image(
    path: Path, settings: ImageSettings, *, several: Callable[[], None] | None = None
) -> NDArray[Any]:
    """Read and preprocess one image; of several frames the first, which `several` is told.

    Returns
    -------
    (channels, height, width) or (height, width, channels) by `settings.layout`.

    Raises
    ------
    PoolError
        The file isn't an image, is damaged, is too large to be meant, or holds values beyond
        what is white.
    """
    try:
        with Image.open(path) as opened:
            if several is not None and getattr(opened, "n_frames", 1) > 1:
                several()
            upright = ImageOps.exif_transpose(opened)
            if opened.mode in _DEEP or opened.mode.startswith("I;16"):
                image = _resized(_deep(upright, opened, settings, path), settings)
            else:
                image = _resized(upright.convert(_MODES[settings.channels]), settings)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PoolError(
            f"isn't a readable image: {error}", where=path, next_step="Fix or remove the file."
        ) from None
    except Image.DecompressionBombError as error:
        raise PoolError(str(error), where=path, next_step="Scale the image down.") from None
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = values.clip(0, 255)  # as 8-bit images are, where resizing overshoots
    if values.ndim == 2:
        values = values[..., None]
        values = values if settings.channels == "gray" else values.repeat(3, axis=-1)
    if settings.channels == "bgr":
        values = values[..., ::-1]
    if settings.dtype == "uint8":
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    else:
        values = _normalised(values.astype(np.float32), settings)
        values = converted(values, settings.dtype, where=path)
    return np.ascontiguousarray(values if settings.layout == "NHWC" else np.moveaxis(values, -1, 0))


def _deep(
    image: Image.Image, opened: Image.Image, settings: ImageSettings, path: Path
) -> Image.Image:
    """An image of one channel deeper than 8 bits as floats from 0 to 255.

    Pillow would clip the values when it converts them to 8 bits.
    """
    values = np.asarray(image, np.float32)
    white = settings.white or (1.0 if opened.mode == "F" else 65535.0)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= white):
        raise PoolError(
            f"holds values from {low:g} to {high:g}, expected 0 (black) to {white:g} (white)",
            where=path,
            next_step="Say which value is white: --white, or white = … in the image's table of "
            "--config; store images with NaN or negative values as .npy.",
        )
    if isinstance(opened, TiffImageFile) and opened.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = white - values
    return Image.fromarray(values * np.float32(255 / white))


def _resized(image: Image.Image, settings: ImageSettings) -> Image.Image:
    if settings.size is None:
        return image
    height, width = settings.size
    method = Image.Resampling[settings.interpolation.upper()]
    if settings.fit == "stretch":
        return image.resize((width, height), method)
    if settings.shorter_side is None:
        return ImageOps.fit(image, (width, height), method)
    ratio = settings.shorter_side / min(image.size)
    scaled = image.resize((round(image.width * ratio), round(image.height * ratio)), method)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))


def _normalised(values: NDArray[np.float32], settings: ImageSettings) -> NDArray[np.float32]:
    mean = np.asarray(0.0 if settings.mean is None else settings.mean, np.float32)
    std = np.asarray(1.0 if settings.std is None else settings.std, np.float32)
    scaled: NDArray[np.float32] = (values / np.float32(settings.divide_by) - mean) / std
    return scaled


def read_audio(path: Path, settings: AudioSettings) -> NDArray[Any]:
    """Read and preprocess one recording; channels are averaged.

    Returns
    -------
    (1, length) or (length,) by `settings.layout`.

    Raises
    ------
    PoolError
        The file isn't audio that soundfile reads, or is empty.
    """
    import soundfile

    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise PoolError(
            f"isn't a readable recording: {error}", where=path, next_step="Fix or remove the file."
        ) from None
    if len(wave) == 0:
        raise PoolError("holds no samples", where=path, next_step="Remove it from the manifest.")
    mono = _resampled(wave.mean(axis=1), rate, settings.sample_rate)
    values = (_cut(mono, settings) - np.float32(settings.mean)) / np.float32(settings.std)
    values = values[None] if settings.layout == "NCL" else values
    return converted(values, settings.dtype, where=path)


def _resampled(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return np.asarray(resample_poly(wave, wanted // common, rate // common), np.float32)


def _cut(wave: NDArray[np.float32], settings: AudioSettings) -> NDArray[np.float32]:
    length = settings.length
    if length is None:
        return wave
    if len(wave) < length:
        return np.pad(wave, (0, length - len(wave)))
    start = (len(wave) - length) // 2 if settings.crop == "center" else 0
    return wave[start : start + length]
