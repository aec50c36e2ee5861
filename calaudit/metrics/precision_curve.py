"""Precision read at given recalls: without groups of detections, or with blocks of them swapped.

Precision is made not to rise with recall and read at 101 recalls, as COCO does (pycocotools'
accumulate), from the lowest score up: only a detection that is right adds to it, so that leaving
out each of G groups costs the number of right detections times G, and one pass over all.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.division import divide
from calaudit.runtime.compiled import compiled, streamed

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
    right: Bools, where: tuple[Ints, Any], true: int, side: Floats, *, recall: bool
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
        counts.append((of.sum(axis=1)[:, None] - moved + moved[::-1]).astype(np.float64))
    hits, wrong = counts
    reached = hits / true
    if recall:
        return np.asarray(reached, np.float64)
    # How many recalls are first reached by the c-th right one; that of 0 is read at the end.
    first = np.searchsorted(np.arange(true + 1) / true, RECALLS[1:])
    read = np.bincount(first, minlength=true + 1).astype(np.float64)
    best, area = np.zeros(hits.shape), np.zeros(hits.shape)
    _read_swapped((right, block, arm), (1.0 - side, side), (hits, wrong), read, (best, area))
    return np.asarray((area + best) / len(RECALLS), np.float64)


@streamed
def _read_swapped(detections: Any, weights: Any, counts: Any, read: Floats, room: Any) -> None:
    """Add up the precisions that are read at the recalls, from the lowest score up.

    Parameters
    ----------
    detections : right, block and engine, (m,)
    weights : two ndarrays, shape (blocks + 1, patterns)
        1 where a block stays where it is, and 1 where it is swapped.
    counts : right and wrong ones, (2, patterns)
    read : ndarray, shape (objects + 1,)
        Recalls that are first reached by so many right ones.
    room : zeros for the best precision, and zeros to add to, (2, patterns)

    Notes
    -----
    A detection is in one of the two engines' lists, but is counted in both, with weights 1 and 0:
    without branches the processor does several patterns at once.
    """
    right, block, arm = detections
    hits, wrong = counts
    best, area = room
    stays, moves = weights
    for e in range(len(right) - 1, -1, -1):
        for a in range(2):
            here = stays[block[e]] if arm[e] == a else moves[block[e]]
            of, own = wrong[a], hits[a]
            if not right[e]:
                for p in range(len(here)):
                    of[p] -= here[p]
                continue
            highest, sums = best[a], area[a]
            for p in range(len(here)):
                precision = here[p] * (own[p] / (of[p] + own[p] + SPACING))
                highest[p] = max(highest[p], precision)
                sums[p] += here[p] * highest[p] * read[np.int32(own[p])]
                own[p] -= here[p]
