"""Boxes as pictures show them: true, FP32's and the engine's, at the working point."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.detections import DetectionLists, lists_of
from calaudit.metrics.division import divide
from calaudit.metrics.matching import Matches, match
from calaudit.metrics.truth import ObjectTruth
from calaudit.results.pictures import Mark
from calaudit.tasks.depiction import Losses, Shown, Sides, class_name

Answers = NDArray[np.object_]
"""(k,) `calaudit.metrics.detections.Detections` of each image; None: no answer."""


def losses_of_boxes(truth: ObjectTruth, fp32: Answers, engine: Answers) -> Losses:
    """What each image lost of the F1 score of its boxes at the working point.

    F1 is 2 · right / (boxes + objects); crowds, and boxes that find them, count for nothing. An
    image without boxes and objects has none; one without an answer has 0.

    Parameters
    ----------
    truth : ObjectTruth
        Of k images.
    fp32, engine : ndarray of object (k,)
    """
    before, after = (_f1(truth, answers) for answers in (fp32, engine))
    # no box where nothing is true is as good as it gets
    before, after = (
        np.where(np.isnan(one) & ~np.isnan(other), 1.0, one)
        for one, other in ((before, after), (after, before))
    )
    return Losses("the F1 score of its boxes", before, before - after)


def sides_of_boxes(truth: ObjectTruth, fp32: Answers, engine: Answers) -> list[Sides]:
    """Boxes of each image at the working point, each with whether it has its counterpart.

    Parameters
    ----------
    truth : ObjectTruth
        Of k images.
    fp32, engine : ndarray of object (k,)
    """
    theirs, matched = _matched(truth, engine)
    shown = (
        _true(truth, matched),
        *(_predicted(truth, *each) for each in (_matched(truth, fp32), (theirs, matched))),
    )
    return [Sides(*each) for each in zip(*shown, strict=True)]


def _matched(truth: ObjectTruth, answers: Answers) -> tuple[DetectionLists, Matches]:
    lists = lists_of(answers).at_least(truth.working_score)
    most = max(1, len(lists.score))
    return lists, match(truth.objects, lists, np.array([truth.working_iou]), most=most)


def _f1(truth: ObjectTruth, answers: Answers) -> NDArray[np.float64]:
    lists, found = _matched(truth, answers)
    objects, n = truth.objects, len(truth)
    right, counted = (
        np.bincount(lists.image[chosen], minlength=n)
        for chosen in (found.right[0], ~found.ignored[0])
    )
    true = np.bincount(objects.image[~found.objects_ignored], minlength=n)
    return divide(2.0 * right, (counted + true).astype(np.float64), np.nan)


def _true(truth: ObjectTruth, found: Matches) -> list[Shown]:
    objects = truth.objects
    marks = [
        Mark(class_name(objects.classes, label), x1, y1, x2, y2, None, None if aside else bool(hit))
        for label, (x1, y1, x2, y2), hit, aside in zip(
            objects.label.tolist(),
            objects.boxes.astype(float).tolist(),
            found.found[0],
            found.objects_ignored,
            strict=True,
        )
    ]
    return _by_image(marks, objects.offsets)


def _predicted(truth: ObjectTruth, lists: DetectionLists, found: Matches) -> list[Shown]:
    classes = truth.objects.classes
    marks = [
        Mark(class_name(classes, label), x1, y1, x2, y2, score, None if aside else bool(right))
        for label, (x1, y1, x2, y2), score, right, aside in zip(
            lists.label.tolist(),
            lists.boxes.tolist(),
            lists.score.astype(float).tolist(),
            found.right[0],
            found.ignored[0],
            strict=True,
        )
    ]
    return _by_image(marks, lists.offsets)


def _by_image(marks: list[Mark], offsets: NDArray[np.int64]) -> list[Shown]:
    ends = pairwise(offsets.tolist())
    return [Shown(boxes=tuple(marks[first:last])) for first, last in ends]
