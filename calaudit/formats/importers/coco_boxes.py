"""The annotated boxes of a COCO file, each checked."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.importers.annotated import Boxes, as_objects
from calaudit.formats.importers.samples import Scalar
from calaudit.runtime.errors import Problem

_OF_BOX = frozenset({
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints",
    "num_keypoints", "attributes", "caption",
})  # fmt: skip
"""Keys of an annotation that aren't columns of their own."""
_MARGIN = 1.0
"""Pixels by which boxes may leave their image without a word: coordinates are rounded."""
_STEP = "COCO's boxes are [x, y, width, height] in pixels of the image; fix or remove it."

Key = int | str
"""COCO's number of an image or category; some tools write text."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a file says of the images and classes that its annotations name."""

    where: str
    """The file."""
    images: frozenset[Key | None]
    """All that it lists."""
    sizes: Mapping[Key, tuple[int, int]]
    """Width and height in pixels of those that can be used."""
    classes: Mapping[Key, int]
    """Category → class."""
    columns: tuple[str, ...]
    """What annotations say beside COCO's keys."""


def read_boxes(
    annotations: Sequence[Mapping[str, Any]],
    described: Described,
    problems: list[Problem],
    seen: Counter[str],
) -> dict[Key, Boxes]:
    """Boxes by image.

    Parameters
    ----------
    annotations : sequence of mappings
    described : Described
    problems : list of Problem
        Takes what is wrong.
    seen : Counter
        Counts what is odd: boxes ``over`` their image's edge, ``flat`` ones, and those with
        ``no_area``.
    """
    usable = [
        each
        for each in _checked(annotations, described, problems)
        if each["image_id"] in described.sizes  # which is told of otherwise
    ]
    starts, lengths = _halves([each["bbox"] for each in usable])
    corners = np.hstack([starts, starts + lengths])
    area = np.array([each.get("area") for each in usable], np.float64)  # None becomes NaN
    boxes = Boxes(
        corners,
        np.array([described.classes[each["category_id"]] for each in usable], np.int64),
        np.array([bool(each.get("iscrowd", 0)) for each in usable], np.bool_),
        area,
        _columns(usable, described.columns),
    )
    sizes = np.array([described.sizes[each["image_id"]] for each in usable]).reshape(-1, 2)
    over = (corners[:, :2] < -_MARGIN) | (sizes - corners[:, 2:] < -_MARGIN)
    seen["over"] += int(over.any(axis=1).sum())
    seen["flat"] += int((starts == corners[:, 2:]).any(axis=1).sum())
    seen["no_area"] += int(np.isnan(area).sum())
    return dict(_by_image(boxes, [each["image_id"] for each in usable]))


