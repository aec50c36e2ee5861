"""One sample's image as a model input, and its mask as a target, with Pillow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from calaudit.formats.importers.manifest_settings import ImageSettings
from calaudit.formats.importers.media import converted, in_memory
from calaudit.formats.importers.placement import Placement, place
from calaudit.formats.importers.spare import Spare
from calaudit.runtime.errors import PoolError, unreadable

_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_DEEP = ("I", "F")
_MASKS = ("P", "L", "1")
_PHOTOMETRIC = 262
"""TIFF tag that says what 0 means."""
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the model takes it, and how it got there."""

    values: NDArray[Any]
    """(channels, height, width), or (height, width, channels), by the settings' layout."""
    size: tuple[int, int]
    """Width and height of the file's image in pixels, camera orientation applied."""
    placement: Placement


def read_image(
    path: Path,
    settings: ImageSettings,
    *,
    several: Callable[[], None] | None = None,
    spare: Spare | None = None,
) -> Picture:
    """Read and preprocess one image; of several frames the first, which `several` is told.

    Arrays are taken from `spare`, where they are of its.

    Raises
    ------
    PoolError
        The file isn't an image, is damaged, is too large to be meant or for the memory, or holds
        values beyond what is white.
    """
    size = "its own size" if settings.size is None else " × ".join(map(str, settings.size))
    with in_memory(path, f"the image at {size} pixels"):
        return _read_image(path, settings, several, spare or Spare())


def _read_image(
    path: Path, settings: ImageSettings, several: Callable[[], None] | None, spare: Spare
) -> Picture:
    bytes_wanted = settings.as_bytes or settings.dtype == "uint8"
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
        values = _laid(upright, placement, settings, spare)
    if settings.as_bytes and values.dtype != np.uint8:
        raise PoolError(
            "has more than 8 bits, which bytes would round",
            where=path,
            next_step="Leave out --as-bytes (as_bytes).",
        )
    if not bytes_wanted:
        scaled: NDArray[np.float32] = spare.take(values.shape, np.float32)
        channels_at = -1 if settings.layout == "NHWC" else 0
        _normalise(values, settings, channels_at=channels_at, out=scaled)
        spare.give_back(values)
        values = converted(scaled, settings.dtype, where=path)
        if values is not scaled:
            spare.give_back(scaled)
    elif values.dtype != np.uint8:
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    # Of bytes that are kept, `levels_of` says what they stand for.
    return Picture(values, upright.size, placement)


def _laid(
    image: Image.Image, placement: Placement, settings: ImageSettings, spare: Spare
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The canvas with the image on it, in the settings' layout: floats 0 to 255 of mode F."""
    part = placement.shown(image, Image.Resampling[settings.interpolation.upper()])
    left, top = placement.corner
    deep, layout = image.mode == "F", settings.layout
    sides = (placement.canvas[1], placement.canvas[0])
    channels = 1 if settings.channels == "gray" else 3
    canvas = spare.take(
        (*sides, channels) if layout == "NHWC" else (channels, *sides),
        np.float32 if deep else np.uint8,
    )
    if part.size != placement.canvas:
        canvas[...] = settings.border if deep else round(settings.border)
    planes = np.moveaxis(canvas, -1, 0) if layout == "NHWC" else canvas
    for plane, band in zip(planes, _bands(part, settings.channels), strict=True):
        plane[top : top + part.height, left : left + part.width] = band
    return canvas


def _bands(image: Image.Image, channels: str) -> Iterator[NDArray[Any]]:
    """Each channel of an image, (height, width)."""
    if image.mode == "RGB":
        # Taken apart by Pillow, which holds four bytes per pixel: by numpy it takes three times as
        # long.
        for name in channels.upper():
            band = np.frombuffer(image.tobytes("raw", name), np.uint8)
            yield band.reshape(image.height, image.width)
        return
    values = np.asarray(image)
    if image.mode == "F":
        values = values.clip(0, 255)  # as 8-bit images are, where resizing overshoots
    yield from [values] * (1 if channels == "gray" else 3)


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
    with in_memory(path, "the mask"):
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
    values = np.empty(every.shape, np.float32)
    _normalise(every, settings, channels_at=-1, out=values)
    values = converted(values, settings.dtype, where="as_bytes")
    ends = (256, 1, 1, channels) if settings.layout == "NHWC" else (256, channels, 1, 1)
    return values.reshape(ends)


def _normalise(
    values: NDArray[Any], settings: ImageSettings, *, channels_at: int, out: NDArray[np.float32]
) -> None:
    """(value / divide_by - mean) / std.

    In place, since allocating an array for each step takes longer than the step.
    """
    ends = [1] * values.ndim
    ends[channels_at] = -1
    out[...] = values
    with np.errstate(over="ignore"):  # a pool refuses infinity
        out /= np.float32(settings.divide_by)
        if settings.mean is not None:
            out -= np.asarray(settings.mean, np.float32).reshape(ends)
        if settings.std is not None:
            out /= np.asarray(settings.std, np.float32).reshape(ends)
