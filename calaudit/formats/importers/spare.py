"""Memory of samples that are written, for those read after them.

An array of a megabyte is fresh memory each time it is made, which the system clears page by page:
for an image of 640 × 640 pixels a third of the time that decoding it takes.
"""

from collections import defaultdict, deque
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Spare:
    """Arrays that may be written over; threads share it."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, np.dtype[Any]], deque[NDArray[Any]]] = defaultdict(deque)

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of this shape and type, in C order, whatever it holds."""
        wanted = np.dtype(dtype)
        try:
            return self._free[prod(shape), wanted].pop().reshape(shape)
        except IndexError:
            return np.empty(shape, wanted)

    def give_back(self, *used: object) -> None:
        """Let arrays be written over, which nobody reads any more; nothing else is taken."""
        for each in used:
            if isinstance(each, np.ndarray) and each.flags.c_contiguous and each.flags.writeable:
                self._free[each.size, each.dtype].append(each.reshape(-1))
