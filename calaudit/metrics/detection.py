"""How well a detector's boxes match the true ones: average precision and recall, as COCO has them.

Detections are matched with objects once per engine and range of areas, at all ten IoU thresholds
(`calaudit.metrics.matching`), and every metric reads from that. Values are pycocotools'.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.average_precision import RankedDetections, ranked
from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.detections import DetectionLists, lists_of
from calaudit.metrics.matching import AREAS, Matches, match
from calaudit.metrics.truth import ObjectTruth
from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.objects import Objects

IOUS: Final = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds of intersection over union."""
MOST: Final = 100
"""Detections per image and class that average precision looks at."""

_EACH: Final = tuple(range(len(IOUS)))
_AT_50, _AT_75 = (0,), (5,)
_AP: Final = (
    "precision at 101 recalls, made not to rise, averaged over them{ious} and the classes that "
    "have objects{areas}, as pycocotools does; of an image at most 100 detections per class"
)
_ALL_IOUS: Final = ", over IoU .5 to .95 in steps of .05,"


@metric(
    "set",
    title="AP",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=_ALL_IOUS, areas=""),
    synonyms="map, mean average precision, average precision, map50-95, ap50-95, map .5:.95, "
    "coco ap, box map",
)
def ap(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP 50–95 of all classes, or of one."""
    return _ranked(case, _EACH, class_name)


@metric(
    "set",
    title="AP50",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=" at IoU .5", areas=""),
    synonyms="map50, map .5, ap .5, pascal voc map",
)
def ap50(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP at IoU .5."""
    return _ranked(case, _AT_50, class_name)


@metric(
    "set",
    title="AP75",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=" at IoU .75", areas=""),
    synonyms="map75, map .75, ap .75",
)
def ap75(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP at IoU .75."""
    return _ranked(case, _AT_75, class_name)


@metric(
    "set",
    title="AP of small objects",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=_ALL_IOUS, areas=" of at most 32² pixels of the annotated image"),
    synonyms="aps, map small, ap small",
)
def ap_small(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP of objects up to 32² pixels."""
    return _ranked(case, _EACH, class_name, area="small")


@metric(
    "set",
    title="AP of medium objects",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=_ALL_IOUS, areas=" of 32² to 96² pixels of the annotated image"),
    synonyms="apm, map medium, ap medium",
)
def ap_medium(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP of objects of 32² to 96² pixels."""
    return _ranked(case, _EACH, class_name, area="medium")


@metric(
    "set",
    title="AP of large objects",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention=_AP.format(ious=_ALL_IOUS, areas=" of at least 96² pixels of the annotated image"),
    synonyms="apl, map large, ap large",
)
def ap_large(case: Case, class_name: str | None = None) -> RankedDetections:
    """What each image adds to AP of objects from 96² pixels on."""
    return _ranked(case, _EACH, class_name, area="large")


@metric(
    "set",
    title="AR@{k}",
    needs=ObjectTruth,
    sums=False,
    span=1.0,
    quality=True,
    convention="share of the objects that the k detections with the highest scores of each image "
    "and class find, averaged over IoU .5 to .95 and the classes that have objects, as pycocotools "
    "does",
    synonyms="average recall, mar, mean average recall, ar100, max recall",
)
def ar(case: Case, k: int, class_name: str | None = None) -> RankedDetections:
    """What each image adds to the recall that its k best detections per class reach."""
    return _ranked(case, _EACH, class_name, k=k)


def class_number(objects: Objects, name: str) -> int:
    """The class of that name. Raises `SettingsError`."""
    if name not in objects.classes:
        raise SettingsError(
            f"there is no class {name!r}", next_step=near(name, list(objects.classes))
        )
    return objects.classes.index(name)


def lists_in(case: Case) -> DetectionLists:
    """The detections of all images of a case; unanswered ones have none."""
    return case.kept("lists", lambda: lists_of(case.outputs))


def _ranked(
    case: Case,
    thresholds: tuple[int, ...],
    class_name: str | None,
    *,
    area: str = "all",
    k: int | None = None,
) -> RankedDetections:
    truth, lists = case.truth_of(ObjectTruth).objects, lists_in(case)
    most = max(k or MOST, MOST)
    found = case.kept(
        f"matches\0{area}\0{most}",
        lambda: _Bits(match(truth, lists, IOUS, area=AREAS[area], most=most)),
    )
    image, counted = truth.image, ~found.objects_ignored
    chosen: NDArray[np.bool_] = found.rank < (MOST if k is None else k)
    if class_name is not None:
        number = class_number(truth, class_name)
        chosen &= lists.label == number
        counted &= truth.label == number
    return ranked(
        n=len(truth),
        n_classes=max(len(truth.classes), int(lists.label.max(initial=0)) + 1),
        label=lists.label[chosen],
        image=lists.image[chosen],
        score=lists.score[chosen],
        right=found.right[chosen],
        ignored=found.ignored[chosen],
        true_image=image[counted],
        true_class=truth.label[counted],
        thresholds=thresholds,
        recall=k is not None,
    )


class _Bits:
    """Matches at all thresholds, a bit for each; arrays are (m,)."""

    def __init__(self, found: Matches) -> None:
        place = np.arange(len(found.matched), dtype=np.uint16)[:, None]
        self.right, self.ignored = (
            np.bitwise_or.reduce(each.astype(np.uint16) << place, axis=0)
            for each in (found.right, found.ignored)
        )
        self.objects_ignored = found.objects_ignored
        self.rank = found.rank
