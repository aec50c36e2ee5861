"""What predictions are judged against: labels, values, texts, masks, or relevance of items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import PoolError
from calaudit.runtime.objects import Objects
from calaudit.runtime.words import counted


class Truth(Protocol):
    """What answers are judged against: one row per unit. A kind of task may bring its own class."""

    what: ClassVar[str]
    """In the plural, for messages: ``"labels"``."""
    where_from: ClassVar[str]
    """What to do where a metric needs it, and there is none."""

    def __len__(self) -> int: ...

    @property
    def target(self) -> NDArray[Any]:
        """(n, …) as functions are given it that ask for `target`."""
        ...

    def take(self, rows: NDArray[np.int64]) -> "Truth":
        """The units at `rows`, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class Labels:
    """Class of each sample."""

    what: ClassVar[str] = "labels"
    where_from: ClassVar[str] = "Name the pool's label target, or choose a metric without labels."

    label: NDArray[np.int64]
    """(n,), class numbers from 0."""

    def __post_init__(self) -> None:
        label = np.asarray(self.label)
        if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer):
            raise PoolError(
                f"labels are {label.dtype} of shape {label.shape}, "
                "expected one integer class per sample",
                next_step="Store class numbers from 0, or use another kind of task.",
            )
        object.__setattr__(self, "label", label.astype(np.int64, copy=False))

    @property
    def target(self) -> NDArray[np.int64]:
        """`label`."""
        return self.label

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64]) -> "Labels":
        """The samples at `rows`, in their order."""
        return Labels(self.label[rows])


@dataclass(frozen=True, eq=False)
class Values:
    """What a regression should have given for each sample."""

    what: ClassVar[str] = "values to predict"
    where_from: ClassVar[str] = "Use a regression task, which names the pool's target."

    value: NDArray[np.float64]
    """(n, …), finite."""
    center: NDArray[np.float64] | None = None
    """(…), a value near their mean, from which sums of squares are taken; batches share it."""

    def __post_init__(self) -> None:
        value = np.asarray(self.value)
        if value.ndim == 0 or value.dtype.kind not in "biuf":
            raise PoolError(
                f"values are {value.dtype} of shape {value.shape}, expected numbers per sample"
            )
        value = value.astype(np.float64)
        if not np.isfinite(value).all():
            row = int(np.argmin(np.isfinite(value).reshape(len(value), -1).all(axis=1)))
            raise PoolError(
                f"values hold NaN or infinity, first at position {row}",
                next_step="Fix them, or leave these samples out of the evaluation.",
            )
        if self.center is None:
            center = value.mean(axis=0) if len(value) else np.zeros(value.shape[1:])
            object.__setattr__(self, "center", np.asarray(center))
        object.__setattr__(self, "value", value)

    @property
    def target(self) -> NDArray[np.float64]:
        """`value`."""
        return self.value

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: NDArray[np.int64]) -> "Values":
        """The samples at `rows`, in their order."""
        return Values(self.value[rows], self.center)


@dataclass(frozen=True, eq=False)
class Texts:
    """What a sequence model should have written for each sample."""

    what: ClassVar[str] = "texts"
    where_from: ClassVar[str] = "Use a sequence task, which names the pool's text target."

    text: NDArray[np.str_]
    """(n,)"""

    def __post_init__(self) -> None:
        text = np.asarray(self.text)
        if text.ndim != 1 or text.dtype.kind not in "UTO":
            raise PoolError(
                f"texts are {text.dtype} of shape {text.shape}, expected one text per sample"
            )
        object.__setattr__(self, "text", text.astype(np.str_))

    @property
    def target(self) -> NDArray[np.str_]:
        """`text`."""
        return self.text

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """The samples at `rows`, in their order."""
        return Texts(self.text[rows])


