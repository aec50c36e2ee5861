"""Detections made of each batch's outputs while an engine runs, and read back."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Column, Given, Ragged
from calaudit.metrics.detections import detections_of
from calaudit.runtime.errors import CalauditError, SettingsError
from calaudit.runtime.lent import lent
from calaudit.runtime.pool import Rows
from calaudit.runtime.user_code import blamed, file_of
from calaudit.tasks.detection.decoders import FORMATS, Candidates, Layout, LayoutError, fitting
from calaudit.tasks.detection.suppression import best_of
from calaudit.tasks.reduction import Reduction

NAME: Final = "detections"
"""Of the answers in predictions."""
_BYTES: Final = 4 * 4 + 4 + 4
"""Of a detection: box, score, class."""

Own = Callable[[Mapping[str, NDArray[Any]], int, int], Any]
"""A user's own decoder: outputs, height, width → boxes, scores and classes of each image."""


@dataclass(frozen=True, slots=True)
class Detecting(Reduction):
    """Makes detections of a detector's outputs: decoded, suppressed, the best ones kept."""

    format: str
    """One of `FORMATS`, or ``module:function``."""
    outputs: tuple[str, ...]
    """The model's, in the order in which the format reads them."""
    layout: Layout
    nms_iou: float | None
    max_detections: int
    where: str
    """Place of the task in the audit file, for messages."""
    own: Own | None = None
    """The function, of a format that is one."""
    name: str = NAME

    @property
    def key(self) -> Mapping[str, object]:
        """All that detections depend on, a function of the user's own with its file."""
        settings: dict[str, object] = {
            "format": self.format,
            "outputs": list(self.outputs),
            **asdict(self.layout),
            "size": list(self.layout.size),
            "nms_iou": self.nms_iou,
            "max_detections": self.max_detections,
        }
        file = None if self.own is None else file_of(self.own)
        if file is not None and Path(file).is_file():
            settings["function"] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        return settings

    @property
    def row_bytes(self) -> int:
        """Of an image with as many detections as are kept at most."""
        return self.max_detections * _BYTES + 3 * 8 + 1

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], rows: Rows, reference: Given | None
    ) -> Mapping[str, Column]:
        """Detections of a batch, by falling score: boxes, score, label; and who was answered."""
        (boxes, score, label), answered = self._detections(outputs, len(rows))
        return {"boxes": boxes, "score": score, "label": label, "answered": answered}

    def read(self, given: Given, rows: Rows) -> NDArray[Any]:
        """(n,) `Detections` of some rows, None where outputs aren't numbers."""
        ragged = ("boxes", "score", "label")
        if self.name in given.answers:
            own = {name: given.read_ragged(self.name, name, rows) for name in ragged}
            answered = given.read_answers(self.name, "answered", rows)
        else:
            outputs = {name: given.read(name, rows) for name in self.outputs}
            made, answered = self._detections(outputs, len(rows))
            own = dict(zip(ragged, made, strict=True))
        boxes, score, label = (own[name].values for name in ragged)
        found = detections_of(boxes, score, label, own["boxes"].offsets)
        found[~answered.astype(np.bool_)] = None
        return found

    def _detections(
        self, outputs: Mapping[str, NDArray[Any]], n: int
    ) -> tuple[tuple[Ragged, Ragged, Ragged], NDArray[np.bool_]]:
        """Boxes, scores and classes of n images, and which of them have an answer."""
        found = self._candidates({name: outputs[name] for name in self.outputs}, n)
        chosen, counts = best_of(found, self.max_detections, iou=self.nms_iou)
        columns = (found.boxes, found.score, found.label)
        boxes, score, label = (Ragged(each[chosen], counts) for each in columns)
        return (boxes, score, label), found.answered

    def _candidates(self, outputs: Mapping[str, NDArray[Any]], n: int) -> Candidates:
        if self.own is None:
            values = list(outputs.values())
            try:
                return FORMATS[self.format].decode(values, self.layout)
            except SettingsError as error:
                step = self._other(values) if isinstance(error, LayoutError) else ""
                raise SettingsError.of(
                    replace(e, where=e.where or self.where, next_step=step or e.next_step)
                    for e in error.problems
                ) from None
        with blamed(self.format, "failed", SettingsError, file=file_of(self.own)):
            found = list(self.own(lent(dict(outputs)), *self.layout.size))
        return own_candidates(found, n, self)

    def _other(self, values: list[NDArray[Any]]) -> str:
        """The formats that outputs fit which don't fit this one; empty: none."""
        names = " or ".join(f'"{name}"' for name in fitting(values, self.layout, self.format))
        return names and f"This fits format = {names} with as many classes."


def own_candidates(found: list[Any], n: int, of: Detecting) -> Candidates:
    """What a user's function gave for n images, held to what it should.

    Raises
    ------
    SettingsError
        Something else than boxes (m, 4), scores (m,) and classes (m,) of each image.
    """
    if len(found) != n:
        raise _wrong(of, f"gave {len(found)} images for {n}")
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    for image, each in enumerate(found):
        try:
            boxes, score, label = (np.asarray(part) for part in each)
        except (TypeError, ValueError) as error:
            raise _wrong(
                of, f"gave for image {image} no boxes, scores and classes: {error}"
            ) from None
        boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
        m = len(boxes)
        if boxes.shape != (m, 4) or score.shape != (m,) or label.shape != (m,):
            shapes = f"{boxes.shape}, {score.shape} and {label.shape}"
            raise _wrong(of, f"gave boxes, scores and classes of shapes {shapes} for image {image}")
        parts.append((boxes, score, label))
    counts = [len(score) for _, score, _ in parts]
    none = np.empty((0, 4), np.float32)
    boxes = np.concatenate([none, *(each for each, _, _ in parts)]).astype(np.float32)
    score = np.concatenate([none[:, 0], *(each for _, each, _ in parts)]).astype(np.float32)
    label = np.concatenate([none[:, 0], *(each for _, _, each in parts)])
    image_of = np.repeat(np.arange(n), counts)
    layout = of.layout
    bad = ~np.isfinite(boxes).all(axis=1) | np.isnan(score)
    answered = np.bincount(image_of[bad], minlength=n) == 0
    kept = (score > layout.score_threshold) & answered[image_of]
    number = np.rint(label[kept]).astype(np.int32)
    if ((number < 0) | (number >= layout.n_classes)).any():
        strange = number[(number < 0) | (number >= layout.n_classes)][0]
        raise _wrong(of, f"gave class {strange}; there are {layout.n_classes}, from 0")
    return Candidates(image_of[kept], boxes[kept], score[kept], number, answered)


def _wrong(of: Detecting, what: str) -> CalauditError:
    return SettingsError(
        f"{of.format} {what}",
        where=f"{of.where}.format",
        next_step="Return for each image its boxes (m, 4) as x1, y1, x2, y2 in pixels of the "
        "model's input, scores (m,) and class numbers (m,).",
    )
