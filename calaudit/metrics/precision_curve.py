"""Precision read at given recalls: without groups of detections, or with blocks of them swapped.

Precision is made not to rise with recall and read at 101 recalls, as COCO does (pycocotools'
accumulate), from the lowest score up: only a detection that is right adds to it, so that leaving
out each of G groups costs the number of right detections times G, and one pass over all.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.division import divide
from calaudit.runtime.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RECALLS: Final = np.linspace(0.0, 1.0, 101)
"""At which precision is read."""
SPACING: Final = float(np.spacing(1))
"""What pycocotools adds to the number of detections that precision is over."""


def without_groups(right: Bools, group: Ints, true: Floats, *, recall: bool) -> Floats:
    """Average precision, or recall, without each group, and of all, (groups + 1,).

    Parameters
    ----------
    right : ndarray, shape (m,)
        By falling score.
    group : ndarray, shape (m,)
    true : ndarray, shape (groups + 1,)
        Objects without each group, and all.
    recall : bool
    """
    n = len(true)
    hits = np.count_nonzero(right) - np.bincount(group[right], minlength=n)
    reached = divide(hits, true, 0.0)
    if recall:
        return reached
    wrong = np.bincount(group[~right], minlength=n)
    step = np.searchsorted(RECALLS, reached, side="right") - 1
    area = np.zeros(n)
    counts = hits, wrong, len(right) - np.count_nonzero(right)
    _read(right, group, counts, (step, np.maximum(true, 1.0), RECALLS), area)
    return area / len(RECALLS)


@compiled
def _read(right: Bools, group: Ints, counts: Any, read: Any, area: Floats) -> None:
    """Add up the precisions that are read at the recalls, from the lowest score up.

    Parameters
    ----------
    right, group : ndarray, shape (m,)
    counts : right ones without each group, wrong ones of each group, (groups + 1,), and all wrong
    read : last recall that is reached, objects, (groups + 1,), and the recalls
    area : zeros, (groups + 1,)
    """
    hits, own, wrong = counts
    step, true, recalls = read
    best = np.zeros(len(area))
    for e in range(len(right) - 1, -1, -1):
        mine = group[e]
        if not right[e]:
            own[mine] -= 1
            wrong -= 1
            continue
        for g in range(len(area)):
            if g == mine:
                continue
            precision = hits[g] / (wrong - own[g] + hits[g] + SPACING)
            best[g] = max(best[g], precision)
            hits[g] -= 1
            before = hits[g] / true[g]
            while step[g] > 0 and recalls[step[g]] > before:
                area[g] += best[g]
                step[g] -= 1
    area += best


def swapped_blocks(
    right: Bools, where: tuple[Ints, Any], true: int, side: NDArray[np.int32], *, recall: bool
) -> Floats:
    """Average precision, or recall, by both engines under each pattern of swaps, (2, patterns).

    Parameters
    ----------
    right : ndarray, shape (m,)
        By falling score.
    where : block and engine of each detection, (m,)
    true : int
        Objects.
    side : ndarray, shape (blocks + 1, patterns)
        1 where a block is swapped.
    recall : bool
    """
    block, arm = where
    place = np.where(block < 0, len(side) - 1, block) + arm.astype(np.int64) * len(side)
    counts = []
    for kind in (right, ~right):
        of = np.bincount(place[kind], minlength=2 * len(side)).reshape(2, len(side))
        moved = of @ side
        counts.append((of.sum(axis=1)[:, None] - moved + moved[::-1]).astype(np.int32))
    hits, wrong = counts
    reached = hits / true
    if recall:
        return np.asarray(reached, np.float64)
    step = (np.searchsorted(RECALLS, reached, side="right") - 1).astype(np.int32)
    room = step, np.zeros(step.shape), np.zeros(step.shape)
    _read_swapped((right, block, arm), side, (hits, wrong), (float(true), RECALLS), room)
    return np.asarray(room[2] / len(RECALLS), np.float64)


@compiled
def _read_swapped(
    detections: Any, side: NDArray[np.int32], counts: Any, read: Any, room: Any
) -> None:
    """Add up the precisions that are read at the recalls, from the lowest score up.

    Parameters
    ----------
    detections : right, block and engine, (m,)
    side : ndarray, shape (blocks + 1, patterns)
    counts : right and wrong ones, (2, patterns)
    read : objects, and the recalls
    room : last recall that is reached, zeros, and zeros to add to, (2, patterns)
    """
    right, block, arm = detections
    hits, wrong = counts
    true, recalls = read
    step, best, area = room
    n = side.shape[1]
    for e in range(len(right) - 1, -1, -1):
        moved = side[block[e]]
        if not right[e]:
            here, there = wrong[arm[e]], wrong[1 - arm[e]]
            for p in range(n):
                here[p] -= 1 - moved[p]
                there[p] -= moved[p]
            continue
        for p in range(n):
            a = arm[e] ^ moved[p]
            precision = hits[a, p] / (wrong[a, p] + hits[a, p] + SPACING)
            best[a, p] = max(best[a, p], precision)
            hits[a, p] -= 1
            before = hits[a, p] / true
            while step[a, p] > 0 and recalls[step[a, p]] > before:
                area[a, p] += best[a, p]
                step[a, p] -= 1
    area += best
