"""Annotated objects of images: boxes with their classes, as many per image as there are.

Boxes of all images lie in one array, one image's after the other's; offsets say where each image
begins. An image without objects is an image: it takes no place in the arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.runtime.errors import PoolError

_STEP = "Give each image's boxes as (objects, 4): x1, y1, x2, y2 in pixels of the model's input."


@dataclass(frozen=True, slots=True)
class Objects:
    """The annotated objects of n images, m in all."""

    offsets: NDArray[np.int64]
    """(n + 1,); image i has the objects offsets[i] to offsets[i + 1]."""
    boxes: NDArray[np.float64]
    """(m, 4) x1, y1, x2, y2 in pixels of the model's input."""
    label: NDArray[np.int64]
    """(m,) place among `classes`."""
    crowd: NDArray[np.bool_]
    """(m,) whether the box is a crowd of objects (COCO's iscrowd), of which none can be missed."""
    area: NDArray[np.float64]
    """(m,) in pixels² of the image as annotated. COCO's area, which may be that of a mask."""
    unit_area: NDArray[np.float64]
    """(n,) annotated pixels² for each pixel² of the model's input: what areas of predicted boxes
    are multiplied by, where they are compared with COCO's areas."""
    classes: tuple[str, ...]
    """Names, in the order of the model's outputs."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else is known of each object: name → (m,) numbers, with NaN for a missing one, or text,
    with ``""`` for a missing one."""

    def __len__(self) -> int:
        """Number of images n."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) objects of each image."""
        return np.diff(self.offsets)

    @property
    def image(self) -> NDArray[np.int64]:
        """(m,) the image, from 0, that each object is in."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.counts)

    def take(self, images: NDArray[np.integer]) -> "Objects":
        """Some images with their objects.

        Parameters
        ----------
        images : int array (k,)
            In any order; one that is there twice is taken twice.
        """
        starts = self.offsets[images]
        counts = self.offsets[np.asarray(images) + 1] - starts
        offsets = offsets_of(counts)
        at = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        return Objects(
            offsets=offsets,
            boxes=self.boxes[at],
            label=self.label[at],
            crowd=self.crowd[at],
            area=self.area[at],
            unit_area=self.unit_area[images],
            classes=self.classes,
            columns={name: values[at] for name, values in self.columns.items()},
        )

    @classmethod
    def from_images(
        cls,
        boxes: Sequence[ArrayLike],
        label: Sequence[ArrayLike],
        *,
        classes: Sequence[str],
        crowd: Sequence[ArrayLike] | None = None,
        area: Sequence[ArrayLike] | None = None,
        unit_area: ArrayLike = 1.0,
        columns: Mapping[str, Sequence[ArrayLike]] | None = None,
    ) -> "Objects":
        """Put together what is known image by image.

        Parameters
        ----------
        boxes : sequence of (k, 4)
            Of each image: x1, y1, x2, y2 in pixels of the model's input; ``[]`` without objects.
        label : sequence of (k,)
            Of each image: class numbers from 0.
        classes : sequence of str
            Names, in the order of the model's outputs.
        crowd : sequence of (k,), optional
            False by default.
        area : sequence of (k,), optional
            In pixels² of the image as annotated; by default the boxes' own, by `unit_area`.
        unit_area : (n,) or one for all
            Annotated pixels² for each pixel² of the model's input; 1 where images aren't resized.
        columns : mapping, optional
            Name → for each image (k,) numbers or texts.

        Raises
        ------
        PoolError
            Numbers of objects that differ, or boxes of another shape.

        Examples
        --------
        >>> cells = Objects.from_images(
        ...     [[[10, 20, 30, 40]], []], [[1], []], classes=["red", "white"]
        ... )
        >>> len(cells), cells.counts.tolist(), cells.area.tolist()
        (2, [1, 0], [400.0])
        """
        pieces = [np.asarray(each, np.float64) for each in boxes]
        pieces = [each.reshape(0, 4) if each.size == 0 else each for each in pieces]
        for at, each in enumerate(pieces):
            if each.ndim != 2 or each.shape[1] != 4:
                raise PoolError(
                    f"boxes have shape {each.shape}", where=f"image {at}", next_step=_STEP
                )
        counts = np.array([len(each) for each in pieces], np.int64)
        flat = np.concatenate([np.empty((0, 4)), *pieces])
        scale = np.broadcast_to(np.asarray(unit_area, np.float64), counts.shape).copy()
        own = (flat[:, 2] - flat[:, 0]) * (flat[:, 3] - flat[:, 1]) * np.repeat(scale, counts)
        return cls(
            offsets=offsets_of(counts),
            boxes=flat,
            label=_joined("label", label, counts).astype(np.int64),
            crowd=np.zeros(len(flat), np.bool_)
            if crowd is None
            else _joined("crowd", crowd, counts).astype(np.bool_),
            area=own if area is None else _joined("area", area, counts).astype(np.float64),
            unit_area=scale,
            classes=tuple(classes),
            columns={
                name: _joined(name, values, counts) for name, values in (columns or {}).items()
            },
        )


def offsets_of(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n + 1,) where each image's objects begin, from how many each has (n,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def join_objects(pieces: Sequence[Objects]) -> Objects:
    """The images of all pieces, one piece after the other; they know the same classes and columns.

    Parameters
    ----------
    pieces : sequence of Objects
        At least one.
    """
    first = pieces[0]
    return Objects(
        offsets=offsets_of(np.concatenate([each.counts for each in pieces])),
        boxes=np.concatenate([each.boxes for each in pieces]),
        label=np.concatenate([each.label for each in pieces]),
        crowd=np.concatenate([each.crowd for each in pieces]),
        area=np.concatenate([each.area for each in pieces]),
        unit_area=np.concatenate([each.unit_area for each in pieces]),
        classes=first.classes,
        columns={
            name: _concatenated([each.columns[name] for each in pieces]) for name in first.columns
        },
    )


def _joined(name: str, values: Sequence[ArrayLike], counts: NDArray[np.int64]) -> NDArray[Any]:
    pieces = [np.asarray(each) for each in values]
    shapes = [each.shape for each in pieces]
    if shapes != [(int(n),) for n in counts]:
        at = next(
            (i for i, (got, n) in enumerate(zip(shapes, counts, strict=False)) if got != (int(n),)),
            min(len(shapes), len(counts)),
        )
        got = shapes[at] if at < len(shapes) else "nothing"
        wanted = f"{counts[at]} boxes" if at < len(counts) else "no image"
        raise PoolError(
            f"{name} has {got} for {wanted}",
            where=f"image {at}",
            next_step=f"Give one {name} per box of each image.",
        )
    return _concatenated(pieces)


def _concatenated(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One column; pieces without objects say nothing of its type."""
    filled = [each for each in pieces if each.size]
    return np.concatenate(filled) if filled else np.empty(0, np.float64)
