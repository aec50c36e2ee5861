"""From a detector's outputs to boxes with classes and scores: one function per layout of outputs.

What is below the score threshold is dropped at once, since most of what a detector gives is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError
from calaudit.runtime.words import counted, shape_text

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
"""Corners; a corner and the size; the centre and the size."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a detector's outputs."""

    n_classes: int
    size: tuple[int, int]
    """Height and width of the model's input, in pixels."""
    score_threshold: float
    """Of a candidate, which must be above it."""
    box_format: BoxFormat
    normalised: bool
    """Whether boxes run from 0 to 1 over the image."""
    first_class: int
    """The number that the model gives the first class; lower ones are background."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """Boxes of b images, before any is suppressed."""

    image: NDArray[np.int64]
    """(m,)"""
    boxes: NDArray[np.float32]
    """(m, 4) x1, y1, x2, y2 in pixels of the model's input."""
    score: NDArray[np.float32]
    """(m,)"""
    label: NDArray[np.int32]
    """(m,) class numbers from 0."""
    answered: NDArray[np.bool_]
    """(b,) images whose scores, and boxes of candidates, are numbers."""


Outputs = Sequence[NDArray[Any]]
"""Those that a layout reads, in its order, each (b, …)."""


def decode_yolov8(outputs: Outputs, layout: Layout) -> Candidates:
    """YOLOv8, 9, 11: (b, 4 + classes, anchors), a box and a score per class of each anchor.

    Ultralytics' exports; the axes may be the other way round, as in those for TensorFlow.
    """
    values = _with_anchors_last(outputs[0], 4 + layout.n_classes, layout, "yolov8")
    return _of_each_class(np.moveaxis(values[:, :4], 1, 2), values[:, 4:], layout)


def decode_yolov5(outputs: Outputs, layout: Layout) -> Candidates:
    """YOLOv5, 6, 7 and X: (b, anchors, 5 + classes), with a chance that there is an object."""
    values = _with_anchors_last(outputs[0], 5 + layout.n_classes, layout, "yolov5")
    scores = values[:, 4:5] * values[:, 5:]
    return _of_each_class(np.moveaxis(values[:, :4], 1, 2), scores, layout)


def decode_end_to_end(outputs: Outputs, layout: Layout) -> Candidates:
    """Boxes (b, m, 4), scores and classes (b, m), and perhaps how many count (b,).

    Or one output (b, m, 6) that holds x1, y1, x2, y2, score and class of each.
    """
    if len(outputs) == 1:
        (values,) = outputs
        if values.ndim != 3 or values.shape[2] != 6:
            raise _strange(values, "boxes×6: x1, y1, x2, y2, score, class")
        boxes, score, label = values[..., :4], values[..., 4], values[..., 5]
        counts = None
    else:
        boxes, score, label, *rest = outputs
        score, label = (each.reshape(each.shape[0], -1) for each in (score, label))
        counts = rest[0].reshape(-1) if rest else None
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise _strange(boxes, "boxes×4")
    for each in (score, label):
        if each.shape != boxes.shape[:2]:
            raise _strange(each, f"{boxes.shape[1]}, one for each box")
    answered = _numbers(score)
    kept = score > layout.score_threshold
    if counts is not None:
        kept &= np.arange(score.shape[1]) < counts[:, None]
    image, place = np.nonzero(kept)
    number = np.rint(label[image, place]).astype(np.int64) - layout.first_class
    found = image, boxes[image, place], score[image, place], number
    return _candidates(found, layout, answered)


def decode_detr(outputs: Outputs, layout: Layout) -> Candidates:
    """Boxes (b, queries, 4) and logits (b, queries, classes), or of one class more: no object.

    With that class a query's softmax gives its best other class, as DETR's; without it a sigmoid
    gives a score to every class, as RT-DETR's. `Layout.first_class` counts from the logits' start.
    """
    boxes, logits = outputs
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise _strange(boxes, "queries×4")
    known = layout.n_classes + layout.first_class
    if logits.ndim != 3 or logits.shape[:2] != boxes.shape[:2] or logits.shape[2] < known:
        raise _strange(logits, f"{boxes.shape[1]}×{known} logits, or {known + 1}")
    answered = _numbers(logits)
    if logits.shape[2] == known:
        with np.errstate(over="ignore"):
            scores = np.float32(1) / (1 + np.exp(-logits[..., layout.first_class :]))
        return _of_each_class(boxes, np.moveaxis(scores, 1, 2).astype(np.float32), layout)
    shifted = logits - logits.max(axis=2, keepdims=True)
    chance = np.exp(shifted)
    chance /= chance.sum(axis=2, keepdims=True)
    best = chance[..., :-1].argmax(axis=2)
    score = np.take_along_axis(chance, best[..., None], axis=2)[..., 0]
    image, place = np.nonzero(score > layout.score_threshold)
    number = best[image, place] - layout.first_class
    found = image, boxes[image, place], score[image, place], number
    return _candidates(found, layout, answered)


