"""Average precision of any part of the images, without some, or with two engines' answers swapped.

What all images show is ordered by score, class by class, once. Precision is made not to rise with
recall and read at 101 recalls, as COCO does (pycocotools' accumulate), from the lowest score up:
only a detection that is right adds to it, so that leaving out each of G groups costs the number of
right detections times G, and one pass over all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
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

_SAME = 2.0**-20
"""Scores that differ by a smaller share differ by rounding."""
_STEPS = 2e9
"""Detections times thresholds times patterns that are worth a test."""


@dataclass(frozen=True, eq=False, slots=True)
class RankedDetections:
    """The detections of n images by class and score, and whether they are right.

    A `calaudit.metrics.set_statistics.SetStatistics`: the metric is the mean over classes with
    objects, and over IoU thresholds, of average precision, or of the recall that is reached.
    """

    n: int
    first: Ints
    """(classes + 1,) where each class begins."""
    image: Ints
    """(m,)"""
    score: NDArray[np.float32]
    """(m,) falling within a class; of equal scores the earlier image's comes first."""
    right: NDArray[np.uint16]
    """(m,) bits: whether it found an object, at each IoU threshold."""
    ignored: NDArray[np.uint16]
    """(m,) bits: whether it counts neither as right nor as wrong."""
    true_image: Ints
    """(objects,) image of each object that counts."""
    true_class: Ints
    """(objects,)"""
    thresholds: tuple[int, ...]
    """Bits that are looked at."""
    recall: bool = False
    """Whether the metric is the recall that is reached."""

    def __len__(self) -> int:
        return self.n

    @property
    def undefined(self) -> Bools:
        """(n,) none: an image without detections has that to add."""
        return np.zeros(self.n, np.bool_)

    @property
    def classes(self) -> Ints:
        """(m,) class of each detection."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def emptied(self, units: Bools) -> "RankedDetections":
        """The same, but the images marked (n,) show nothing and have no objects."""
        kept, kept_true = ~units[self.image], ~units[self.true_image]
        return replace(
            self._kept(np.flatnonzero(kept)),
            true_image=self.true_image[kept_true],
            true_class=self.true_class[kept_true],
        )

    def joined(self, others: Sequence["RankedDetections"]) -> "RankedDetections":
        """These images, and after them those of `others`."""
        parts = [self, *others]
        before = np.concatenate([[0], np.cumsum([each.n for each in parts])])
        n_classes = max(len(each.first) for each in parts) - 1
        label = np.concatenate([each.classes for each in parts])
        return ranked(
            n=int(before[-1]),
            n_classes=n_classes,
            label=label,
            image=np.concatenate([p.image + at for p, at in zip(parts, before, strict=False)]),
            score=np.concatenate([each.score for each in parts]),
            right=np.concatenate([each.right for each in parts]),
            ignored=np.concatenate([each.ignored for each in parts]),
            true_image=np.concatenate(
                [p.true_image + at for p, at in zip(parts, before, strict=False)]
            ),
            true_class=np.concatenate([each.true_class for each in parts]),
            thresholds=self.thresholds,
            recall=self.recall,
        )

    def value(self, rows: Ints) -> float:
        """The metric over the images at `rows`."""
        return self.without_groups(rows, np.zeros(len(rows), np.int64), 1)[0]

    def without_groups(self, rows: Ints, group: Ints, n_groups: int) -> tuple[float, Floats]:
        """The metric over `rows`, and with each group left out; see `SetStatistics`."""
        member = np.full(self.n, -1, np.int64)
        member[rows] = group
        part = self._kept(np.flatnonzero(member[self.image] >= 0))
        true = self._true(member, n_groups)
        # without each group, and at the end all of them
        left = true.sum(axis=1, keepdims=True) - np.append(true, np.zeros((len(true), 1)), axis=1)
        total = np.zeros(n_groups + 1)
        of_group = member[part.image]
        for k, bit in part._looked_at(left[:, -1]):
            kept, right = part._judged(k, bit)
            total += _without(right, of_group[kept], left[k], recall=self.recall)
        known = np.count_nonzero(left, axis=0) * len(self.thresholds)
        found = divide(total, known, np.nan)
        return float(found[-1]), found[:-1]

    def beside(self, other: "RankedDetections") -> "RankedPair":
        """These detections beside another engine's."""
        return RankedPair(self, other, _changed(self, other))

    def most(self, rows: Ints) -> Callable[[float], float]:
        """N → what an image may take from the metric: as many objects as images have by Kish.

        An engine that breaks an image loses its objects there: of a class the share 1/(Σg)²·Σg²
        of g objects per image, where images that hold more weigh more. Averaged over the classes.
        """
        member = np.full(self.n, -1, np.int64)
        member[rows] = np.arange(len(rows))
        per_image = self._true(member, len(rows)).astype(np.float64)
        total = per_image.sum(axis=1)
        there = total > 0
        share = divide((per_image**2).sum(axis=1)[there], total[there] ** 2, 0.0)
        one = float(share.mean()) if there.any() else 0.0
        return lambda n: min(1.0, one * len(rows) / n)

    def _looked_at(self, true: NDArray[Any]) -> Iterator[tuple[int, int]]:
        """Classes with objects, `true` (classes,), and thresholds."""
        return product(np.flatnonzero(true).tolist(), self.thresholds)

    def _judged(self, k: int, bit: int) -> tuple[Ints, Bools]:
        """Places of a class's detections that are right or wrong, and which are right."""
        first, last = self.first[k : k + 2]
        kept = first + np.flatnonzero((self.ignored[first:last] >> bit) & 1 == 0)
        return kept, (self.right[kept] >> bit) & 1 == 1

    def _kept(self, chosen: Ints) -> "RankedDetections":
        """The detections at ascending places; objects stay."""
        return replace(
            self,
            first=np.searchsorted(chosen, self.first).astype(np.int64),
            image=self.image[chosen],
            score=self.score[chosen],
            right=self.right[chosen],
            ignored=self.ignored[chosen],
        )

    def _true(self, member: Ints, n_groups: int) -> Ints:
        """Objects of each class in each group, (classes, groups); group -1 doesn't count."""
        n_classes = len(self.first) - 1
        group = member[self.true_image]
        place = (self.true_class * n_groups + group)[group >= 0]
        counts = np.bincount(place, minlength=n_classes * n_groups)
        return counts.reshape(n_classes, n_groups).astype(np.int64)


