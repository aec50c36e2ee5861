"""Images as model inputs, with Pillow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from calaudit.errors import PoolError
from calaudit.formats.importers.arrays import converted
from calaudit.formats.importers.settings import ImageSettings

_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_DEEP = ("I", "F")
_PHOTOMETRIC = 262
"""TIFF tag that says what 0 means."""
_WHITE_IS_ZERO = 0


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
            f"isn't a readable image: {error}", where=path, next_step="Mend or remove the file."
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
