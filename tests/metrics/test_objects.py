"""A detector at its working point, against pycocotools' matches and by hand."""

from dataclasses import replace

import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.detections import Detections
from calaudit.metrics.objects import found_objects
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import ObjectTruth, TrueObjects
from calaudit.runtime.objects import Objects
from tests.metrics.coco import as_outputs, evaluated, scenes

FAR = [500.0, 500.0, 510.0, 510.0]


def at_working_score(truth, outputs):
    return as_outputs([each.take(each.score >= truth.working_score) for each in outputs])


def detections(*found):
    """Of (box, score, class)."""
    boxes, scores, labels = zip(*found, strict=True) if found else ([], [], [])
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int32),
    )


def value(name, outputs, truth, reference=None):
    return score(parse_metric(name), outputs, truth, reference).value()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("least", "place"), [(0.5, 0), (0.75, 5)])
def test_what_is_found_and_what_is_right_is_what_pycocotools_matches(seed, ties, least, place):
    truth, outputs, _ = scenes(seed, ties=ties)
    truth = replace(truth, working_score=0.35, working_iou=least)
    kept = at_working_score(truth, outputs)
    judged = evaluated(truth, kept)
    of_all = [e for e in judged.evalImgs if e is not None and e["aRng"] == [0, 1e10]]
    found, right, boxes = set(), 0, 0
    for each in of_all:
        aside = each["dtIgnore"][place].astype(bool)
        right += np.count_nonzero((each["dtMatches"][place] > 0) & ~aside)
        boxes += np.count_nonzero(~aside)
        taken = np.asarray(each["gtMatches"][place]) > 0
        found |= {int(name) - 1 for name, hit in zip(each["gtIds"], taken, strict=True) if hit}
    result = found_objects(truth, outputs)
    units = np.flatnonzero(~truth.objects.crowd)
    assert set(np.flatnonzero(result["found"]).tolist()) & set(units.tolist()) == found & set(
        units.tolist()
    )
    recall = value("object_recall", result[units], TrueObjects(truth.objects.label[units]))
    assert recall == pytest.approx(len(found & set(units.tolist())) / len(units))
    assert value("object_precision", outputs, truth) == pytest.approx(right / boxes)


def test_an_object_tells_score_and_overlap_of_the_box_that_found_it():
    objects = Objects.from_images(
        [[[0, 0, 10, 10], [20, 20, 30, 30]], [[0, 0, 10, 10]], [[0, 0, 4, 4]]],
        [[0, 1], [0], [0]],
        classes=["a", "b"],
    )
    outputs = as_outputs(
        [
            detections(([0, 0, 10, 8], 0.9, 0), ([20, 20, 30, 30], 0.2, 1)),
            detections(([0, 0, 10, 10], 0.9, 1)),
            None,
        ]
    )
    found = found_objects(ObjectTruth(objects), outputs)
    assert found["found"].tolist() == [True, False, False, False]
    assert found["score"][:3].tolist() == pytest.approx([0.9, 0, 0])
    assert found["iou"][:3].tolist() == pytest.approx([0.8, 0, 0])
    assert np.isnan(found["score"][3])
    assert np.isnan(found["iou"][3])
    low = found_objects(ObjectTruth(objects, working_score=0.1), outputs)
    assert low["found"].tolist() == [True, True, False, False]
    strict = found_objects(ObjectTruth(objects, working_iou=0.81), outputs)
    assert not strict["found"].any()
    scores = score(parse_metric("object_recall"), found, TrueObjects(objects.label), found)
    assert scores.present.tolist() == [True, True, True, False]
    assert scores.value() == pytest.approx(1 / 3)


def test_precision_is_over_all_boxes_and_of_one_class_where_it_is_asked_for():
    objects = Objects.from_images(
        [[[0, 0, 10, 10], [20, 20, 60, 60]], []],
        [[0, 1], []],
        crowd=[[False, True], []],
        classes=["a", "b"],
    )
    outputs = as_outputs(
        [
            # the second finds the crowd, which counts neither way
            detections(([0, 0, 10, 10], 0.9, 0), ([20, 20, 40, 40], 0.9, 1), (FAR, 0.1, 0)),
            detections((FAR, 0.9, 0), (FAR, 0.8, 1)),
        ]
    )
    truth = ObjectTruth(objects)
    assert value("object_precision", outputs, truth) == pytest.approx(1 / 3)
    assert value("object_precision[a]", outputs, truth) == pytest.approx(1 / 2)
    assert value("object_precision[b]", outputs, truth) == 0


def test_agreement_looks_at_fp32s_boxes_whatever_is_true():
    none = Objects.from_images([[], []], [[], []], classes=["a", "b"])
    truth = ObjectTruth(none)
    fp32 = as_outputs(
        [
            detections(([0, 0, 10, 10], 0.9, 0), ([20, 20, 30, 30], 0.5, 1), (FAR, 0.1, 0)),
            detections(([0, 0, 10, 10], 0.3, 0)),
        ]
    )
    engine = as_outputs(
        [
            # one with less overlap, one below the working score, one that FP32 doesn't have
            detections(([0, 0, 10, 8], 0.8, 0), ([20, 20, 30, 30], 0.2, 1), (FAR, 0.9, 1)),
            detections(([0, 0, 10, 10], 0.4, 1)),
        ]
    )
    assert value("boxes_kept", engine, truth, fp32) == pytest.approx(1 / 3)
    assert value("boxes_kept[b]", engine, truth, fp32) == 0
    assert value("boxes_iou", engine, truth, fp32) == pytest.approx((0.8 + 1.0) / 2)
    assert value("score_shift", engine, truth, fp32) == pytest.approx((-0.1 - 0.3) / 2)
    for name, best in (("boxes_kept", 1), ("boxes_iou", 1), ("score_shift", 0)):
        assert value(name, fp32, truth, fp32) == best


def test_likeness_is_no_quality_and_says_which_way_it_points():
    for name in ("boxes_kept", "boxes_iou", "score_shift"):
        metric = parse_metric(name)
        assert metric.is_agreement
        assert metric.higher_is_better
        assert not metric.quality
    assert parse_metric("object_recall").kind == "binary"
    assert parse_metric("object_precision[a]").quality
