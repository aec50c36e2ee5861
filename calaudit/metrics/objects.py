"""A detector as it is used: with the boxes whose score is high enough, object by object.

Average precision looks at all boxes, however low their scores. Who uses a detector chooses a score
above which a box counts (the working point); then an object is found or missed, and a box is right
or wrong. Boxes find objects as `calaudit.metrics.matching` says, among those that count.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.detection import class_number, lists_in
from calaudit.metrics.detections import DetectionLists, lists_of
from calaudit.metrics.division import divide
from calaudit.metrics.matching import iou, match
from calaudit.metrics.truth import ObjectTruth, TrueObjects
from calaudit.runtime.objects import Objects

Floats = NDArray[np.float64]

FOUND: Final = np.dtype([("found", np.bool_), ("score", np.float32), ("iou", np.float32)])
"""What became of an object: whether it was found, and the score and the intersection over union of
the box that found it; 0 where none did, NaN where its image has no answer."""
SAME: Final = 0.5
"""Least intersection over union of FP32's box and the engine's that is taken for it."""
_BOXES: Final = "boxes of a score of at least working_score"


def found_objects(truth: ObjectTruth, outputs: NDArray[Any]) -> NDArray[Any]:
    """What became of every object at the working point, (m,) of `FOUND`.

    Parameters
    ----------
    truth : ObjectTruth
        Of n images.
    outputs : ndarray of object, shape (n,)
        `calaudit.metrics.detections.Detections` of the same images; None: no answer.
    """
    objects = truth.objects
    lists = lists_of(outputs).at_least(truth.working_score)
    matches = match(objects, lists, np.array([truth.working_iou]), most=_all(lists))
    result = np.zeros(len(objects.label), FOUND)
    result["found"] = matches.found[0]
    taker = np.flatnonzero(matches.matched[0] >= 0)
    taken = matches.matched[0][taker]
    result["score"][taken] = lists.score[taker]
    result["iou"][taken] = iou(lists.boxes[taker], objects.boxes[taken])
    silent = np.array([each is None for each in outputs], bool)
    for name in ("score", "iou"):
        result[name][silent[objects.image]] = np.nan
    return result


@metric(
    "binary",
    title="Recall of objects",
    needs=TrueObjects,
    quality=True,
    convention="share of the true objects that a box of their class finds, of a score of at least "
    "working_score, with an intersection over union of at least working_iou; objects are the "
    "units, those of an image belong together, crowds are left out",
    synonyms="recall, sensitivity, true positive rate, hit rate, detection rate, found objects, "
    "recall of boxes",
)
def object_recall(case: Case) -> NDArray[np.bool_]:
    """Whether each object is found."""
    found: NDArray[np.bool_] = case.answers["found"]
    return found


def share_of(totals: Floats) -> Floats:
    """The first sum over the second; NaN where that is 0.

    Parameters
    ----------
    totals : ndarray, shape (…, 2)
    """
    return divide(totals[..., 0], totals[..., 1], np.nan)


def precision_reach(totals: Floats, units: Floats) -> Floats:
    """The most that each image can move the precision, (n,).

    For the worse, where its boxes all turn wrong and it shows as many again; for the better, where
    they all turn right.
    """
    right, boxes = totals
    own_right, own = units.T
    here = float(divide(right, boxes, 0.0))
    worse = here - divide(right - own_right, boxes + own, 0.0)
    better = divide(right + own - own_right, boxes, 1.0) - here
    return np.maximum(worse, better)


@metric(
    "set",
    title="Precision of boxes",
    needs=ObjectTruth,
    functional=share_of,
    reach=precision_reach,
    span=1.0,
    quality=True,
    convention=f"share of the {_BOXES} that find an object of their class, with an intersection "
    "over union of at least working_iou, all images together; what finds crowds counts neither way",
    synonyms="precision, positive predictive value, box precision, false discovery rate",
)
def object_precision(case: Case, class_name: str | None = None) -> sparse.csr_array:
    """Right boxes, and all that count, of each image (n, 2)."""
    truth = case.truth_of(ObjectTruth)
    lists = _working(case, class_name)
    thresholds = np.array([truth.working_iou])
    matches = match(truth.objects, lists, thresholds, most=_all(lists))
    return _sums(lists, matches.right[0].astype(np.float64), (~matches.ignored[0]).astype(float))


def kept_reach(totals: Floats, units: Floats) -> Floats:
    """The most that each image can move the share of boxes that are kept: all of its own, (n,)."""
    return np.minimum(divide(units[:, 1], totals[1], 1.0), 1.0)


@metric(
    "set",
    title="FP32's boxes found again",
    needs=ObjectTruth,
    functional=share_of,
    reach=kept_reach,
    span=1.0,
    agreement=True,
    convention=f"share of FP32's {_BOXES} for which the engine has such a box of the same class, "
    f"with an intersection over union of at least {SAME}, all images together",
    synonyms="box agreement, boxes kept, matched boxes, detection agreement",
)
def boxes_kept(case: Case, class_name: str | None = None) -> sparse.csr_array:
    """FP32's boxes that the engine finds again, and all of FP32's, of each image (n, 2)."""
    truth = case.truth_of(ObjectTruth)
    fp32, lists = _reference(case, class_name), _working(case, class_name)
    matches = match(_as_objects(truth, fp32), lists, np.array([SAME]), most=_all(lists))
    return _sums(fp32, matches.found[0].astype(np.float64), np.ones(len(fp32.score)))


@metric(
    "set",
    title="IoU with FP32's boxes",
    needs=ObjectTruth,
    functional=share_of,
    reach=kept_reach,
    span=1.0,
    agreement=True,
    convention=f"mean intersection over union of FP32's {_BOXES} with the engine's boxes that are "
    f"taken for them, whatever their scores, those of at least {SAME} alone",
    synonyms="box iou, mean iou with fp32, localisation agreement",
)
def boxes_iou(case: Case, class_name: str | None = None) -> sparse.csr_array:
    """Intersections over union with FP32's boxes, and how many there are, of each image (n, 2)."""
    fp32, lists, taken, taker = _paired(case, class_name)
    overlap = np.zeros(len(fp32.score))
    overlap[taken] = iou(fp32.boxes[taken], lists.boxes[taker])
    return _sums(fp32, overlap, _marked(fp32, taken))