def ranked(
    *, n: int, n_classes: int, label: Ints, image: Ints, score: NDArray[np.float32], **others: Any
) -> RankedDetections:
    """Order detections that are in the order of their images; see `RankedDetections`."""
    order = np.lexsort((image, -score, label))
    for name in ("right", "ignored"):
        others[name] = others[name][order]
    first = np.searchsorted(label[order], np.arange(n_classes + 1)).astype(np.int64)
    return RankedDetections(n=n, first=first, image=image[order], score=score[order], **others)


@dataclass(frozen=True, eq=False, slots=True)
class RankedPair:
    """One engine's detections beside another's, over the same images."""

    one: RankedDetections
    other: RankedDetections
    changed: Bools

    def swaps(self, rows: Ints, block: Ints, n_blocks: int) -> "RankedSwaps":
        """What swaps do; see `calaudit.metrics.set_statistics.Pair`."""
        member = np.full(self.one.n, -2, np.int64)
        member[rows] = block
        parts = [
            each._kept(np.flatnonzero(member[each.image] >= -1)) for each in (self.one, self.other)
        ]
        arm = np.repeat(np.array([0, 1], np.uint8), [len(each.image) for each in parts])
        columns = ("classes", "image", "score", "right", "ignored")
        label, image, score, right, ignored = (
            np.concatenate([getattr(each, name) for each in parts]) for name in columns
        )
        order = np.lexsort((image, -score, label))
        both = replace(
            parts[0],
            first=parts[0].first + parts[1].first,
            image=image[order],
            score=score[order],
            right=right[order],
            ignored=ignored[order],
        )
        true = self.one._true(np.where(member >= -1, 0, -1), 1)[:, 0]
        return RankedSwaps(both, member[both.image], arm[order], true)


@dataclass(frozen=True, eq=False, slots=True)
class RankedSwaps:
    """The detections of two engines in one order, of which blocks of images change places."""

    both: RankedDetections
    block: Ints
    """(m,) -1: of an image that isn't swapped."""
    arm: NDArray[np.uint8]
    """(m,) the engine: 0 or 1."""
    true: Ints
    """(classes,) objects."""

    @property
    def affordable(self) -> int:
        """How many patterns of swaps may be tried within a few seconds."""
        return int(_STEPS / max(len(self.block) * len(self.both.thresholds), 1))

    def __call__(self, swapped: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """The metric by both engines, (patterns,)."""
        none = np.zeros((len(swapped), 1), np.uint8)
        # The last row is block -1's, which stays where it is.
        side = np.ascontiguousarray(np.concatenate([swapped, none], axis=1).T).astype(np.int32)
        total = np.zeros((2, len(swapped)))
        for k, bit in self.both._looked_at(self.true):
            kept, right = self.both._judged(k, bit)
            where = self.block[kept], self.arm[kept]
            total += _swapped(right, where, self.true[k], side, recall=self.both.recall)
        known = np.count_nonzero(self.true) * len(self.both.thresholds)
        before, after = divide(total, known, np.nan)
        return before, after


def _changed(one: RankedDetections, other: RankedDetections) -> Bools:
    """(n,) images of which something else is found, or found with another score."""
    counts = [np.bincount(each.image, minlength=one.n) for each in (one, other)]
    changed = counts[0] != counts[1]
    parts = []
    for each in (one, other):
        order = np.argsort(each.image, kind="stable")
        parts.append((each, order[~changed[each.image[order]]]))
    (a, at), (b, there) = parts
    apart = np.abs(a.score[at] - b.score[there]) > _SAME * np.abs(a.score[at])
    for name in ("classes", "right", "ignored"):
        apart |= getattr(a, name)[at] != getattr(b, name)[there]
    changed[a.image[at][apart]] = True
    return np.asarray(changed, np.bool_)


def _without(right: Bools, group: Ints, true: Floats, *, recall: bool) -> Floats:
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


def _swapped(
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
