"""Exposure that moved: from which items to which, and from head to tail.

The exposure of an item is the expected number of lists that show it. Within each query, the places
that some items lost are those that others gained; which took which can't be told, so that each
gaining item has its share of every loss.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.division import divide
from calaudit.metrics.shown import Shown
from calaudit.results.rankings import Flow

Floats = NDArray[np.float64]


def flows(fp32: Shown, engine: Shown, tail: NDArray[np.bool_]) -> Floats:
    """Places of each query, (queries, 6), in the order of `Flow`'s fields.

    Parameters
    ----------
    fp32, engine : Shown
        Of the same queries and items, with as many places.
    tail : ndarray of bool, shape (items,)
    """
    change = exposure(engine) - exposure(fp32)
    lost, gained = (_by_group(change, sign, tail) for sign in (-1.0, 1.0))
    moved = lost.sum(axis=1)
    pairs = divide(lost[:, :, None] * gained[:, None, :], moved[:, None, None], 0.0)
    places = fp32.total(fp32.probability)
    kept = np.maximum(places - moved, 0.0)
    return np.column_stack([places, kept, pairs.reshape(-1, 4)])


def flow_of(places: Floats) -> Flow:
    """Add up the rows of `flows`."""
    return Flow(*(float(value) for value in places.sum(axis=0)))


def moved_items(before: Floats, after: Floats, *, most: int) -> tuple[NDArray[np.int64], ...]:
    """Positions of the items that lost, and of those that gained, the most exposure, most first.

    Parameters
    ----------
    before, after : ndarray, shape (items,)
        Exposure under FP32 and under the engine.
    most : int
        How many of each.
    """
    change = after - before
    found = []
    for sign in (-1.0, 1.0):
        order = np.argsort(-sign * change, kind="stable")[:most]
        found.append(order[sign * change[order] > 1e-9])
    return tuple(found)


def exposure(shown: Shown) -> sparse.csr_array:
    """Chance of each item to be shown, (queries, items)."""
    return sparse.csr_array((shown.probability, (shown.query, shown.item)), shape=shown.shape)


def exposure_over(matrix: sparse.csr_array, rows: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Exposure of each item over some queries, (items,)."""
    return np.asarray(matrix[rows].sum(axis=0), dtype=np.float64).reshape(-1)


def _by_group(change: sparse.csr_array, sign: float, tail: NDArray[np.bool_]) -> Floats:
    """Exposure that head and tail lost (sign −1) or gained (+1), (queries, 2)."""
    one_way = change.copy()
    one_way.data = np.maximum(sign * one_way.data, 0.0)
    groups = np.column_stack([~tail, tail]).astype(np.float64)
    return np.asarray(one_way @ groups, dtype=np.float64)
