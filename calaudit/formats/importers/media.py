"""One sample's file as a model input: arrays (.npy), images with Pillow, audio with soundfile.

Pickled objects are refused, never loaded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from calaudit.formats.importers.manifest_settings import ArraySettings, AudioSettings, ImageSettings
from calaudit.formats.importers.placement import Placement, place
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near, unreadable

EVERY = "*"
"""Name that stands for every input that isn't named itself."""

_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_DEEP = ("I", "F")
_MASKS = ("P", "L", "1")
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
    step = "Save it as an array of numbers with numpy.save."
    try:
        with _in_memory(path, "its array"):
            values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if "allow_pickle" in str(error):
            raise PoolError(
                "holds pickled Python objects, which are never loaded", where=path, next_step=step
            ) from None
        what = "isn't a readable .npy file"
        raise PoolError.of([unreadable(error, path, what, step)]) from None
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
    if values.dtype == wanted:
        return values
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


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the model takes it, and how it got there."""

    values: NDArray[Any]
    """(channels, height, width), or (height, width, channels), by the settings' layout."""
    size: tuple[int, int]
    """Width and height of the file's image in pixels, camera orientation applied."""
    placement: Placement


def read_image(
    path: Path, settings: ImageSettings, *, several: Callable[[], None] | None = None
) -> Picture:
    """Read and preprocess one image; of several frames the first, which `several` is told.

    Raises
    ------
    PoolError
        The file isn't an image, is damaged, is too large to be meant or for the memory, or holds
        values beyond what is white.
    """
    size = "its own size" if settings.size is None else " × ".join(map(str, settings.size))
    with _in_memory(path, f"the image at {size} pixels"):
        return _read_image(path, settings, several)


def _read_image(path: Path, settings: ImageSettings, several: Callable[[], None] | None) -> Picture:
    with _named(path), Image.open(path) as opened:
        if several is not None and getattr(opened, "n_frames", 1) > 1:
            several()
        ImageOps.exif_transpose(opened, in_place=True)
        upright: Image.Image = opened
        if opened.mode in _DEEP or opened.mode.startswith("I;16"):
            upright = _deep(opened, settings, path)
        elif opened.mode != _MODES[settings.channels]:
            upright = opened.convert(_MODES[settings.channels])
        placement = place(*upright.size, settings)
        method = Image.Resampling[settings.interpolation.upper()]
        border = settings.border if upright.mode == "F" else round(settings.border)
        fill = border if upright.mode in "FL" else (int(border),) * 3
        image = placement.apply(upright, method, fill=fill)
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = values.clip(0, 255)  # as 8-bit images are, where resizing overshoots
    if values.ndim == 2:
        values = values[..., None]
        values = values if settings.channels == "gray" else values.repeat(3, axis=-1)
    if settings.channels == "bgr":
        values = values[..., ::-1]
    if settings.as_bytes and values.dtype != np.uint8:
        raise PoolError(
            "has more than 8 bits, which bytes would round",
            where=path,
            next_step="Leave out --as-bytes (as_bytes).",
        )
    first = settings.layout != "NHWC"
    values = np.moveaxis(values, -1, 0) if first else values
    if settings.dtype == "uint8" and values.dtype.kind == "f":
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    elif settings.dtype != "uint8" and not settings.as_bytes:
        # Where bytes are kept, `levels_of` says what they stand for.
        values = _normalised(values, settings, channels_at=0 if first else -1)
        values = converted(values, settings.dtype, where=path)
    return Picture(np.ascontiguousarray(values), upright.size, placement)


def read_mask(path: Path, picture: Picture, border: int | None) -> NDArray[np.integer]:
    """Read a mask, a class number per pixel, and lay it as its image was laid.

    Parameters
    ----------
    path : Path
        A palette image, whose numbers are taken and not its colours, or a grey one.
    picture : Picture
        The image that it belongs to.
    border : int or None
        The number for pixels around the image, where it is letterboxed.

    Returns
    -------
    (height, width) uint8, or uint16 of images with 16 bits.

    Raises
    ------
    PoolError
        It isn't such an image, has another size than its image, or there is a border and no
        number for it.
    """
    with _in_memory(path, "the mask"):
        return _read_mask(path, picture, border)


