"""COCO's boxes, all at once or one by one: the same boxes and the same complaints."""

from collections import Counter
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.importers import coco_boxes
from calaudit.formats.importers.annotated import Boxes
from calaudit.formats.importers.coco_boxes import Described, read_boxes
from calaudit.runtime.errors import Problem

KNOWN = Described(
    where="a.json",
    images=frozenset({1, 2, "three", 4}),
    sizes={1: (100, 80), 2: (50, 60), "three": (10, 10)},
    classes={7: 0, 9: 1, "cat": 2},
    columns=("score", "kind"),
)
numbers = st.sampled_from([0, 1, 3, 5.5, 20, 49, 51.5, 120])
odd = st.sampled_from([None, True, "x", -1, -0.5, float("nan"), float("inf"), [1], 2.0])
usual = {
    "image_id": st.sampled_from([1, 2, "three", 4]),
    "category_id": st.sampled_from([7, 9, "cat"]),
    "bbox": st.tuples(*[st.sampled_from([0, 0.25, 2, 3.5])] * 4).map(list),
}
told = {
    "id": st.one_of(st.none(), st.integers(0, 10_000), st.text("ab", max_size=6)),
    "area": st.one_of(st.none(), numbers),
    "iscrowd": st.sampled_from([0, 1, True]),
    "score": st.sampled_from([0.5, None, 1]),
    "attributes": st.sampled_from([{"kind": "big"}, {}, None]),
    "segmentation": st.just([]),
}
sound = st.fixed_dictionaries(usual, optional=told)
strange = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.one_of(values, odd) for key, values in {**usual, **told}.items()},
        "bbox": st.one_of(odd, st.lists(st.one_of(numbers, odd), min_size=3, max_size=5)),
    },
)


def one_by_one(annotations: list[dict[str, Any]]) -> tuple[Any, ...]:
    with mock.patch.object(coco_boxes, "_is_sound", return_value=False):
        return read(annotations)


def read(annotations: list[dict[str, Any]]) -> tuple[Any, ...]:
    problems: list[Problem] = []
    seen = Counter[str]()
    boxes = read_boxes(annotations, KNOWN, problems, seen)
    return {image: listed(each) for image, each in boxes.items()}, problems, seen


def listed(boxes: Boxes) -> list[Any]:
    assert boxes.corners.dtype == np.float64
    assert boxes.area.dtype == np.float64
    return [
        boxes.corners.tolist(),
        boxes.label.tolist(),
        boxes.crowd.tolist(),
        str(boxes.area.tolist()),  # NaN is like NaN
        {name: values.tolist() for name, values in boxes.columns.items()},
    ]


@given(st.lists(sound, max_size=6))
def test_sound_annotations_are_read_alike(annotations: list[dict[str, Any]]) -> None:
    assert read(annotations) == one_by_one(annotations)


@given(st.lists(st.one_of(sound, strange), min_size=1, max_size=4))
def test_what_is_wrong_is_found_by_either(annotations: list[dict[str, Any]]) -> None:
    assert read(annotations) == one_by_one(annotations)


def test_most_annotations_are_not_looked_at_one_by_one() -> None:
    annotations = [
        {"id": at, "image_id": 1 + at % 2, "category_id": 7, "bbox": [at, 2, 3.5, 4], "area": 14.0}
        for at in range(40)
    ]
    with mock.patch.object(coco_boxes, "_wrong", side_effect=AssertionError):
        boxes, problems, seen = read(annotations)
    assert problems == []
    assert boxes[2][0] == [[at, 2.0, at + 3.5, 6.0] for at in range(1, 40, 2)]
    assert seen == {"over": 0, "flat": 0, "no_area": 0}
