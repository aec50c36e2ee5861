"""Arrays of .npy files, in several threads at once."""

import math
import tokenize
from pathlib import Path
from threading import Lock
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

_HEADERS: Final = Lock()
"""Held while a header is read: it is a literal of Python, and Python 3.11 counts the depth of what
it parses for all threads together, so two at once may end in "AST constructor recursion depth
mismatch" (CPython issue 106905)."""
_READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    # as 2.0, but for names of fields, which no array of numbers has
    (3, 0): np.lib.format.read_array_header_2_0,
}
_UNPARSABLE: Final = (
    *(TypeError, IndexError, KeyError, OverflowError, SyntaxError, RecursionError, MemoryError),
    tokenize.TokenError,
)
"""What numpy lets through, beside ValueError, of a header that isn't one."""
_MOST: Final = np.iinfo(np.int64).max


class PickledError(ValueError):
    """The array holds Python objects, which would have to be unpickled."""


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
        if version not in _READERS:
            raise ValueError(f"version {version[0]}.{version[1]} of the format isn't known")
        try:
            shape, columns_first, dtype = _READERS[version](stream)
        except _UNPARSABLE as error:
            raise ValueError(f"its header can't be parsed ({type(error).__name__})") from None
    sizes_are_numbers = all(type(size) is int and size >= 0 for size in shape)
    if not sizes_are_numbers or max(math.prod(shape), *shape, 0) > _MOST:
        raise ValueError(f"its shape is {shape}")
    return shape, columns_first, dtype


def read_array(path: Path) -> NDArray[Any]:
    """The array of a file, as ``numpy.load`` gives it.

    Raises
    ------
    PickledError
        It holds Python objects.
    ValueError, OSError
        The file can't be read, or is damaged.
    """
    with path.open("rb") as file:
        shape, columns_first, dtype = read_header(file)
        if dtype.hasobject:
            raise PickledError
        count = math.prod(shape)
        flat = np.fromfile(file, dtype, count)
    if len(flat) < count:
        raise ValueError(f"{count} values expected, {len(flat)} found")
    return flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)
