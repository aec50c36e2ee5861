"""Counting, for every element of a sequence, the greater ones before it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_greater_before(values: NDArray[Any]) -> NDArray[np.int64]:
    """For each position i, the number of j < i with values[j] > values[i], (n,).

    Parameters
    ----------
    values : ndarray, shape (n,)
        Without NaN.

    Notes
    -----
    The positions, in falling order of their values, are split bit by bit: of two positions in one
    block, the one with the bit comes after the one without. O(n log n) in time, O(n) in memory.
    """
    n = len(values)
    counts = np.zeros(n, dtype=np.int64)
    # Of equal values the later position comes first, so that equals are not counted.
    position = n - 1 - np.argsort(-values[::-1], kind="stable").astype(np.int64)
    for bit in reversed(range(max(n - 1, 0).bit_length())):
        low = (position >> bit) & 1 == 0
        block = position >> (bit + 1)
        starts = np.ones(n, dtype=bool)
        starts[1:] = block[1:] != block[:-1]
        seen = np.cumsum(low)
        before = np.maximum.accumulate(np.where(starts, seen - low, 0))
        counts[position[~low]] += (seen - before)[~low]
        position = position[np.argsort(position >> bit, kind="stable")]
    return counts
