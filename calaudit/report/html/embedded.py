"""Pictures beside a report as data addresses, so that a page holds them itself."""

import base64
import io
from pathlib import Path, PurePath
from typing import Final

from PIL import Image, UnidentifiedImageError

_EXACT_BYTES: Final = 24 << 10
"""Larger ones are embedded as JPEG: a page that holds a dozen photographs stays small."""
_QUALITY: Final = 82


def data_address(content: bytes, kind: str) -> str:
    """Bytes of an image as an address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def embedded(folder: Path | None, name: str | None, *, exact: bool = False) -> str | None:
    """A picture of a folder as a data address; None where it isn't there, or no PNG.

    Parameters
    ----------
    folder : Path or None
    name : str or None
        As the report has it, which is data: it can't lead out of the folder.
    exact : bool
        Not as JPEG, however large it is.
    """
    if folder is None or name is None:
        return None
    path = folder / PurePath(name.replace("\\", "/")).name
    try:
        content = path.read_bytes()
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        if exact or len(content) <= _EXACT_BYTES:
            image.verify()
            return data_address(content, "png")
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    return data_address(file.getvalue(), "jpeg")
