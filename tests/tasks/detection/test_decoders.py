"""Outputs in every layout are the boxes, scores and classes that were written into them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from calaudit.runtime.errors import SettingsError
from calaudit.tasks.detection.decoders import (
    FORMATS,
    Layout,
    as_corners,
    decode_detr,
    decode_end_to_end,
    decode_yolov5,
    decode_yolov8,
)

HEIGHT, WIDTH, CLASSES, ANCHORS = 96, 128, 3, 11
LAYOUT = Layout(
    n_classes=CLASSES, size=(HEIGHT, WIDTH), score_threshold=0.2, box_format="cxcywh",
    normalised=False, first_class=0,
)  # fmt: skip


def planted(seed, images=4):
    """Corners (b, anchors, 4) and scores (b, anchors, classes)."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (images, ANCHORS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 30, corner.shape)], axis=2)
    return boxes.astype(np.float32), rng.random((images, ANCHORS, CLASSES)).astype(np.float32)


def centred(boxes):
    size = boxes[..., 2:] - boxes[..., :2]
    return np.concatenate([boxes[..., :2] + size / 2, size], axis=-1)


def expected(boxes, scores, threshold=0.2):
    """Image, class, score and box of every score above the threshold, sorted."""
    image, place, label = np.nonzero(scores > threshold)
    return listed(image, label, scores[image, place, label], boxes[image, place])


def listed(image, label, score, boxes):
    rows = np.column_stack([image, label, score, boxes])
    return rows[np.lexsort(rows.T[::-1])]


def found_in(found):
    return listed(found.image, found.label, found.score, found.boxes)


@pytest.mark.parametrize("anchors_last", [True, False])
def test_yolov8_has_a_score_per_class_whichever_axis_the_anchors_are(anchors_last):
    boxes, scores = planted(0)
    values = np.concatenate([centred(boxes), scores], axis=2)
    found = decode_yolov8([np.moveaxis(values, 1, 2) if anchors_last else values], LAYOUT)
    assert found_in(found) == pytest.approx(expected(boxes, scores), abs=1e-4)
    assert found.answered.all()
    assert (found.boxes.dtype, found.score.dtype) == (np.float32, np.float32)


def test_yolov5_multiplies_the_chance_of_an_object_with_that_of_the_class():
    boxes, scores = planted(1)
    objectness = np.random.default_rng(2).random((4, ANCHORS, 1)).astype(np.float32)
    values = np.concatenate([centred(boxes), objectness, scores], axis=2)
    found = decode_yolov5([values], LAYOUT)
    assert found_in(found) == pytest.approx(expected(boxes, objectness * scores), abs=1e-4)


@pytest.mark.parametrize("first", [0, 1])
def test_end_to_end_outputs_are_one_array_or_several(first):
    boxes, scores = planted(3)
    label, score = scores.argmax(axis=2), scores.max(axis=2)
    layout = replace(LAYOUT, box_format="xyxy", first_class=first)
    of_best = np.where(np.arange(CLASSES) == label[..., None], scores, 0)
    one = np.concatenate([boxes, score[..., None], label[..., None] + first], axis=2)
    for outputs in ([one], [boxes, score, label + first], [boxes, score[..., None], label + first]):
        found = decode_end_to_end(outputs, layout)
        assert found_in(found) == pytest.approx(expected(boxes, of_best), abs=1e-4)
    counted = decode_end_to_end(
        [boxes, score, label + first, np.array([[3], [0], [11], [1]])], layout
    )
    of_best[np.arange(ANCHORS) >= np.array([[3], [0], [11], [1]])] = 0
    assert found_in(counted) == pytest.approx(expected(boxes, of_best), abs=1e-4)