@metric(
    "set",
    title="Change of FP32's scores",
    needs=ObjectTruth,
    functional=share_of,
    reach=kept_reach,
    span=1.0,
    unit="index",
    agreement=True,
    convention=f"mean of the engine's score less FP32's, over FP32's {_BOXES} and the engine's "
    "boxes that are taken for them, whatever their scores, with an intersection over union of at "
    f"least {SAME}; below 0 the engine is less sure",
    synonyms="score shift, confidence shift, score agreement",
)
def score_shift(case: Case, class_name: str | None = None) -> sparse.csr_array:
    """Changes of score of FP32's boxes, and how many there are, of each image (n, 2)."""
    fp32, lists, taken, taker = _paired(case, class_name)
    shift = np.zeros(len(fp32.score))
    shift[taken] = lists.score[taker].astype(np.float64) - fp32.score[taken]
    return _sums(fp32, shift, _marked(fp32, taken))


def _all(lists: DetectionLists) -> int:
    return max(1, len(lists.score))


def _marked(lists: DetectionLists, places: NDArray[np.int64]) -> Floats:
    marks = np.zeros(len(lists.score))
    marks[places] = 1.0
    return marks


def _sums(lists: DetectionLists, one: Floats, other: Floats) -> sparse.csr_array:
    """Sums of what boxes have, by image (n, 2)."""
    sums = [np.bincount(lists.image, weights=each, minlength=len(lists)) for each in (one, other)]
    return sparse.csr_array(np.stack(sums, axis=1))


def _of_class(case: Case, lists: DetectionLists, class_name: str | None) -> DetectionLists:
    if class_name is None:
        return lists
    number = class_number(case.truth_of(ObjectTruth).objects, class_name)
    return lists.take(lists.label == number)


def _working(case: Case, class_name: str | None) -> DetectionLists:
    """The engine's boxes at the working point."""
    score = case.truth_of(ObjectTruth).working_score
    return _of_class(case, lists_in(case).at_least(score), class_name)


def _reference(case: Case, class_name: str | None) -> DetectionLists:
    """FP32's boxes at the working point."""
    score = case.truth_of(ObjectTruth).working_score
    return _of_class(case, lists_of(case.reference()).at_least(score), class_name)


def _paired(
    case: Case, class_name: str | None
) -> tuple[DetectionLists, DetectionLists, NDArray[np.int64], NDArray[np.int64]]:
    """FP32's boxes at the working point, all of the engine's, and pairs of places in both."""
    fp32, lists = _reference(case, class_name), _of_class(case, lists_in(case), class_name)
    objects = _as_objects(case.truth_of(ObjectTruth), fp32)
    matches = match(objects, lists, np.array([SAME]), most=_all(lists))
    taker = np.flatnonzero(matches.matched[0] >= 0)
    return fp32, lists, matches.matched[0][taker].astype(np.int64), taker


def _as_objects(truth: ObjectTruth, lists: DetectionLists) -> Objects:
    """Boxes as what is to be found."""
    m = len(lists.score)
    return Objects(
        offsets=lists.offsets,
        boxes=lists.boxes,
        label=lists.label,
        crowd=np.zeros(m, bool),
        area=np.ones(m),
        unit_area=truth.objects.unit_area,
        classes=truth.objects.classes,
    )
