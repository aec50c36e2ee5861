"""Answers of a segmentation: masks and their confusion matrices, made while an engine runs.

Masks are large and metrics need little of them: predictions keep the mask, one byte a pixel and
compressed, and its confusion matrix with the true one. What it shares with FP32's mask is counted
when both are read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Column, Given, Ragged
from calaudit.metrics.case import infinities
from calaudit.metrics.segmentation import Confused, Counts, count_pairs
from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.words import counted
from calaudit.tasks.reduction import Reduction
from calaudit.tasks.resizing import Resize, best_class, resized

AT_ONCE = 64
"""Masks in memory together, however large they are."""
PIXELS_AT_ONCE = 1 << 20
"""Of smaller masks as many as have so many pixels: each piece opens files."""
OF_ANOTHER_SIZE = (
    'Write resize = "bilinear" in the task, which brings scores to the masks\' size as training '
    'frameworks do before the best class is taken, or resize = "nearest" for class numbers; or '
    "import the pool with masks of the output's size."
)
"""What to do about an output whose size isn't the masks'."""


@dataclass(frozen=True, eq=False, slots=True)
class TrueMasks:
    """The masks of a pool."""

    pool: Pool
    target: str
    names: tuple[str, ...]
    ignored: int | None
    """The number that says nothing of a pixel."""

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        return self.pool.targets[self.target].shape

    @property
    def at_once(self) -> int:
        """Masks to be in memory together."""
        return max(AT_ONCE, PIXELS_AT_ONCE // math.prod(self.size))

    def read(self, rows: Rows) -> NDArray[Any]:
        """Classes of the pixels of some rows, (n, height, width); another number is ignored."""
        masks = self.pool.read_target(self.target, rows)
        strange = (masks < 0) | (masks >= len(self.names))
        if self.ignored is not None:
            strange &= masks != self.ignored
        if strange.any():
            row = int(np.argmax(strange.any(axis=(1, 2))))
            number = int(masks[row][strange[row]][0])
            raise PoolError(
                f"holds {number} in {self.pool.ids(rows[row : row + 1])[0]}, which is none of the "
                f"{counted(len(self.names), 'class', 'classes')}, 0 to {len(self.names) - 1}",
                where=f"{self.pool.label}: /targets/{self.target}",
                next_step=f"If it marks pixels to be ignored, write ignore = {number} in the task; "
                "else name all classes.",
            )
        return masks

    def count(self, rows: Rows) -> NDArray[np.int64]:
        """Pixels of each class, (n, classes)."""
        found = np.zeros((len(rows), len(self.names)), np.int64)
        each = (mask for piece in batches(rows, self.at_once) for mask in self.read(piece))
        for row, mask in zip(found, each, strict=True):
            row[:] = np.bincount(mask[self.labelled(mask)], minlength=len(row))
        return found

    def labelled(self, masks: NDArray[Any]) -> NDArray[np.bool_]:
        """Pixels that have a class."""
        if self.ignored is None:
            return np.ones(masks.shape, dtype=bool)
        return np.asarray(masks != self.ignored)


@dataclass(frozen=True, eq=False, slots=True)
class MaskAnswers:
    """What is kept of b samples."""

    pair: Ragged
    """Of `Counts`, against the true masks."""
    pixels: Ragged
    mask: NDArray[Any] | None
    """(b, height, width) classes; their number where a pixel has none. None: counts were given."""
    broken: NDArray[np.bool_]
    """(b,) samples with an output that isn't a number."""
    infinite: NDArray[np.uint64]
    """(b,) which outputs are infinite; 0: none."""


