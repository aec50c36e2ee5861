"""Masks, or confusion counts alone, that a file of answers holds in place of an output."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Batch, Column, Ragged
from calaudit.metrics.base import Metric
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted, shape_text
from calaudit.tasks.masks import AT_ONCE, MaskReduction
from calaudit.tasks.reduced import Reduced, plain, wrong

MASK: Final = "mask"
CONFUSION: Final = "confusion"


@dataclass(frozen=True, eq=False, slots=True)
class GivenMasks(Reduced):
    """The class of each pixel, (n, height, width)."""

    reduction: MaskReduction

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one that scores the classes."""
        return (self.reduction.output,)

    @property
    def columns(self) -> tuple[str, ...]:
        """One."""
        return (MASK,)

    def unknown(self, metrics: Iterable[Metric], held: Collection[str]) -> list[Metric]:
        """None: metrics of segmentations read masks."""
        return []

    def check(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        """Whole numbers, and how many are no class."""
        masks = plain(given, MASK)
        if masks.ndim != 3 or masks.dtype.kind not in "iu":
            raise wrong(
                f"{MASK} is {masks.dtype} of shape {shape_text(masks.shape[1:])} for a sample, "
                "expected a whole number for each pixel of (height, width)",
                "Write the number of each pixel's class.",
            )
        if masks.shape[1:] != self.reduction.size and self.reduction.resize != "nearest":
            raise wrong(
                f"{MASK} is {shape_text(masks.shape[1:])} for a sample, the pool's masks are "
                f"{shape_text(self.reduction.size)}",
                "Write masks of the pool's size"
                + (
                    "."
                    if self.reduction.resize == "bilinear"
                    else ', or resize = "nearest" in the task.'
                ),
            )
        classes = self.reduction.classes
        none = sum(
            int(np.count_nonzero((piece < 0) | (piece >= classes)))
            for piece in np.array_split(masks, max(1, len(masks) // AT_ONCE))
        )
        if none == masks.size:
            raise wrong(
                f"no pixel of {MASK} holds one of the {counted(classes, 'class', 'classes')}",
                "Number classes from 0 in the order of the task's classes.",
            )
        message = f"{none:,} of {masks.size:,} pixels hold no class, and count as wrong ones"
        return (Notice("given_masks", message),) if none else ()

    def batch(self, given: Mapping[str, Column], rows: Rows) -> Batch:
        """What `MaskReduction` keeps of an output that holds classes."""
        mask, classes = plain(given, MASK), self.reduction.classes
        known = np.where((mask >= 0) & (mask < classes), mask, classes)
        answers = self.reduction({self.reduction.output: known}, rows, None)
        return Batch(answers={self.reduction.name: answers})


@dataclass(frozen=True, eq=False, slots=True)
class GivenConfusion(Reduced):
    """Pixels of each sample by true class and by the engine's, (n, classes, classes).

    Where pixels may have no class, (n, classes + 1, classes + 1).
    """

    reduction: MaskReduction

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one that scores the classes."""
        return (self.reduction.output,)

    @property
    def columns(self) -> tuple[str, ...]:
        """One."""
        return (CONFUSION,)

    def unknown(self, metrics: Iterable[Metric], held: Collection[str]) -> list[Metric]:
        """Likeness to FP32: counts don't say where the pixels lie."""
        return [each for each in metrics if each.is_agreement]

    def check(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        """Rows that add up to the true pixels of each class."""
        found, classes = plain(given, CONFUSION), self.reduction.classes
        if found.shape[1:] not in {(classes,) * 2, (classes + 1,) * 2}:
            raise wrong(
                f"{CONFUSION} is {shape_text(found.shape[1:])} for a sample, expected "
                f"{classes} × {classes}, or {classes + 1} × {classes + 1} with pixels of no class "
                "last"
            )
        wanted = np.zeros((len(rows), found.shape[1]), np.int64)
        wanted[:, :classes] = self.reduction.true_counts(rows)
        off = (found.sum(axis=2) != wanted).any(axis=1) | (found < 0).any(axis=(1, 2))
        if off.any():
            turned = (found.sum(axis=1) == wanted).all()
            raise wrong(
                f"{CONFUSION} of {counted(int(off.sum()), 'sample')} of {len(rows):,} doesn't add "
                "up to the pixels that its true mask has of each class",
                "Its axes are turned: true classes go down, the engine's across."
                if turned
                else "Count all labelled pixels of the pool's masks, at their size, without "
                "ignored ones: true classes down, the engine's across.",
            )
        return ()

    def batch(self, given: Mapping[str, Column], rows: Rows) -> Batch:
        """What `MaskReduction` keeps but for the mask."""
        found, classes = plain(given, CONFUSION), self.reduction.classes
        whole = np.zeros((len(rows), classes + 1, classes + 1), np.int64)
        whole[:, : found.shape[1], : found.shape[2]] = found
        flat = whole.reshape(len(rows), -1)
        sample, pair = np.nonzero(flat)
        counts = np.bincount(sample, minlength=len(rows)).astype(np.int64)
        none: NDArray[np.uint64] = np.zeros(len(rows), np.uint64)
        own: dict[str, Column] = {
            "pair": Ragged(pair.astype(np.int64), counts),
            "pixels": Ragged(flat[sample, pair], counts),
            "broken": none.astype(np.bool_),
            "infinite": none,
        }
        return Batch(answers={self.reduction.name: own})
