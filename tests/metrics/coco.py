"""Random scenes of boxes, and what pycocotools says of them."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from calaudit.metrics.detections import Detections
from calaudit.metrics.truth import ObjectTruth
from calaudit.runtime.objects import Objects

CLASSES = ("red", "white", "platelet")
SUMMARY = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar@1", "ar@10", "ar@100")


def scenes(seed, images=30, *, classes=CLASSES, objects=6, crowds=0.1, ties=False, scale=1.0):
    """The truth of some images, a detector's answers, and a second, worse one's.

    Boxes of a detector are true ones, shifted, with classes mixed up now and then, and others.
    """
    rng = np.random.default_rng(seed)
    boxes, labels, crowd, one, other = [], [], [], [], []
    for _ in range(images):
        n = rng.poisson(objects)
        corner = rng.uniform(0, 200, (n, 2))
        size = np.exp(rng.uniform(np.log(4), np.log(160), (n, 2)))
        boxes.append(np.concatenate([corner, corner + size], axis=1))
        labels.append(rng.integers(0, len(classes), n))
        crowd.append(rng.random(n) < crowds)
        one.append(found(rng, boxes[-1], labels[-1], len(classes), noise=0.06, ties=ties))
        other.append(found(rng, boxes[-1], labels[-1], len(classes), noise=0.15, ties=ties))
    truth = Objects.from_images(
        boxes, labels, classes=classes, crowd=crowd, unit_area=np.full(images, scale)
    )
    return ObjectTruth(truth), as_outputs(one), as_outputs(other)


def found(rng, boxes, labels, n_classes, *, noise, ties=False, others=3.0):
    """What a detector may find where these boxes are."""
    twice = rng.random(len(boxes)) < 0.2
    kept = np.concatenate([np.flatnonzero(rng.random(len(boxes)) < 0.9), np.flatnonzero(twice)])
    size = (boxes[:, 2:] - boxes[:, :2])[kept]
    shifted = boxes[kept] + rng.normal(0, noise, (len(kept), 4)) * np.tile(size, 2)
    corner = rng.uniform(0, 200, (rng.poisson(others), 2))
    wrong = np.concatenate([corner, corner + rng.uniform(4, 120, corner.shape)], axis=1)
    every = np.concatenate([shifted, wrong])
    every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
    label = np.concatenate([labels[kept], rng.integers(0, n_classes, len(wrong))])
    mixed = rng.random(len(label)) < 0.1
    label[mixed] = rng.integers(0, n_classes, int(mixed.sum()))
    score = rng.beta(3, 2, len(label))
    score[len(kept) :] *= 0.7
    if ties:
        score = np.round(score, 1)
    return Detections(every.astype(np.float32), score.astype(np.float32), label.astype(np.int32))


def as_outputs(found):
    outputs = np.empty(len(found), dtype=object)
    outputs[:] = found
    return outputs


def evaluated(truth, outputs):
    """`COCOeval` after `accumulate`, on images as annotated: boxes as x, y, width, height."""
    objects = truth.objects
    scale = np.sqrt(objects.unit_area)  # of the sides
    own = (objects.boxes * scale[objects.image][:, None]).tolist()
    gold = {
        "images": [{"id": image + 1} for image in range(len(objects))],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(objects.classes)],
        "annotations": [
            {
                "id": at + 1,
                "image_id": int(objects.image[at]) + 1,
                "category_id": int(objects.label[at]) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(objects.area[at]),
                "iscrowd": int(objects.crowd[at]),
            }
            for at, (x1, y1, x2, y2) in enumerate(own)
        ],
    }
    results = [
        {
            "image_id": image + 1,
            "category_id": int(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(score),
        }
        for image, each in enumerate(outputs)
        for (x1, y1, x2, y2), score, label in zip(
            (each.boxes.astype(np.float64) * scale[image]).tolist(), each.score, each.label,
            strict=True,
        )
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = gold
        known.createIndex()
        # without a result pycocotools has nothing to load
        shown = known.loadRes(results) if results else COCO()
        if not results:
            shown.dataset = {**gold, "annotations": []}
            shown.createIndex()
        judged = COCOeval(known, shown, "bbox")
        judged.evaluate()
        judged.accumulate()
    return judged


def of_images(judged, images):
    """What `evaluated` gives of some of the images alone, by their numbers."""
    n, kept = len(judged.params.imgIds), np.sort(images)
    part = copy.copy(judged)
    part.params = copy.deepcopy(judged.params)
    part.params.imgIds = [int(image) + 1 for image in kept]
    part._paramsEval = copy.deepcopy(part.params)
    # one after another for each class and range of areas
    starts = range(0, len(judged.evalImgs), n)
    part.evalImgs = [judged.evalImgs[start + image] for start in starts for image in kept]
    with contextlib.redirect_stdout(io.StringIO()):
        part.accumulate()
    return part


def summary(judged):
    """The numbers of `SUMMARY` as pycocotools' `summarize` prints them; NaN for its −1."""
    precision, recall = judged.eval["precision"], judged.eval["recall"]
    numbers = [
        precision[:, :, :, 0, 2], precision[0, :, :, 0, 2], precision[5, :, :, 0, 2],
        *(precision[:, :, :, area, 2] for area in (1, 2, 3)),
        *(recall[:, :, 0, most] for most in (0, 1, 2)),
    ]  # fmt: skip
    means = [each[each > -1].mean() if (each > -1).any() else np.nan for each in numbers]
    return dict(zip(SUMMARY, map(float, means), strict=True))


def of_class(judged, number):
    """AP 50–95 of one class."""
    precision = judged.eval["precision"][:, :, number, 0, 2]
    return float(precision.mean()) if (precision > -1).all() else np.nan
