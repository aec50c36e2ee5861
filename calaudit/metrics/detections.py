"""What a detector found: boxes with classes and scores, image by image or all in one array."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.objects import offsets_of


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """What a detector found in one image."""

    boxes: NDArray[np.float32]
    """(m, 4) x1, y1, x2, y2 in pixels of the model's input."""
    score: NDArray[np.float32]
    """(m,)"""
    label: NDArray[np.int32]
    """(m,) class numbers."""

    def __len__(self) -> int:
        return len(self.score)

    def __eq__(self, other: object) -> bool:
        """Whether the same was found, to the bit and in the same order."""
        return isinstance(other, Detections) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("boxes", "score", "label")
        )

    def __hash__(self) -> int:
        return hash((self.boxes.tobytes(), self.score.tobytes(), self.label.tobytes()))

    def take(self, chosen: NDArray[Any]) -> "Detections":
        """Those at positions `chosen`, or marked by it."""
        return Detections(self.boxes[chosen], self.score[chosen], self.label[chosen])


@dataclass(frozen=True, eq=False, slots=True)
class DetectionLists:
    """What a detector found in n images, m in all, one image's after the other's."""

    offsets: NDArray[np.int64]
    """(n + 1,)"""
    boxes: NDArray[np.float64]
    """(m, 4) x1, y1, x2, y2 in pixels of the model's input."""
    score: NDArray[np.float32]
    """(m,)"""
    label: NDArray[np.int64]
    """(m,)"""

    def __len__(self) -> int:
        """Number of images n."""
        return len(self.offsets) - 1

    @property
    def image(self) -> NDArray[np.int64]:
        """(m,) the image, from 0, in which each was found."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def at_least(self, score: float) -> "DetectionLists":
        """Those with at least that score."""
        return self.take(self.score >= score)

    def take(self, kept: NDArray[np.bool_]) -> "DetectionLists":
        """Those that are marked, (m,)."""
        counts = np.bincount(self.image[kept], minlength=len(self))
        return DetectionLists(
            offsets_of(counts), self.boxes[kept], self.score[kept], self.label[kept]
        )


def lists_of(outputs: Sequence[Detections | None] | NDArray[Any]) -> DetectionLists:
    """The detections of several images; None, an image without an answer, has none."""
    found = [each for each in outputs if each is not None]
    counts = np.array([0 if each is None else len(each) for each in outputs], dtype=np.int64)
    none = np.empty((0, 4), np.float64)
    return DetectionLists(
        offsets_of(counts),
        np.concatenate([none, *(each.boxes for each in found)]).astype(np.float64),
        np.concatenate([np.empty(0, np.float32), *(each.score for each in found)]),
        np.concatenate([np.empty(0, np.int64), *(each.label for each in found)]),
    )


def detections_of(
    boxes: NDArray[Any], score: NDArray[Any], label: NDArray[Any], offsets: NDArray[np.int64]
) -> NDArray[Any]:
    """(n,) objects of `Detections`, from the arrays of all images.

    Parameters
    ----------
    boxes, score, label : ndarray, shape (m, 4), (m,), (m,)
    offsets : ndarray, shape (n + 1,)
        Image i has those from offsets[i] to offsets[i + 1].
    """
    found = np.empty(len(offsets) - 1, dtype=object)
    for image, (first, last) in enumerate(pairwise(offsets.tolist())):
        part = slice(first, last)
        found[image] = Detections(boxes[part], score[part], label[part])
    return found
