"""Pictures beside a report: samples and masks as PNG files, and the colours of classes."""

import colorsys
import hashlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calaudit.formats.writing import atomic_write

FOLDER: Final = "pictures"
"""Of the pictures, beside report.json."""
SMALLEST: Final = 4
"""Pixels of a side: smaller arrays are no images."""
LARGEST: Final = 640
"""Pixels of a side: larger images are scaled down."""
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,60}-[0-9a-f]{12}\.png")
_GOLDEN = 0.618033988749895
"""Hues this far apart on the circle stay apart, however many there are."""
_FIRST_HUE = 0.58
_LIGHT = (0.50, 0.38, 0.64)


def as_image(values: NDArray[Any]) -> NDArray[Any] | None:
    """Samples as images, (n, H, W) or (n, H, W, 3); None where they don't look like images.

    Parameters
    ----------
    values : array, shape (n, …)
        Numbers: (n, H, W), (n, channels, H, W) or (n, H, W, channels) with 1 or 3 channels; other
        axes of length 1 count for nothing.
    """
    if values.dtype.kind not in "fiu":
        return None
    kept = [side for side in values.shape[1:] if side != 1]
    values = values.reshape(len(values), *kept)
    if values.ndim == 4 and values.shape[1] == 3:
        values = np.moveaxis(values, 1, -1)
    if values.ndim != 3 and not (values.ndim == 4 and values.shape[3] == 3):
        return None
    return values if min(values.shape[1:3]) >= SMALLEST else None


def as_pixels(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images from :func:`as_image` as bytes, all on one scale, so that dark ones stay dark.

    Bytes stay as they are, and 0 to 1 becomes black to white. Any other range, as normalized
    inputs have it, is stretched from the smallest to the largest value, each the median over the
    images.
    """
    if images.dtype == np.uint8:
        return images
    wide = images.astype(np.float64).reshape(len(images), -1)
    if images.dtype.kind == "f" and wide.min() >= 0 and wide.max() <= 1:
        low, high = 0.0, 0.5
    else:
        # halves: the span of values near the largest float isn't a float
        low, high = np.median(wide.min(axis=1) / 2), np.median(wide.max(axis=1) / 2)
    shares = (wide / 2 - low) / ((high - low) or 1.0)
    return (255 * shares.clip(0, 1)).round().astype(np.uint8).reshape(images.shape)


def picture_name(name: str, *parts: str) -> str:
    """The file of a picture: readable, and another for every other name.

    Parameters
    ----------
    name : str
        The sample's id.
    *parts : str
        What else sets the picture apart.
    """
    told = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:40] or "sample"
    digest = hashlib.blake2b("\0".join((name, *parts)).encode("utf-8", "surrogatepass"))
    return f"{told}-{digest.hexdigest()[:12]}.png"


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image, (H, W) or (H, W, 3). Raises `OutputError`."""
    image = Image.fromarray(pixels)
    largest = max(image.size)
    if largest > LARGEST:
        sides = [max(1, round(side * LARGEST / largest)) for side in image.size]
        image = image.resize((sides[0], sides[1]), Image.Resampling.BOX)
    _write(path, image)


def write_mask(path: Path, mask: NDArray[np.uint8], n_classes: int) -> None:
    """Write class numbers, (H, W), as a PNG with a palette. Raises `OutputError`.

    Parameters
    ----------
    path : Path
    mask : uint8 (H, W)
        255 is clear.
    n_classes : int
    """
    image = Image.fromarray(mask, mode="P")
    colours = [bytes.fromhex(class_colour(number)[1:]) for number in range(min(n_classes, 255))]
    image.putpalette(b"".join(colours).ljust(3 * 256, b"\0"))
    largest = max(image.size)
    if largest > LARGEST:
        sides = [max(1, round(side * LARGEST / largest)) for side in image.size]
        image = image.resize((sides[0], sides[1]), Image.Resampling.NEAREST)
    image.info["transparency"] = 255
    _write(path, image)


def _write(path: Path, image: Image.Image) -> None:
    with atomic_write(path) as aside:
        image.save(aside, "PNG", optimize=True)


def class_colour(number: int) -> str:
    """The colour of a class, ``"#rrggbb"``: the same in every picture, unlike its neighbours'."""
    hue = (_FIRST_HUE + number * _GOLDEN) % 1.0
    rgb = colorsys.hls_to_rgb(hue, _LIGHT[number % len(_LIGHT)], 0.75)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def pictures_in(folder: Path) -> list[Path]:
    """Pictures in a folder, by the names that reports give them."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
