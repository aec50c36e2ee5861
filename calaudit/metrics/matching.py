"""Which detection found which object, as pycocotools matches them.

Image by image and class by class, detections take objects in the order of their scores: each the
one that it overlaps most, of those that are left, if their intersection over union (IoU) reaches
the threshold. Crowds can be taken any number of times; their IoU is over the detection's area.
Objects that don't count (crowds, and those outside the range of areas that is looked at) are taken
only where no other is; what takes them counts neither as right nor as wrong. Nor does a detection
outside the range that takes nothing.

T.-Y. Lin et al. (2014), Microsoft COCO: Common Objects in Context; the rules are those of
pycocotools/cocoeval.py in github.com/cocodataset/cocoapi.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.detections import DetectionLists
from calaudit.metrics.division import divide
from calaudit.runtime.compiled import compiled
from calaudit.runtime.objects import Objects

Ints = NDArray[np.int64]

AREAS: Final = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's ranges of areas, in pixels² of the image as annotated; both ends belong to them."""

_ALMOST_1 = 1 - 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """Which detection found which object, at several IoU thresholds."""

    matched: NDArray[np.int32]
    """(thresholds, detections) the object that each took; -1: none."""
    ignored: NDArray[np.bool_]
    """(thresholds, detections) those that count neither as right nor as wrong."""
    found: NDArray[np.bool_]
    """(thresholds, objects) those that a detection took."""
    objects_ignored: NDArray[np.bool_]
    """(objects,) those that don't count."""
    rank: Ints
    """(detections,) place of each among its image's of its class, by score, from 0."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(thresholds, detections) those that found an object that counts."""
        return (self.matched >= 0) & ~self.ignored


def match(
    truth: Objects,
    detections: DetectionLists,
    thresholds: NDArray[np.float64],
    *,
    area: tuple[float, float] = AREAS["all"],
    most: int = 100,
) -> Matches:
    """Match the detections of n images with their objects.

    Parameters
    ----------
    truth : Objects
        Of n images.
    detections : DetectionLists
        Of the same images.
    thresholds : ndarray, shape (t,)
        Least IoU.
    area : two floats
        Smallest and largest area of the objects that count, as annotated.
    most : int
        Detections of an image and class that are looked at, the ones with the highest scores.
    """
    image, n_classes = detections.image, _n_classes(truth, detections)
    # Stable: of equal scores the earlier comes first.
    order = np.lexsort((-detections.score, detections.label, image))
    pair = (image * n_classes + detections.label)[order]
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    rank = np.empty(len(order), np.int64)
    within = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    rank[order] = within
    order, pair = order[within < most], pair[within < most]

    low, high = area
    aside = truth.crowd | (truth.area < low) | (truth.area > high)
    of_object = truth.image * n_classes + truth.label
    order_true = np.lexsort((aside, of_object))
    matched, taken = _matched(
        (detections.boxes[order], pair),
        (truth.boxes[order_true], of_object[order_true]),
        (truth.crowd[order_true], aside[order_true]),
        np.minimum(thresholds, _ALMOST_1),
    )

    width, height = (detections.boxes[:, 2:] - detections.boxes[:, :2]).T
    own = width * height * truth.unit_area[image]
    outside = (own < low) | (own > high)
    which = np.full((len(thresholds), len(rank)), -1, np.int32)
    which[:, order] = np.append(order_true, -1)[matched]  # -1 stays -1
    ignored = np.where(which >= 0, np.append(aside, False)[which], outside)
    ignored[:, rank >= most] = True
    found = np.zeros((len(thresholds), len(truth.label)), np.bool_)
    found[:, order_true] = taken
    return Matches(which, ignored, found, aside, rank)


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes, pair by pair.

    Parameters
    ----------
    one, other : ndarray, shape (…, 4)
        x1, y1, x2, y2; shapes broadcast.
    """
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    inside = np.maximum(sides, 0.0).prod(axis=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (one, other)]
    union = areas[0] + areas[1] - inside
    return divide(inside, union, 0.0)


def _n_classes(truth: Objects, detections: DetectionLists) -> int:
    return int(max(truth.label.max(initial=0), detections.label.max(initial=0))) + 1


def _matched(
    detections: tuple[NDArray[np.float64], Ints],
    objects: tuple[NDArray[np.float64], Ints],
    marks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Places of the objects that detections take (t, m), and which are taken (t, objects).

    Both are sorted by image and class: `detections` and `objects` are boxes and the number of that
    pair. `marks` are crowds, and objects that don't count, which come last within a pair.
    """
    boxes, pair = detections
    boxes_true, of_object = objects
    start, stop = (np.searchsorted(of_object, pair, side=side) for side in ("left", "right"))
    matched = np.full((len(thresholds), len(boxes)), -1, np.int32)
    taken = np.zeros((len(thresholds), len(boxes_true)), np.bool_)
    room = np.empty(int((stop - start).max(initial=0)), np.float64)
    _take((boxes, start, stop), (boxes_true, *marks), thresholds, (matched, taken, room))
    return matched, taken


@compiled
def _take(detections: Any, objects: Any, thresholds: NDArray[np.float64], into: Any) -> None:
    """Let each detection take an object from start to stop; see `_matched`."""
    boxes, start, stop = detections
    boxes_true, crowd, aside = objects
    matched, taken, overlap = into
    for d in range(len(boxes)):
        x, y, right, low = boxes[d]
        area = (right - x) * (low - y)
        for g in range(start[d], stop[d]):
            left, top, far, deep = boxes_true[g]
            width = max(min(right, far) - max(x, left), 0.0)
            height = max(min(low, deep) - max(y, top), 0.0)
            inside = width * height
            union = area if crowd[g] else area + (far - left) * (deep - top) - inside
            overlap[g - start[d]] = inside / union if inside > 0 else 0.0
        for t in range(len(thresholds)):
            least, best = thresholds[t], -1
            for g in range(start[d], stop[d]):
                if taken[t, g] and not crowd[g]:
                    continue
                if best >= 0 and not aside[best] and aside[g]:
                    break
                if overlap[g - start[d]] >= least:
                    least, best = overlap[g - start[d]], g
            if best >= 0:
                matched[t, d] = best
                taken[t, best] = True
