"""What ``calaudit init`` makes of a detector's outputs."""

from typing import Any

import numpy as np
import pytest

from calaudit.graph.model import ModelTensor
from calaudit.tasks.detection.proposing import guess_format

Shape = tuple[int | None, ...]


def outputs(**shapes: Shape) -> list[ModelTensor]:
    return [ModelTensor(name, np.dtype(np.float32), shape) for name, shape in shapes.items()]


@pytest.mark.parametrize(
    ("n_classes", "shapes", "format_", "more"),
    [
        (80, {"output0": (84, 8400)}, "yolov8", {}),
        (3, {"output0": (7, 1500)}, "yolov8", {}),
        (1, {"output0": (5, 8400)}, "yolov8", {}),
        (2, {"output0": (6, 8400)}, "yolov8", {}),
        (3, {"output0": (7, None)}, "yolov8", {}),
        (80, {"output": (8400, 84)}, "yolov8", {}),
        (80, {"output": (25200, 85)}, "yolov5", {}),
        (1, {"output": (25200, 6)}, "yolov5", {}),
        (3, {"output": (None, 8)}, "yolov5", {}),
        (3, {"output0": (300, 6)}, "end-to-end", {}),
        (1, {"output0": (300, 6)}, "end-to-end", {}),
        (3, {"output0": (None, 6)}, "end-to-end", {}),
        (80, {"output0": (300, 84)}, "yolov8", {"normalised": True, "nms_iou": 1.0}),
        (
            5,
            {"boxes": (100, 4), "scores": (100,), "labels": (100,)},
            "end-to-end",
            {"boxes": "boxes", "scores": "scores", "labels": "labels"},
        ),
        (
            5,
            {
                "num_dets": (1,),
                "det_boxes": (100, 4),
                "det_scores": (100,),
                "det_classes": (100,),
            },
            "end-to-end",
            {
                "boxes": "det_boxes",
                "scores": "det_scores",
                "labels": "det_classes",
                "counts": "num_dets",
            },
        ),
        (
            91,
            {"logits": (100, 92), "pred_boxes": (100, 4)},
            "detr",
            {"boxes": "pred_boxes", "scores": "logits"},
        ),
        (
            80,
            {"logits": (300, 80), "pred_boxes": (300, 4), "embedding": (300, 256)},
            "detr",
            {"boxes": "pred_boxes", "scores": "logits"},
        ),
    ],
)
def test_layouts_are_told_from_shapes_and_names(
    n_classes: int, shapes: dict[str, Shape], format_: str, more: dict[str, Any]
) -> None:
    found = guess_format(outputs(**shapes), n_classes)
    assert found is not None
    assert (found.format, dict(found.more)) == (format_, more)
    assert all(name in found.remark for name in found.outputs if name != "num_dets")


@pytest.mark.parametrize(
    ("n_classes", "shapes"),
    [
        (3, {"output0": (84, 8400)}),
        (3, {"p3": (255, 80, 80), "p4": (255, 40, 40)}),
        (3, {"logits": (3,)}),
        (3, {"boxes": (100, 4)}),
        (3, {"boxes": (100, 4), "scores": (100,)}),
        (4, {"a": (100, 4), "b": (100, 4)}),
    ],
)
def test_what_fits_no_layout_is_not_guessed(n_classes: int, shapes: dict[str, Shape]) -> None:
    assert guess_format(outputs(**shapes), n_classes) is None


def test_of_several_outputs_the_one_that_fits_is_named() -> None:
    found = guess_format(outputs(embedding=(128,), output0=(7, 1500)), 3)
    assert found is not None
    assert found.outputs == ("output0",)
