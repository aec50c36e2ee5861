"""Images as model inputs, with Pillow."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from calaudit.errors import PoolError
from calaudit.formats.importers.settings import ImageSettings

_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}


def read_image(path: Path, settings: ImageSettings) -> NDArray[Any]:
    """Read and preprocess one image.

    Returns
    -------
    (channels, height, width) or (height, width, channels) by `settings.layout`.

    Raises
    ------
    PoolError
        The file isn't an image, is damaged, or is too large to be meant.
    """
    try:
        with Image.open(path) as opened:
            image = _resized(_converted(ImageOps.exif_transpose(opened), settings), settings)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PoolError(
            f"isn't a readable image: {error}", where=path, next_step="Mend or remove the file."
        ) from None
    except Image.DecompressionBombError as error:
        raise PoolError(str(error), where=path, next_step="Scale the image down.") from None
    values = np.asarray(image)
    values = values[..., None] if values.ndim == 2 else values
    if settings.channels == "bgr":
        values = values[..., ::-1]
    if settings.dtype == "uint8":
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    else:
        values = _normalised(values.astype(np.float32), settings)
    return np.ascontiguousarray(values if settings.layout == "NHWC" else np.moveaxis(values, -1, 0))


def _converted(image: Image.Image, settings: ImageSettings) -> Image.Image:
    mode = _MODES[settings.channels]
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips 16-bit values when it converts them to 8 bits.
        gray = Image.fromarray(np.asarray(image, np.float32) * np.float32(255 / 65535))
        return gray if mode == "L" else gray.convert("L").convert(mode)
    return image.convert(mode)


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