def _read_mask(path: Path, picture: Picture, border: int | None) -> NDArray[np.integer]:
    with _named(path), Image.open(path) as opened:
        deep = opened.mode.startswith("I")
        if not deep and opened.mode not in _MASKS:
            raise PoolError(
                f"has colours (mode {opened.mode}), expected a class number per pixel",
                where=path,
                next_step="Save masks as palette or grey images, whose values are the classes.",
            )
        upright = ImageOps.exif_transpose(opened)
        numbers = np.asarray(upright).astype(np.int32)
    if upright.size != picture.size:
        shown = " × ".join(map(str, upright.size)), " × ".join(map(str, picture.size))
        raise PoolError(
            f"is {shown[0]} pixels, its image {shown[1]}",
            where=path,
            next_step="Give the mask the size of its image; both are then resized alike.",
        )
    placement = picture.placement
    bordered = not placement.cuts and placement.scaled != placement.canvas
    if bordered and border is None:
        raise PoolError(
            "is letterboxed, and no number is known for the border",
            where=path,
            next_step="Say which number stands where a mask says nothing: --ignore 255.",
        )
    laid = placement.apply(Image.fromarray(numbers), Image.Resampling.NEAREST, fill=border or 0)
    return np.asarray(laid).astype(np.uint16 if deep else np.uint8)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file what Pillow says of an image."""
    try:
        yield
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        what, step = "isn't a readable image", "Fix or remove the file."
        raise PoolError.of([unreadable(error, path, what, step)]) from None
    except Image.DecompressionBombError as error:
        raise PoolError(str(error), where=path, next_step="Scale the image down.") from None


@contextmanager
def _in_memory(path: Path, what: str) -> Iterator[None]:
    """Say of which file it is that there isn't enough memory for."""
    try:
        yield
    except MemoryError:
        raise PoolError(
            f"there isn't enough memory for {what}",
            where=path,
            next_step="Ask for a smaller size (--size, or --length of recordings), or check that "
            "the file is the right one.",
        ) from None


def _deep(opened: Image.Image, settings: ImageSettings, path: Path) -> Image.Image:
    """An image of one channel deeper than 8 bits as floats from 0 to 255.

    Pillow would clip the values when it converts them to 8 bits.
    """
    values = np.asarray(opened, np.float32)
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


def levels_of(settings: ImageSettings) -> NDArray[np.floating]:
    """The model's number for each byte, by channel: (256, c, 1, 1), or (256, 1, 1, c)."""
    channels = 1 if settings.channels == "gray" else 3
    every = np.arange(256, dtype=np.float32)[:, None].repeat(channels, axis=1)
    values = _normalised(every, settings, channels_at=-1)
    values = converted(values, settings.dtype, where="as_bytes")
    ends = (256, 1, 1, channels) if settings.layout == "NHWC" else (256, channels, 1, 1)
    return values.reshape(ends)


def _normalised(
    values: NDArray[Any], settings: ImageSettings, *, channels_at: int
) -> NDArray[np.float32]:
    """(value / divide_by - mean) / std in one new array, C order, whatever the order of `values`.

    In place, since allocating an array for each step takes longer than the step.
    """
    made = np.empty(values.shape, np.float32)
    made[...] = values
    made /= np.float32(settings.divide_by)
    ends = [1] * values.ndim
    ends[channels_at] = -1
    if settings.mean is not None:
        made -= np.asarray(settings.mean, np.float32).reshape(ends)
    if settings.std is not None:
        made /= np.asarray(settings.std, np.float32).reshape(ends)
    return made


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
    with _in_memory(path, "the recording"):
        return _read_audio(path, settings)


def _read_audio(path: Path, settings: AudioSettings) -> NDArray[Any]:
    import soundfile

    try:
        # Opened here, since soundfile says of every file that it can't open "System error".
        with path.open("rb"):
            pass
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        what, step = "isn't a readable recording", "Fix or remove the file."
        raise PoolError.of([unreadable(error, path, what, step)]) from None
    if len(wave) == 0:
        raise PoolError("holds no samples", where=path, next_step="Remove it from the manifest.")
    mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1)
    mono = _resampled(mono, rate, settings.sample_rate)
    values = _cut(mono, settings)
    if (settings.mean, settings.std) != (0.0, 1.0):
        values = (values - np.float32(settings.mean)) / np.float32(settings.std)
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
