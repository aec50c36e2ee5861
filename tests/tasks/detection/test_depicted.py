"""What pictures show of boxes: which are found, which are missed, which are nothing."""

import numpy as np
import pytest

from calaudit.metrics.detections import Detections
from calaudit.metrics.truth import ObjectTruth
from calaudit.results.pictures import Mark
from calaudit.runtime.objects import Objects
from calaudit.tasks.detection.depicted import losses_of_boxes, sides_of_boxes

CLASSES = ("cell", "platelet")
CELL, PLATELET, CROWD = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 24.0, 4.0), (0.0, 40.0, 40.0, 80.0)


def truth() -> ObjectTruth:
    """An image with a cell, a platelet and a crowd of cells; one without; one with a cell."""
    return ObjectTruth(
        Objects(
            offsets=np.array([0, 3, 3, 4]),
            boxes=np.array([CELL, PLATELET, CROWD, CELL]),
            label=np.array([0, 1, 0, 0]),
            crowd=np.array([False, False, True, False]),
            area=np.array([100.0, 16.0, 1600.0, 100.0]),
            unit_area=np.ones(3),
            classes=CLASSES,
        )
    )


def answers(*images: list[tuple[tuple[float, ...], float, int]] | None) -> np.ndarray:
    found = np.empty(len(images), dtype=object)
    for at, boxes in enumerate(images):
        if boxes is not None:
            found[at] = Detections(
                np.array([box for box, _, _ in boxes], np.float32).reshape(-1, 4),
                np.array([score for _, score, _ in boxes], np.float32),
                np.array([label for _, _, label in boxes], np.int32),
            )
    return found


FP32 = answers([(CELL, 0.9, 0), (PLATELET, 0.5, 1)], [], [(CELL, 0.75, 0)])
ENGINE = answers(
    [(CELL, 0.75, 0), (PLATELET, 0.125, 1), (CROWD, 0.5, 0), (PLATELET, 0.5, 0)],
    [(CELL, 0.5, 1)],
    None,
)


def test_true_boxes_say_whether_the_engine_finds_them() -> None:
    first, second, third = sides_of_boxes(truth(), FP32, ENGINE)
    assert [(each.label, each.score, each.matched) for each in first.truth.boxes] == [
        ("cell", None, True),
        ("platelet", None, False),  # below the working point
        ("cell", None, None),  # a crowd can't be missed
    ]
    assert first.truth.boxes[1] == Mark("platelet", *PLATELET, None, False)
    assert second.truth.boxes == ()
    assert [each.matched for each in third.truth.boxes] == [False]


def test_predicted_boxes_say_whether_anything_true_is_there() -> None:
    first, second, third = sides_of_boxes(truth(), FP32, ENGINE)
    assert [each.matched for each in first.fp32.boxes] == [True, True]
    assert [(each.label, each.score, each.matched) for each in first.engine.boxes] == [
        ("cell", 0.75, True),
        ("cell", 0.5, None),  # of the crowd
        ("cell", 0.5, False),  # of another class
    ]
    assert [(each.label, each.matched) for each in second.engine.boxes] == [("platelet", False)]
    assert third.engine.boxes == ()


def test_an_image_loses_by_boxes_that_are_missed_and_by_those_too_many() -> None:
    lost = losses_of_boxes(truth(), FP32, ENGINE)
    assert lost.by == "the F1 score of its boxes"
    # 2 · 1 right / (2 boxes + 2 objects); a box where nothing is; no answer
    assert lost.lost.tolist() == pytest.approx([1 - 0.5, 1.0, 1.0])
    assert lost.reference.tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_images_in_which_nothing_is_true_and_nothing_found_lose_nothing() -> None:
    nothing = answers([], [], [])
    lost = losses_of_boxes(truth(), nothing, nothing).lost
    assert np.isnan(lost[1])
    assert lost[[0, 2]].tolist() == [0.0, 0.0]
