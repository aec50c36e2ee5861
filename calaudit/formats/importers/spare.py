"""Memory of samples that are written, for those read after them.

An array of a megabyte is fresh memory each time it is made, which the system clears page by page:
for an image of 640 × 640 pixels a third of the time that decoding it takes.
"""

from collections import Counter, defaultdict
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Spare:
    """Arrays that may be written over; threads share it.

    It never holds more of a size than were taken and are away, so that arrays which nobody takes
    don't gather.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: dict[tuple[int, np.dtype[Any]], list[NDArray[Any]]] = defaultdict(list)
        self._away: Counter[tuple[int, np.dtype[Any]]] = Counter()

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of this shape and type, in C order, whatever it holds."""
        wanted = np.dtype(dtype)
        key = prod(shape), wanted
        with self._lock:
            self._away[key] += 1
            found = self._free[key].pop() if self._free[key] else None
        return np.empty(shape, wanted) if found is None else found.reshape(shape)

    def give_back(self, *used: object) -> None:
        """Let arrays be written over, which nobody reads any more; nothing else is taken."""
        for each in used:
            if isinstance(each, np.ndarray) and each.flags.c_contiguous and each.flags.writeable:
                key = each.size, each.dtype
                with self._lock:
                    if self._away[key] > 0:
                        self._away[key] -= 1
                        self._free[key].append(each.reshape(-1))