@dataclass(frozen=True, eq=False)
class ObjectTruth:
    """The objects of each image."""

    what: ClassVar[str] = "boxes of objects"
    where_from: ClassVar[str] = "Use a detection task, which names the pool's target of boxes."

    objects: Objects
    """Of n images."""
    working_score: float = 0.25
    """The score that a box needs where the detector is used."""
    working_iou: float = 0.5
    """Intersection over union from which on a box finds an object there."""

    @property
    def target(self) -> NDArray[Any]:
        """(n,) objects of `Objects`, each of one image."""
        found = np.empty(len(self), dtype=object)
        found[:] = [self.objects.take(np.array([image])) for image in range(len(self))]
        return found

    def __len__(self) -> int:
        return len(self.objects)

    def take(self, rows: NDArray[np.int64]) -> "ObjectTruth":
        """The images at `rows`, in their order."""
        return replace(self, objects=self.objects.take(rows))


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """Objects that are judged one by one."""

    what: ClassVar[str] = "objects one by one"
    where_from: ClassVar[str] = "Use a detection task, which names the pool's target of boxes."

    label: NDArray[np.int64]
    """(u,) class of each."""

    @property
    def target(self) -> NDArray[np.int64]:
        """`label`."""
        return self.label

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64]) -> "TrueObjects":
        """The objects at `rows`, in their order."""
        return TrueObjects(self.label[rows])