class MaskReduction(Reduction):
    """Masks, and their confusion matrices with the true ones.

    Parameters
    ----------
    output : str
    masks : TrueMasks
    threshold : float or None
        Of an output with one channel.
    where : str
        Place of the task, for messages.
    resize : str, optional
        How an output of another size is brought to that of the masks; None: it is refused.
    task : str
        The task's name; empty: none.
    """

    __slots__ = ("_masks", "_resize", "_task", "_threshold", "_where", "output")

    compression: Mapping[str, str] = MappingProxyType({"mask": "gzip"})

    def __init__(
        self,
        output: str,
        masks: TrueMasks,
        threshold: float | None,
        where: str,
        *,
        resize: Resize | None = None,
        task: str = "",
    ) -> None:
        self.output = output
        self._masks = masks
        self._threshold = threshold
        self._where = where
        self._resize = resize
        self._task = task

    @property
    def name(self) -> str:
        """By the output, and the task where it has a name."""
        return f"masks of {self.output}" + (f" for {self._task}" if self._task else "")

    @property
    def key(self) -> Mapping[str, object]:
        """Everything that says which class a pixel is given, and beside which true ones."""
        return {
            "output": self.output,
            "target": self._masks.target,
            "classes": self.classes,
            "ignored": self._masks.ignored,
            "threshold": self._threshold,
            **({} if self._resize is None else {"resize": self._resize}),
        }

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self._masks.names)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the true masks, and of all others."""
        return self._masks.size

    @property
    def at_once(self) -> int:
        """Samples to be in memory together."""
        return self._masks.at_once

    @property
    def resize(self) -> Resize | None:
        """How an output of another size is brought to `size`."""
        return self._resize

    def true(self, rows: Rows) -> NDArray[Any]:
        """The pool's masks of some rows, (n, height, width)."""
        return self._masks.read(rows)

    def true_counts(self, rows: Rows) -> NDArray[np.int64]:
        """Labelled pixels of each class in some rows, (n, classes)."""
        return self._masks.count(rows)

    @property
    def row_bytes(self) -> int:
        """A byte for each pixel, before compression, and the confusion matrix."""
        return int(np.prod(self.size)) + 16 * (self.classes + 1) ** 2

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], rows: Rows, reference: Given | None
    ) -> Mapping[str, Column]:
        """See `Reduction`."""
        found = self.answers(outputs, rows)
        return {each.name: getattr(found, each.name) for each in fields(found)}

    def answers(self, outputs: Mapping[str, NDArray[Any]], rows: Rows) -> MaskAnswers:
        """Answers to a batch; see `Reduction`."""
        given = outputs[self.output]
        true = self._masks.read(rows)
        masks = self._answered(given, true.shape[1:])
        classes = self.classes
        found = []
        for own, mask in zip(true, masks, strict=True):
            kept = self._masks.labelled(own)
            found.append(count_pairs(own[kept], mask[kept], classes))
        counts = np.array([len(each.pair) for each in found], dtype=np.int64)
        none = np.zeros(0, dtype=np.int64)
        infinite = infinities(given)
        return MaskAnswers(
            pair=Ragged(np.concatenate([none, *(each.pair for each in found)]), counts),
            pixels=Ragged(np.concatenate([none, *(each.pixels for each in found)]), counts),
            mask=masks,
            broken=_not_numbers(given),
            infinite=np.zeros(len(rows), np.uint64) if infinite is None else infinite,
        )

    def _answered(self, given: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
        """The class of each pixel, (b, height, width); the number of classes: none."""
        classes = self.classes
        dtype = np.uint8 if classes < 256 else np.uint16
        flat = given[:, 0] if given.ndim == 4 and given.shape[1] == 1 else given
        if given.ndim == 4 and given.shape[1] != 1 and given.shape[3] == 1:
            flat = given[..., 0]
        if flat.ndim == 3 and (flat.shape[1:] == size or self._resize is not None):
            return self._of_one_channel(flat, classes, size).astype(dtype)
        for axis, rest in ((1, given.shape[2:]), (3, given.shape[1:3])):
            if given.ndim != 4 or given.shape[axis] != classes:
                continue
            if rest == size:
                return np.asarray(given.argmax(axis=axis).astype(dtype))
            if self._resize is not None:
                return best_class(np.moveaxis(given, axis, 1), size, self._resize).astype(dtype)
        raise SettingsError(
            f"the output {self.output} has shape {given.shape}, expected (n, "
            f"{classes}, {size[0]}, {size[1]}) for the masks of {self._masks.target}, or "
            f"(n, {size[0]}, {size[1]})",
            where=self._where,
            next_step=OF_ANOTHER_SIZE,
        )

    def _of_one_channel(
        self, flat: NDArray[Any], classes: int, size: tuple[int, ...]
    ) -> NDArray[Any]:
        if self._threshold is not None:
            return resized(flat, size, self._resize) > self._threshold
        whole = flat if flat.dtype.kind in "iub" else np.nan_to_num(np.rint(flat))
        if flat.dtype.kind == "f" and (np.abs(whole - np.nan_to_num(flat)) > 1e-6).any():
            raise SettingsError(
                f"the output {self.output} has one channel, which holds no class numbers",
                where=self._where,
                next_step="Write threshold = 0.0 for logits, or 0.5 for probabilities.",
            )
        if flat.shape[1:] != size and self._resize == "bilinear":
            raise SettingsError(
                f"the output {self.output} holds class numbers, which can't be averaged",
                where=f"{self._where}.resize",
                next_step='Write resize = "nearest".',
            )
        whole = resized(whole, size, "nearest")
        return np.where((whole >= 0) & (whole < classes), whole, classes)


def _not_numbers(given: NDArray[Any]) -> NDArray[np.bool_]:
    if given.dtype.kind != "f":
        return np.zeros(len(given), dtype=bool)
    return np.asarray(np.isnan(given).reshape(len(given), -1).any(axis=1))


@dataclass(frozen=True, eq=False, slots=True)
class MaskReader:
    """Reads answers back, and counts what they share with FP32's masks."""

    reduction: MaskReduction
    rows: Rows
    """Pool row of each unit."""

    def __call__(self, given: Given, reference: Given, units: Rows) -> NDArray[Any]:
        """`Confused` of each unit; None where its output, or FP32's, can't be judged."""
        found = np.empty(len(units), dtype=object)
        rows = self.rows[units]
        for at, one in enumerate(self._each(given, reference, rows)):
            found[at] = one
        return found

    def masks(self, given: Given, units: Rows) -> NDArray[Any] | None:
        """Classes of the pixels of some units, (u, height, width); another number: none.

        None where only counts were given.
        """
        return self._read(given, self.rows[units]).mask

    def true_masks(self, units: Rows) -> NDArray[Any]:
        """The same, of the true masks; the ignored number stays."""
        return self.reduction.true(self.rows[units])

    def _each(self, given: Given, reference: Given, rows: Rows) -> Iterator[Confused | None]:
        for piece in batches(rows, self.reduction.at_once):
            own = self._read(given, piece)
            theirs = own if reference is given else self._read(reference, piece)
            ends = own.pair.offsets
            for at in range(len(piece)):
                span = slice(ends[at], ends[at + 1])
                counts = Counts(own.pair.values[span], own.pixels.values[span])
                shared = self._shared(theirs.mask, own.mask, at)
                broken = own.broken[at] or own.infinite[at] != theirs.infinite[at]
                yield None if broken else Confused(counts, shared)

    def _shared(self, theirs: NDArray[Any] | None, own: NDArray[Any] | None, at: int) -> Counts:
        """What one sample's masks have in common; nothing where counts were given."""
        if theirs is None or own is None:
            return Counts(np.zeros(0, np.int64), np.zeros(0, np.int64))
        return count_pairs(theirs[at], own[at], self.reduction.classes)

    def _read(self, given: Given, rows: Rows) -> MaskAnswers:
        """Answers that were kept, or those to the outputs."""
        one = self.reduction
        if one.name not in given.answers:
            return one.answers({one.output: given.read(one.output, rows)}, rows)
        pair, pixels = (given.read_ragged(one.name, each, rows) for each in ("pair", "pixels"))
        broken, infinite = (
            given.read_answers(one.name, each, rows) for each in ("broken", "infinite")
        )
        has = "mask" in given.answers[one.name]
        mask = given.read_answers(one.name, "mask", rows) if has else None
        return MaskAnswers(pair, pixels, mask, broken, infinite)