@dataclass(frozen=True, slots=True)
class Format:
    """A layout of outputs that detectors have."""

    decode: Callable[[Outputs, Layout], Candidates]
    roles: tuple[str, ...]
    """What its outputs hold, where there are several."""
    single: bool
    """Whether one output may hold all."""
    box_format: BoxFormat
    normalised: bool
    nms_iou: float | None
    """The usual threshold of suppression; None: nothing is left to suppress."""


FORMATS: Final[Mapping[str, Format]] = {
    "yolov8": Format(decode_yolov8, (), True, "cxcywh", False, 0.7),
    "yolov5": Format(decode_yolov5, (), True, "cxcywh", False, 0.6),
    "end-to-end": Format(
        decode_end_to_end, ("boxes", "scores", "labels", "counts"), True, "xyxy", False, None
    ),
    "detr": Format(decode_detr, ("boxes", "scores"), False, "cxcywh", True, None),
}
"""By the name that audit files have for them."""


class LayoutError(SettingsError):
    """Outputs whose shapes aren't those of a format."""


def fitting(outputs: Outputs, layout: Layout, but: str) -> list[str]:
    """Formats beside `but` that outputs of these shapes may have, with the classes of `layout`."""
    zeros = [np.zeros((1, *each.shape[1:]), np.float32) for each in outputs]
    found = []
    for name, each in FORMATS.items():
        n = len(each.roles)
        several = n - ("counts" in each.roles) <= len(outputs) <= n
        if name == but or not (several if len(outputs) > 1 else each.single):
            continue
        try:
            each.decode(zeros, layout)
        except LayoutError:
            continue
        found.append(name)
    return found


def as_corners(boxes: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    """Boxes (m, 4) in the layout's format as x1, y1, x2, y2 in pixels."""
    found = boxes.astype(np.float32)
    if layout.normalised:
        height, width = layout.size
        found = found * np.array([width, height] * 2, np.float32)
    if layout.box_format == "xyxy":
        return found
    at, size = found[:, :2], found[:, 2:]
    corner = at - size / 2 if layout.box_format == "cxcywh" else at
    return np.concatenate([corner, corner + size], axis=1)


def _with_anchors_last(
    values: NDArray[Any], width: int, layout: Layout, name: str
) -> NDArray[np.float32]:
    """(b, width, anchors), whichever of the two axes has that width."""
    shape = f"{width}×boxes"
    if values.ndim != 3 or width not in values.shape[1:]:
        classes = counted(layout.n_classes, "class", "classes")
        raise _strange(values, f"{shape} of {classes} in the layout of {name}")
    found = values if values.shape[1] == width else np.moveaxis(values, 1, 2)
    return found.astype(np.float32, copy=False)


def _of_each_class(boxes: NDArray[Any], scores: NDArray[np.float32], layout: Layout) -> Candidates:
    """Every class of every anchor whose score is high enough.

    Parameters
    ----------
    boxes : ndarray, shape (b, anchors, 4)
    scores : ndarray, shape (b, classes, anchors)
    layout : Layout
    """
    answered = _numbers(scores)
    image, number, place = np.nonzero(scores > layout.score_threshold)
    found = image, boxes[image, place], scores[image, number, place], number
    return _candidates(found, layout, answered)


def _candidates(
    found: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any], NDArray[np.int64]],
    layout: Layout,
    answered: NDArray[np.bool_],
) -> Candidates:
    """Images, boxes, scores and class numbers as `Candidates`."""
    image, boxes, score, number = found
    corners = as_corners(boxes, layout)
    answered = answered.copy()
    answered[image[~np.isfinite(corners).all(axis=1) | ~np.isfinite(score)]] = False
    kept = answered[image] & (number >= 0)
    beyond = number[kept] >= layout.n_classes
    if beyond.any():
        raise SettingsError(
            f"the model gives class number {number[kept].max() + layout.first_class}, "
            f"the task knows {layout.n_classes} classes from {layout.first_class} on",
            next_step="Name all of the model's classes in the task: classes = […]; first_class "
            "says the number of the first.",
        )
    return Candidates(
        image[kept], corners[kept], score[kept].astype(np.float32), number[kept].astype(np.int32),
        answered,
    )  # fmt: skip


def _numbers(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(b,) images without NaN."""
    return np.asarray(~np.isnan(values.reshape(len(values), -1)).any(axis=1), np.bool_)


def _strange(values: NDArray[Any], expected: str) -> LayoutError:
    return LayoutError(
        f"an output is {shape_text(values.shape[1:])} for an image, expected {expected}",
        next_step="Choose the format that the model was exported in, and name its classes in the "
        'order of its outputs: classes = ["…"].',
    )