@dataclass(frozen=True, eq=False)
class Masks:
    """Class of each pixel of every sample, as numbers of pixels; the masks stay in the pool."""

    what: ClassVar[str] = "masks"
    where_from: ClassVar[str] = "Use a segmentation task, which names the pool's masks."

    pixels: NDArray[np.int64]
    """(n, classes) pixels of each class; those that are ignored belong to none."""
    classes: tuple[str, ...]
    """Names of the classes."""

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.ndim != 2 or pixels.shape[1] != len(self.classes):
            raise PoolError(
                f"pixels have shape {pixels.shape}, expected a number for each of "
                f"{counted(len(self.classes), 'class', 'classes')}"
            )
        object.__setattr__(self, "pixels", pixels.astype(np.int64, copy=False))

    @property
    def target(self) -> NDArray[np.int64]:
        """`pixels`."""
        return self.pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.int64]) -> "Masks":
        """The samples at `rows`, in their order."""
        return Masks(self.pixels[rows], self.classes)


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance of every catalogue item to every query, and what is known of the items.

    Items excluded for a query are never shown to it, and their relevance is disregarded there.
    """

    what: ClassVar[str] = "relevance"
    where_from: ClassVar[str] = (
        "Use a ranking pool (targets/relevance), or a classification metric."
    )
    relevance: NDArray[Any]
    """(queries, items), numbers ≥ 0; 0 is irrelevant."""
    exclude: NDArray[np.bool_] | None = None
    """(queries, items), True where the item must never be shown to the query."""
    popularity: NDArray[np.float64] | None = None
    """(items,), interactions each item had."""
    tail: NDArray[np.bool_] | None = None
    """(items,), True for items of the long tail; see `calaudit.metrics.popularity`."""
    vectors: NDArray[np.float64] | None = None
    """(items, d), what items are like: their cosine is their likeness."""
    genres: NDArray[np.bool_] | None = None
    """(items, genres), True where the item belongs to the genre."""
    history: NDArray[np.bool_] | None = None
    """(queries, items), True where the query's user had dealt with the item before."""

    def __post_init__(self) -> None:
        relevance = np.asarray(self.relevance)
        if relevance.ndim != 2:
            raise PoolError(f"relevance has shape {relevance.shape}, expected (queries, items)")
        check_at_least_0("relevance", relevance)
        for name in ("exclude", "history"):
            marks = getattr(self, name)
            if marks is not None and np.shape(marks) != relevance.shape:
                raise PoolError(f"{name} has shape {np.shape(marks)}, relevance {relevance.shape}")
            if marks is not None:
                object.__setattr__(self, name, np.asarray(marks).astype(bool, copy=False))
        for name in ("popularity", "tail", "vectors", "genres"):
            column = getattr(self, name)
            plain = 1 if name in {"popularity", "tail"} else 2
            if column is not None and (
                np.ndim(column) != plain or len(column) != relevance.shape[1]
            ):
                what = "value" if plain == 1 else "row"
                raise PoolError(
                    f"{name} has shape {np.shape(column)}, "
                    f"expected one {what} for each of the {relevance.shape[1]} items"
                )
        if self.popularity is not None:
            check_at_least_0("popularity", np.asarray(self.popularity))
        if self.vectors is not None and not np.isfinite(self.vectors).all():
            item = int(np.argmin(np.isfinite(self.vectors).all(axis=1)))
            raise PoolError(
                f"vectors hold NaN or infinity, first for item {item}",
                next_step="Fix them, or name another column.",
            )
        object.__setattr__(self, "relevance", relevance)

    @property
    def target(self) -> NDArray[Any]:
        """`relevance`."""
        return self.relevance

    def __len__(self) -> int:
        return len(self.relevance)

    @property
    def n_items(self) -> int:
        """Size of the catalogue: every column, whether or not it is ever eligible."""
        return int(self.relevance.shape[1])

    @cached_property
    def gain(self) -> NDArray[np.float64]:
        """(queries, items) relevance, 0 where excluded."""
        gain = self.relevance.astype(np.float64)
        if self.exclude is not None:
            gain[self.exclude] = 0.0
        return gain

    @cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """(queries,) eligible items with relevance above 0."""
        relevant = self.relevance > 0
        if self.exclude is not None:
            relevant &= ~self.exclude
        return np.asarray(np.count_nonzero(relevant, axis=1), dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> "Relevance":
        """The queries at `rows`, in their order; the catalogue stays whole."""
        exclude = None if self.exclude is None else self.exclude[rows]
        history = None if self.history is None else self.history[rows]
        return replace(self, relevance=self.relevance[rows], exclude=exclude, history=history)


def check_at_least_0(
    what: str,
    numbers: NDArray[Any],
    *,
    query: Callable[[int], object] = int,
    item: Callable[[int], object] = int,
) -> None:
    """Raise `PoolError` unless numbers (queries, items) or (items,) are finite and at least 0.

    `query` and `item` name them by their positions.
    """
    if numbers.size == 0 or numbers.dtype.kind in "bu":
        return
    with np.errstate(invalid="ignore"):
        fine = (numbers >= 0) & (numbers < np.inf) if numbers.dtype.kind == "f" else numbers >= 0
    if not fine.all():
        at = np.unravel_index(int(np.argmin(fine)), fine.shape)
        axes = (("query", query), ("item", item))[-numbers.ndim :]
        place = ", ".join(
            f"{axis} {name(int(i))}" for (axis, name), i in zip(axes, at, strict=True)
        )
        raise PoolError(
            f"{what} holds negative numbers, NaN or infinity: {numbers[at]} for {place}",
            next_step="Fix it: 0 means none, larger numbers more.",
        )


def check_labels(
    label: NDArray[np.int64],
    n_classes: int,
    *,
    where: object = None,
    ids: Callable[[NDArray[np.int64]], Sequence[str]] | None = None,
) -> None:
    """Raise `PoolError` if a label isn't one of the model's classes 0 … n_classes − 1.

    `ids` names the samples at given positions.
    """
    wrong = np.flatnonzero((label < 0) | (label >= n_classes))
    if wrong.size:
        shown = ", ".join(str(value) for value in np.unique(label[wrong])[:5])
        first = f"sample {ids(wrong[:1])[0]}" if ids is not None else f"position {wrong[0]}"
        raise PoolError(
            f"{wrong.size} of {label.size} labels are out of range: {shown} "
            f"(first at {first}); the model scores {counted(n_classes, 'class', 'classes')}, "
            f"0 to {n_classes - 1}",
            where=where,
            next_step="Fix the labels, or evaluate the model that was trained on them.",
        )
