"""The annotated boxes of a COCO file, each checked."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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


@dataclass(frozen=True, slots=True)
class _Box:
    corners: tuple[float, float, float, float]
    label: int
    crowd: bool
    area: float
    columns: Mapping[str, Scalar]


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
    boxes: dict[Key, list[_Box]] = {}
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
        if image is None or image not in described.sizes:
            continue  # which is told of already
        box = _read(each, described)
        boxes.setdefault(image, []).append(box)
        x1, y1, x2, y2 = box.corners
        width, height = described.sizes[image]
        seen["over"] += min(x1, y1, width - x2, height - y2) < -_MARGIN
        seen["flat"] += x1 == x2 or y1 == y2
        seen["no_area"] += math.isnan(box.area)
    return {image: _joined(found, described.columns) for image, found in boxes.items()}


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


def _read(each: Mapping[str, Any], described: Described) -> _Box:
    x, y, width, height = map(float, each["bbox"])
    area = each.get("area")
    return _Box(
        (x, y, x + width, y + height),
        described.classes[each["category_id"]],
        bool(each.get("iscrowd", 0)),
        math.nan if area is None else float(area),
        columns_of(each),
    )


def _joined(found: Sequence[_Box], columns: Sequence[str]) -> Boxes:
    return Boxes(
        np.array([box.corners for box in found], np.float64),
        np.array([box.label for box in found], np.int64),
        np.array([box.crowd for box in found], np.bool_),
        np.array([box.area for box in found], np.float64),
        {name: as_objects([box.columns.get(name) for box in found]) for name in columns},
    )


def number_of(entry: Mapping[str, Any], key: str) -> Key | None:
    """A number of COCO's; None where it is missing or none."""
    value = entry.get(key)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def columns_of(annotation: Mapping[str, Any]) -> dict[str, Scalar]:
    """What is said of an object beside COCO's keys; CVAT has it in a table of its own."""
    own = {key: value for key, value in annotation.items() if key not in _OF_BOX}
    given = annotation.get("attributes")
    told = {**own, **(given if isinstance(given, dict) else {})}
    return {key: value for key, value in told.items() if is_scalar(value)}


def is_scalar(value: Any) -> bool:
    """Whether a value of JSON makes an entry of a column."""
    return value is None or isinstance(value, str | int | float | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
