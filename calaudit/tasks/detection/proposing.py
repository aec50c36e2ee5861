"""What ``calaudit init`` makes of a detector's outputs: their layout, told by shapes and names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from calaudit.graph.model import ModelTensor
from calaudit.runtime.pool import Pool
from calaudit.runtime.words import counted, shape_text

MOST_QUERIES: Final = 1000
"""Boxes up to which an output holds finished detections or queries; anchors are more."""
_QUERIES: Final = range(1, MOST_QUERIES + 1)
_DETECTION: Final = 6
"""Numbers of a finished detection: x1, y1, x2, y2, score, class."""
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "boxes": ("box",),
    "scores": ("score", "conf", "logit", "prob"),
    "labels": ("label", "class", "cls"),
    "counts": ("num", "count"),
}
"""What the names of outputs say of their roles."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A layout of outputs."""

    format: str
    outputs: tuple[str, ...]
    remark: str
    """Why, for the comment above the task."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the task."""


def guess_format(outputs: Sequence[ModelTensor], n_classes: int) -> Guess | None:
    """The layout that a model's outputs fit, for so many classes; None where there is none.

    One output: (4 + classes, anchors) is YOLOv8's, (anchors, 5 + classes) YOLOv5's, a few hundred
    rows of 6 numbers are finished detections, a few hundred rows of 4 + classes RT-DETR's queries.
    Several: boxes (m, 4) with scores and class numbers (m,) are finished detections, with logits
    (m, classes or one more) DETR's.
    """
    return next(_guesses(outputs, n_classes), None)


def _guesses(outputs: Sequence[ModelTensor], n_classes: int) -> Iterator[Guess]:
    yield from _of_roles(outputs, n_classes)
    flat = [each for each in outputs if len(each.shape) == 2]
    for output in flat:
        first, last = output.shape
        few, queries = first is None or first <= MOST_QUERIES, (first or 0) in _QUERIES
        shown = f"{output.name} ({shape_text(output.shape)})"
        classes = counted(n_classes, "class", "classes")
        if last == _DETECTION and few:
            remark = (
                f"The output {shown} looks like finished detections: x1, y1, x2, y2, score and "
                "class of each"
            )
            yield Guess("end-to-end", (output.name,), remark)
        if first == 4 + n_classes:
            remark = (
                f"The output {shown} has YOLOv8's layout: a box and a score for each of "
                f"{classes}, anchor by anchor"
            )
            yield Guess("yolov8", (output.name,), remark)
        if last == 4 + n_classes and queries:
            remark = (
                f"The output {shown} looks like RT-DETR's: a box from 0 to 1 and a score for each "
                f"of {classes}, query by query; nothing is suppressed"
            )
            more = {"normalised": True, "nms_iou": 1.0}
            yield Guess("yolov8", (output.name,), remark, more)
        if last == 4 + n_classes:
            remark = (
                f"The output {shown} has YOLOv8's layout with its axes exchanged: a box and a "
                f"score for each of {classes}"
            )
            yield Guess("yolov8", (output.name,), remark)
        if 5 + n_classes in (first, last):
            remark = (
                f"The output {shown} has YOLOv5's layout: a box, a chance that there is an object, "
                f"and a score for each of {classes}"
            )
            yield Guess("yolov5", (output.name,), remark)


def _of_roles(outputs: Sequence[ModelTensor], n_classes: int) -> Iterator[Guess]:
    """Layouts with an output for boxes and others for what they are."""
    boxes = _called(outputs, "boxes", lambda shape: len(shape) == 2 and shape[1] == 4)
    if boxes is None:
        return
    others = [each for each in outputs if each is not boxes]
    m = boxes.shape[0]

    def flat(shape: tuple[int | None, ...]) -> bool:
        return shape in ((m,), (m, 1), (None,))

    labels = _called(others, "labels", flat)
    scores = _called([each for each in others if each is not labels], "scores", flat)
    if scores is not None and labels is not None:
        roles = {"boxes": boxes.name, "scores": scores.name, "labels": labels.name}
        counts = _called(others, "counts", lambda shape: shape in ((), (1,)))
        roles |= {} if counts is None else {"counts": counts.name}
        remark = f"The outputs {', '.join(roles.values())} look like finished detections"
        yield Guess("end-to-end", tuple(roles.values()), remark, roles)
    logits = _called(
        others,
        "scores",
        lambda shape: len(shape) == 2 and shape[0] == m and shape[1] in (n_classes, n_classes + 1),
    )
    if logits is not None:
        roles = {"boxes": boxes.name, "scores": logits.name}
        one = "" if logits.shape[1] == n_classes else ", the last for no object"
        remark = (
            f"The outputs {boxes.name} and {logits.name} look like DETR's: a box from 0 to 1 and "
            f"{logits.shape[1]} logits for each query{one}"
        )
        yield Guess("detr", tuple(roles.values()), remark, roles)


def _called(outputs: Sequence[ModelTensor], role: str, fits: Any) -> ModelTensor | None:
    """The output whose shape fits a role; of several the one whose name does."""
    fitting = [each for each in outputs if fits(each.shape)]
    words = WORDS[role]
    by_name = [each for each in fitting if any(word in each.name.casefold() for word in words)]
    found = by_name or fitting
    return found[0] if len(found) == 1 else None


def hint_of(pool: Pool, outputs: Sequence[ModelTensor]) -> str:
    """What would make a pool of objects fit a detector; empty: nothing simple."""
    if not pool.objects:
        return ""
    name = next(iter(pool.objects))
    n = len(pool.class_names(name))
    if any(len(each.shape) >= 3 for each in outputs):
        return (
            "Raw heads need a decoder: export the model with its boxes decoded, or write the task "
            'with format = "module:function" (docs/audit.md).'
        )
    widths = sorted({
        width - more
        for each in outputs
        if len(each.shape) == 2
        for width in (min((size for size in each.shape if size), default=0),)
        for more in (4, 5)
        if width > more
    })  # fmt: skip
    if not widths:
        return ""
    return (
        f"The pool has {counted(n, 'class', 'classes')} of {name}, the outputs' shapes fit "
        f"{' or '.join(map(str, widths))}: import the pool again with all names of the model's "
        "classes in its order, --classes names.txt."
    )