def test_what_is_background_by_its_number_is_dropped():
    boxes = np.array([[[0, 0, 9, 9], [0, 0, 8, 8]]], np.float32)
    outputs = [boxes, np.array([[0.9, 0.8]]), np.array([[0, 2]])]
    found = decode_end_to_end(outputs, replace(LAYOUT, box_format="xyxy", first_class=1))
    assert (found.label.tolist(), found.boxes.tolist()) == ([1], [[0, 0, 8, 8]])
    with pytest.raises(SettingsError, match="class number 9, the task knows 3 classes from 0"):
        decode_end_to_end([boxes, outputs[1], np.array([[9, 0]])], LAYOUT)


def test_detr_gives_each_query_its_best_class_and_rt_detr_every_class_a_score():
    boxes, _ = planted(4)
    scaled = centred(boxes) / np.array([WIDTH, HEIGHT] * 2, np.float32)
    layout = replace(LAYOUT, normalised=True)
    logits = np.random.default_rng(5).normal(0, 2, (4, ANCHORS, CLASSES + 1)).astype(np.float32)
    of_all = softmax(logits, axis=2)[..., :-1]
    best = np.where(of_all == of_all.max(axis=2, keepdims=True), of_all, 0)
    found = decode_detr([scaled, logits], layout)
    assert found_in(found) == pytest.approx(expected(boxes, best), abs=1e-3)
    found = decode_detr([scaled, logits[..., :-1]], layout)
    assert found_in(found) == pytest.approx(expected(boxes, expit(logits[..., :-1])), abs=1e-3)


@pytest.mark.parametrize("box_format", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("normalised", [False, True])
def test_boxes_in_any_format_become_corners_in_pixels(box_format, normalised):
    (boxes, *_), _ = planted(6)
    given = {
        "xyxy": boxes,
        "xywh": np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
        "cxcywh": centred(boxes),
    }[box_format]
    if normalised:
        given = given / np.array([WIDTH, HEIGHT] * 2)
    layout = replace(LAYOUT, box_format=box_format, normalised=normalised)
    assert as_corners(given, layout) == pytest.approx(boxes, abs=1e-4)


@pytest.mark.parametrize(("place", "wrong"), [((1, 5, 3), np.nan), ((1, 0, 3), np.inf)])
def test_an_image_whose_scores_or_boxes_are_no_numbers_has_no_answer(place, wrong):
    boxes, scores = planted(7)
    values = np.moveaxis(np.concatenate([centred(boxes), scores], axis=2), 1, 2).copy()
    values[1, 4:, 3] = 0.9
    values[place] = wrong
    found = decode_yolov8([values], LAYOUT)
    assert found.answered.tolist() == [True, False, True, True]
    assert 1 not in found.image


@pytest.mark.parametrize("name", ["yolov8", "yolov5", "end-to-end", "detr"])
def test_outputs_of_another_layout_are_refused_with_what_was_expected(name):
    outputs = [np.zeros((2, 9, 17), np.float32)] * (2 if name == "detr" else 1)
    with pytest.raises(SettingsError, match=r"an output is 9×17 for an image, expected ") as error:
        FORMATS[name].decode(outputs, LAYOUT)
    assert "format" in error.value.problems[0].next_step


@settings(max_examples=50, deadline=None)
@given(
    name=st.sampled_from(["yolov8", "yolov5", "end-to-end"]),
    seed=st.integers(0, 2**32 - 1),
    wild=st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e38]),
)
def test_whatever_numbers_come_candidates_are_finite_and_of_known_classes(name, seed, wild):
    rng = np.random.default_rng(seed)
    width = {"yolov8": 7, "yolov5": 8, "end-to-end": 6}[name]
    values = rng.normal(0, 3, (3, ANCHORS, width)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = wild
    if name == "end-to-end":
        values[..., 5] = rng.integers(0, CLASSES, values.shape[:2])
    with np.errstate(all="ignore"):
        found = FORMATS[name].decode([values], LAYOUT)
    assert np.isfinite(found.boxes).all()
    assert (found.score > 0.2).all()
    assert ((found.label >= 0) & (found.label < CLASSES)).all()
    assert found.answered[found.image].all()
