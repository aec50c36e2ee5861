"""Suppression of boxes that a better one of their class overlaps, and the best of what is left."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.compiled import compiled
from calaudit.tasks.detection.decoders import Candidates


def best_of(
    found: Candidates, most: int, *, iou: float | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Candidates that are left, image by image by falling score, and how many each image has.

    Parameters
    ----------
    found : Candidates
        Of b images.
    most : int
        Detections per image.
    iou : float, optional
        Boxes whose intersection over union with a better one of their class is above it are
        suppressed; None: none is.

    Returns
    -------
    two ndarrays
        Places among the candidates (k,), and counts (b,).
    """
    order = np.lexsort((-found.score, found.image))
    image = found.image[order]
    first = np.searchsorted(image, np.arange(len(found.answered) + 1))
    kept = np.zeros(len(order), np.bool_)
    boxes = found.boxes[order].astype(np.float64)
    least = 2.0 if iou is None else iou
    _keep((boxes, found.label[order]), first, least, kept, np.empty(most, np.int64))
    chosen = order[kept]
    counts = np.bincount(found.image[chosen], minlength=len(found.answered))
    return chosen, counts.astype(np.int64)


@compiled
def _keep(
    ordered: Any,
    first: NDArray[np.int64],
    iou: float,
    kept: NDArray[np.bool_],
    places: NDArray[np.int64],
) -> None:
    """Mark, image by image, the boxes that no better one that was kept overlaps by more than `iou`.

    Parameters
    ----------
    ordered : boxes (m, 4) and classes (m,), by image and by falling score
    first : ndarray, shape (images + 1,)
    iou : float
    kept : ndarray, shape (m,)
        Marks to set.
    places : ndarray, shape (most,)
        Room for those that are kept of an image.
    """
    boxes, label = ordered
    for image in range(len(first) - 1):
        n = 0
        for at in range(first[image], first[image + 1]):
            if n == len(places):
                break
            x1, y1, x2, y2 = boxes[at]
            area = (x2 - x1) * (y2 - y1)
            free = True
            for other in places[:n]:
                if label[other] != label[at]:
                    continue
                left, top, right, low = boxes[other]
                width = max(min(x2, right) - max(x1, left), 0.0)
                height = max(min(y2, low) - max(y1, top), 0.0)
                union = area + (right - left) * (low - top) - width * height
                if width * height > iou * union:
                    free = False
                    break
            if free:
                kept[at] = True
                places[n] = at
                n += 1
