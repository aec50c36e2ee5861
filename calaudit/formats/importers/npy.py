"""Arrays of .npy files, in several threads at once."""

from pathlib import Path
from threading import Lock
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

_HEADERS: Final = Lock()
"""Held while a header is read: it is a literal of Python, and Python 3.11 counts the depth of what
it parses for all threads together, so two at once may end in "AST constructor recursion depth
mismatch" (CPython issue 106905)."""


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and element type of the array that `stream` starts with.

    The stream is left at the array's first byte.

    Raises
    ------
    ValueError
        The stream doesn't start with such a header.
    """
    with _HEADERS:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        return np.lib.format.read_array_header_2_0(stream)


def read_array(path: Path) -> NDArray[Any]:
    """The array of a file, as ``numpy.load`` gives it.

    Raises
    ------
    ValueError, OSError
        The file can't be read, is damaged, or holds pickled objects ("allow_pickle" in the text).
    """
    with path.open("rb") as file:
        shape, columns_first, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.fromfile(file, dtype, count)
    if len(flat) < count:
        raise ValueError(f"{count} values expected, {len(flat)} found")
    return flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)