def _by_image(boxes: Boxes, images: Sequence[Key]) -> Iterator[tuple[Key, Boxes]]:
    """The boxes of each image, in their order."""
    rows: dict[Key, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        rows[image].append(row)
    for image, own in rows.items():
        yield (
            image,
            Boxes(
                boxes.corners[own],
                boxes.label[own],
                boxes.crowd[own],
                boxes.area[own],
                {name: values[own] for name, values in boxes.columns.items()},
            ),
        )


def _halves(boxes: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left upper corners (k, 2), and widths and heights (k, 2)."""
    both = np.array(boxes, np.float64).reshape(-1, 4)
    return both[:, :2], both[:, 2:]


def _columns(
    annotations: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, NDArray[np.object_]]:
    if not names:
        return {}
    told = [columns_of(each) for each in annotations]
    return {name: as_objects([each.get(name) for each in told]) for name in names}


def _checked(
    annotations: Sequence[Mapping[str, Any]], described: Described, problems: list[Problem]
) -> Sequence[Mapping[str, Any]]:
    """Annotations that nothing is wrong with."""
    if _is_sound(annotations, described):
        return annotations
    right: list[Mapping[str, Any]] = []
    ids: set[Key] = set()
    for at, each in enumerate(annotations):
        image, own = number_of(each, "image_id"), number_of(each, "id")
        wrong = next(_wrong(each, described, ids), None)
        if wrong is not None:
            name = f"at place {at}" if own is None else own
            where = f"{described.where}: annotation {name} (image {image})"
            problems.append(Problem(wrong[0], where, wrong[1]))
            continue
        if own is not None:
            ids.add(own)
        right.append(each)
    return right


def _is_sound(annotations: Sequence[Mapping[str, Any]], described: Described) -> bool:
    """Whether nothing is wrong with any of the annotations: `_wrong` of all of them at once.

    Whatever is unusual is taken for wrong, and looked at one by one.
    """
    read: Iterator[list[Any]] = (
        [each.get(key) for each in annotations]
        for key in ("image_id", "category_id", "id", "bbox", "area")
    )
    images, categories, ids, boxes, areas = read
    ids = [each for each in ids if each is not None]
    if not (
        {*map(type, images), *map(type, categories), *map(type, ids)} <= {int, str}
        and described.images.issuperset(images)
        and described.classes.keys() >= set(categories)
        and len(set(ids)) == len(ids)
        and {*map(type, boxes)} <= {list}
        and {*map(len, boxes)} <= {4}
        and {*map(type, chain.from_iterable(boxes))} <= {int, float}
        and {*map(type, areas)} <= {int, float, NoneType}
    ):
        return False
    starts, lengths = _halves(boxes)
    sizes = np.array([described.sizes.get(image, (0, 0)) for image in images]).reshape(-1, 2)
    outside = ((starts > sizes) | (starts + lengths < 0)).any(axis=1) & (sizes[:, 0] > 0)
    told = np.array([0 if area is None else area for area in areas], np.float64)
    return bool(
        np.isfinite(starts).all()
        and np.isfinite(lengths).all()
        and (lengths >= 0).all()
        and not outside.any()
        and (np.isfinite(told) & (told >= 0)).all()
    )


def _wrong(
    each: Mapping[str, Any], described: Described, ids: set[Key]
) -> Iterator[tuple[str, str]]:
    """What is wrong with an annotation, and what to do."""
    image, category, own = (number_of(each, key) for key in ("image_id", "category_id", "id"))
    box, area = each.get("bbox"), each.get("area")
    if image is None or image not in described.images:
        yield "there is no such image", "Take it out, or list its image."
    if category is None or category not in described.classes:
        yield f"there is no category {each.get('category_id')!r}", "List it in categories."
    if own in ids:
        yield "an annotation before it has the same id", "Give each its own."
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        yield f"bbox is {json.dumps(box)}", _STEP
        return
    x, y, across, down = map(float, box)
    if across < 0 or down < 0:
        yield f"bbox {box} has a negative size", _STEP
    width, height = described.sizes.get(image or 0, (0, 0))
    if width and (x > width or y > height or x + across < 0 or y + down < 0):
        yield f"bbox {box} lies outside of its image of {width} × {height} pixels", _STEP
    if area is not None and not (_is_number(area) and area >= 0):
        yield f"area is {json.dumps(area)}", "Give pixels², or leave it out."


def number_of(entry: Mapping[str, Any], key: str) -> Key | None:
    """A number of COCO's; None where it is missing or none."""
    value = entry.get(key)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def columns_of(annotation: Mapping[str, Any]) -> dict[str, Scalar]:
    """What is said of an object beside COCO's keys; CVAT has it in a table of its own."""
    given = annotation.get("attributes")
    if given is None and annotation.keys() <= _OF_BOX:
        return {}
    own = {key: value for key, value in annotation.items() if key not in _OF_BOX}
    told = {**own, **(given if isinstance(given, dict) else {})}
    return {key: value for key, value in told.items() if is_scalar(value)}


def is_scalar(value: Any) -> bool:
    """Whether a value of JSON makes an entry of a column."""
    return value is None or isinstance(value, str | int | float | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
