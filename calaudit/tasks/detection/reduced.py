"""Detections that a file of answers holds in place of a detector's outputs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from calaudit.formats.given import Batch, Column, Ragged
from calaudit.metrics.base import Metric
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted
from calaudit.tasks.detection.decoders import Candidates
from calaudit.tasks.detection.detecting import Detecting
from calaudit.tasks.detection.suppression import best_of
from calaudit.tasks.reduced import Reduced, wrong

_SHAPES: Final = {"boxes": (4,), "score": (), "label": ()}


@dataclass(frozen=True, slots=True)
class GivenDetections(Reduced):
    """Boxes, scores and classes, suppressed already: any number per image."""

    detecting: Detecting
    ragged: bool = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those that are decoded."""
        return self.detecting.outputs

    @property
    def columns(self) -> tuple[str, ...]:
        """Of each detection."""
        return tuple(_SHAPES)

    def unknown(self, metrics: Iterable[Metric], held: Collection[str]) -> list[Metric]:
        """None: metrics of detectors read detections."""
        return []

    def check(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        """Corners of boxes in pixels and classes of the task, and how many don't count."""
        columns = self._columns(given)
        boxes, label = columns["boxes"].values, columns["label"].values
        if label.dtype.kind not in "iu":
            raise wrong("label holds no whole numbers", "Write label.astype(numpy.int64).")
        layout, total = self.detecting.layout, counted(len(boxes), "detection")
        strange = (label < 0) | (label >= layout.n_classes)
        if strange.any():
            raise wrong(
                f"label is {label[strange][0]} in {int(strange.sum()):,} of {total}, which is none "
                f"of the {counted(layout.n_classes, 'class', 'classes')}, 0 to "
                f"{layout.n_classes - 1}",
                "Number classes from 0 in the order of the task's classes, by default the pool's.",
            )
        turned = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
        if turned.any():
            raise wrong(
                f"{int(turned.sum()):,} of {total} have a right edge left of the left one, or a "
                "lower one above the upper",
                "Write boxes as x1, y1, x2, y2 in pixels of the model's input.",
            )
        if len(boxes) and np.nanmax(np.abs(boxes), initial=0.0) <= 1:
            raise wrong(
                f"all {total} lie within one pixel: they seem to run from 0 to 1",
                "Multiply boxes by the width and height of the model's input, "
                f"{layout.size[1]} × {layout.size[0]}.",
            )
        return self._dropped(given, rows)

    def _dropped(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        found = self._candidates(given, len(rows))
        chosen = best_of(found, self.detecting.max_detections, iou=None)[0]
        counts = self._columns(given)["score"].counts
        left = int(counts[found.answered].sum()) - len(chosen)
        message = (
            f"{counted(left, 'detection')} of {counts.sum():,} don't count: their score is at most "
            f"{self.detecting.layout.score_threshold:g} (score_threshold), or their image has "
            f"{self.detecting.max_detections} better ones (max_detections)"
        )
        return (Notice("given_detections", message),) if left else ()

    def batch(self, given: Mapping[str, Column], rows: Rows) -> Batch:
        """What `Detecting` keeps: the best ones, by falling score."""
        found = self._candidates(given, len(rows))
        chosen, counts = best_of(found, self.detecting.max_detections, iou=None)
        boxes, score, label = (
            Ragged(each[chosen], counts) for each in (found.boxes, found.score, found.label)
        )
        own: dict[str, Column] = {
            "boxes": boxes,
            "score": score,
            "label": label,
            "answered": found.answered,
        }
        return Batch(answers={self.detecting.name: own})

    def _candidates(self, given: Mapping[str, Column], n: int) -> Candidates:
        columns = self._columns(given)
        boxes = columns["boxes"].values.astype(np.float32)
        score = columns["score"].values.astype(np.float32)
        label = columns["label"].values.astype(np.int32)
        image = np.repeat(np.arange(n), columns["score"].counts)
        bad = ~np.isfinite(boxes).all(axis=1) | np.isnan(score)
        answered = np.bincount(image[bad], minlength=n) == 0
        kept = (score > self.detecting.layout.score_threshold) & answered[image]
        return Candidates(image[kept], boxes[kept], score[kept], label[kept], answered)

    def _columns(self, given: Mapping[str, Column]) -> dict[str, Ragged]:
        found = {}
        for name, shape in _SHAPES.items():
            values = given[name]
            assert isinstance(values, Ragged)
            if values.values.shape[1:] != shape:
                raise wrong(
                    f"{name} has shape {values.values.shape}, expected "
                    f"{'(detections, 4)' if shape else '(detections,)'}"
                )
            found[name] = values
        return found
