"""Average precision of any part of the images, without some, or with two engines' answers swapped.

What all images show is ordered by score, class by class, once; `calaudit.metrics.precision_curve`
reads a part of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.division import divide
from calaudit.metrics.precision_curve import swapped_blocks, without_groups
from calaudit.metrics.set_statistics import Grouping
from calaudit.runtime.compiled import map_on_cores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


_SAME = 2.0**-20
"""Scores that differ by a smaller share differ by rounding."""
_MANY = 100_000
"""Detections from which on classes are worth a core each."""
_STEPS = 2e7
"""Detections times thresholds times patterns that are worth a test."""


@dataclass(frozen=True, eq=False)
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
    """(objects,) image of each object that counts, ascending."""
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
        return self._of(np.flatnonzero(~units))

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
        return self.without_groups(Grouping(rows, np.zeros(len(rows), np.int64), 1))[0]

    def without_groups(self, of: Grouping) -> tuple[float, Floats]:
        """The metric over the images, and with each group left out; see `SetStatistics`."""
        rows, group, n_groups = of.rows, of.group, of.n_groups
        member = np.full(self.n, -1, np.int64)
        member[rows] = group
        part = self._of(rows)
        true = part._true(member, n_groups)
        # without each group, and at the end all of them
        left = true.sum(axis=1, keepdims=True) - np.append(true, np.zeros((len(true), 1)), axis=1)
        total = np.zeros(n_groups + 1)
        of_group = member[part.image]
        for k, bit in part._looked_at(left[:, -1]):
            kept, right = part._judged(k, bit)
            total += without_groups(right, of_group[kept], left[k], recall=self.recall)
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
        per_image = self._of(rows)._true(member, len(rows)).astype(np.float64)
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

    @cached_property
    def _by_image(self) -> tuple[Ints, Ints]:
        """Places of the detections by image, and where each image's begin, (n + 1,)."""
        order = np.argsort(self.image, kind="stable")
        return order, np.searchsorted(self.image[order], np.arange(self.n + 1))

    def _of(self, rows: Ints) -> "RankedDetections":
        """What the images at `rows` show and hold; they keep their numbers."""
        order, first = self._by_image
        chosen = np.sort(order[_joined(first[rows], first[rows + 1])])
        first_true = np.searchsorted(self.true_image, rows)
        kept = _joined(first_true, np.searchsorted(self.true_image, rows, side="right"))
        return replace(
            self,
            first=np.searchsorted(chosen, self.first).astype(np.int64),
            image=self.image[chosen],
            score=self.score[chosen],
            right=self.right[chosen],
            ignored=self.ignored[chosen],
            true_image=self.true_image[kept],
            true_class=self.true_class[kept],
        )

    def _true(self, member: Ints, n_groups: int) -> Ints:
        """Objects of each class in each group, (classes, groups)."""
        n_classes = len(self.first) - 1
        place = self.true_class * n_groups + member[self.true_image]
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
        member = np.full(self.one.n, -1, np.int64)
        member[rows] = block
        parts = [each._of(rows) for each in (self.one, self.other)]
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
        true = parts[0]._true(np.zeros(self.one.n, np.int64), 1)[:, 0]
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
        side = np.ascontiguousarray(np.concatenate([swapped, none], axis=1).T).astype(np.float64)

        def one(at: tuple[int, int]) -> Floats:
            k, bit = at
            kept, right = self.both._judged(k, bit)
            where = self.block[kept], self.arm[kept]
            return swapped_blocks(right, where, int(self.true[k]), side, recall=self.both.recall)

        looked_at = list(self.both._looked_at(self.true))
        every = map_on_cores(one, looked_at) if len(self.block) > _MANY else map(one, looked_at)
        total = sum(every, np.zeros((2, len(swapped))))
        known = np.count_nonzero(self.true) * len(self.both.thresholds)
        before, after = divide(total, known, np.nan)
        return before, after


def _joined(starts: Ints, stops: Ints) -> Ints:
    """Numbers from each start to its stop, one range after the other."""
    counts = stops - starts
    within = np.arange(counts.sum(), dtype=np.int64)
    return np.asarray(within + np.repeat(starts - np.cumsum(counts) + counts, counts), np.int64)


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
