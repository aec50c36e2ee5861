"""What average precision costs: one engine against FP32, by the size of the evaluation set.

CPU seconds of matching all detections with their objects (once per engine), of AP without each of
50 groups (per engine and slice), and of the swap test whose every pattern is tried (per cell and
slice). Boxes are random; 5,000 images of 80 classes with 100 detections each are as many as in
COCO's val2017.

    python benchmarks/average_precision.py [--images 5000] [--classes 80]
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, by_turns
from worlds.detections import AP, Photographs

from calaudit.metrics.average_precision import RankedDetections
from calaudit.metrics.case import Case
from calaudit.metrics.detection import IOUS, ap
from calaudit.metrics.detections import DetectionLists, detections_of
from calaudit.metrics.matching import match
from calaudit.metrics.set_statistics import Grouping
from calaudit.metrics.swapping import PairSwaps
from calaudit.metrics.truth import ObjectTruth
from calaudit.metrics.unit_scores import Scores, SetScores
from calaudit.runtime.objects import Objects, offsets_of
from calaudit.statistics.clusters import GROUPS
from calaudit.statistics.permutation import MOST_BLOCKS, swap_tests

PER_IMAGE, OBJECTS = 100, 7.3
"""Detections, and objects, of an image; the latter as in COCO's val2017."""


def seconds(work: Callable[[], Any]) -> float:
    """CPU time of the second call: the first one compiles."""
    work()
    start = time.process_time()
    work()
    return time.process_time() - start


def random_scene(images: int, classes: int) -> tuple[Objects, DetectionLists]:
    """Objects, and detections of which many lie on one."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(OBJECTS, images)
    corner = rng.uniform(0, 560, (counts.sum(), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 200, corner.shape)], axis=1)
    label = rng.integers(0, classes, len(boxes))
    ends = np.cumsum(counts)[:-1]
    truth = Objects.from_images(
        np.split(boxes, ends), np.split(label, ends), classes=[str(k) for k in range(classes)]
    )
    chosen = rng.integers(0, np.maximum(counts, 1)[:, None], (images, PER_IMAGE))
    chosen = np.minimum(chosen + truth.offsets[:-1, None], len(boxes) - 1).ravel()
    shifted = boxes[chosen] + rng.normal(0, 8, (len(chosen), 4))
    other = rng.random(len(chosen)) < 0.5
    of = np.where(other, rng.integers(0, classes, len(chosen)), label[chosen])
    score = rng.random(len(chosen)).astype(np.float32)
    return truth, DetectionLists(offsets_of(np.full(images, PER_IMAGE)), shifted, score, of)


def pycocotools_on(truth: Objects, shown: DetectionLists) -> Callable[[], float]:
    """COCOeval of the same boxes, in one range of areas as ours, once they are loaded; its AP."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def boxes_of(each: Objects | DetectionLists) -> Iterator[dict[str, Any]]:
        sides = np.concatenate([each.boxes[:, :2], each.boxes[:, 2:] - each.boxes[:, :2]], axis=1)
        for image, label, box in zip(each.image, each.label, sides.tolist(), strict=True):
            yield {"image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box}

    known = COCO()
    known.dataset = {
        "images": [{"id": image + 1} for image in range(len(truth))],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(truth.classes)],
        "annotations": [
            {"id": at + 1, "area": each["bbox"][2] * each["bbox"][3], "iscrowd": 0, **each}
            for at, each in enumerate(boxes_of(truth))
        ],
    }
    results = [
        {**each, "score": float(score)}
        for each, score in zip(boxes_of(shown), shown.score, strict=True)
    ]
    known.createIndex()
    loaded = known.loadRes(results)

    def judged() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            judge = COCOeval(known, loaded, "bbox")
            judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
            judge.params.maxDets = [PER_IMAGE]
            judge.evaluate()
            judge.accumulate()
        precision = judge.eval["precision"]
        return float(precision[precision > -1].mean())

    return judged


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """AP of 300 images beside COCOeval, on one core each, and without each of 50 groups."""
    n = 300
    truth, shown = random_scene(n, 80)
    outputs = detections_of(shown.boxes, shown.score, shown.label, shown.offsets)
    rows, group = np.arange(n), np.arange(n) % GROUPS
    judged = pycocotools_on(truth, shown)

    def scored() -> RankedDetections:
        return ap(Case(outputs, ObjectTruth(truth), None))

    theirs, ours = judged(), scored().value(rows)
    if abs(theirs - ours) > 1e-9:
        raise ValueError(f"AP {ours} of calaudit, {theirs} of pycocotools")
    found, peer = by_turns(lambda: scored().value(rows), judged, repeats)
    yield Figure(f"AP of {n:,} images, 80 classes", found, "pycocotools", peer, goal=1.0)
    found, peer = by_turns(
        lambda: scored().without_groups(Grouping(rows, group, GROUPS)), judged, repeats
    )
    yield Figure(f"and without each of {GROUPS} groups", found, "pycocotools, once", peer)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    asked = parser.parse_args()
    n, classes = asked.images, asked.classes
    truth, shown = random_scene(n, classes)
    print(f"{n:,} images, {classes} classes: CPU seconds")
    print(f"match {len(shown.score):,} detections with {len(truth.label):,} objects at 10 IoUs: "
          f"{seconds(lambda: match(truth, shown, IOUS)):.2f}")  # fmt: skip
    per_class = (OBJECTS / classes,) * classes
    scenes = Photographs(per_class, false=(PER_IMAGE - OBJECTS) / classes)
    sample = scenes(np.random.default_rng(1), 1, n, True)
    fp32, int8 = (_matched(each) for each in (sample.reference, sample.candidate))
    rows, group = np.arange(n), np.arange(n) % GROUPS
    print(f"AP of {len(fp32.image):,} detections, and without each of {GROUPS} groups: "
          f"{seconds(lambda: fp32.without_groups(Grouping(rows, group, GROUPS))):.2f}")  # fmt: skip
    pair, blocks = fp32.beside(int8), min(n, MOST_BLOCKS)
    swaps = pair.swaps(rows, rows % blocks, blocks)
    one, none = np.ones(1), np.zeros(1, dtype=bool)
    took = seconds(
        lambda: swap_tests(AP, PairSwaps(swaps), np.array([blocks]), key="", beyond=one, few=none)
    )
    print(f"the swap test, {max(99, min(999, swaps.affordable))} patterns: {took:.2f}")


def _matched(scores: Scores) -> RankedDetections:
    assert isinstance(scores, SetScores)
    assert isinstance(scores.statistics, RankedDetections)
    return scores.statistics


if __name__ == "__main__":
    main()
