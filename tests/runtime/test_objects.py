"""Objects of images: put together, taken apart, joined."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import PoolError
from calaudit.runtime.objects import Objects, join_objects


def made(counts: list[int], seed: int = 0) -> Objects:
    """Images with so many objects each, with a column of numbers and one of text."""
    random = np.random.default_rng(seed)
    corners = [random.uniform(0, 50, (n, 2)) for n in counts]
    boxes = [np.hstack([low, low + random.uniform(0, 20, low.shape)]) for low in corners]
    return Objects.from_images(
        boxes,
        [random.integers(0, 3, n) for n in counts],
        classes=["a", "b", "c"],
        crowd=[random.random(n) < 0.2 for n in counts],
        unit_area=random.uniform(1, 4, len(counts)),
        columns={
            "blur": [random.random(n) for n in counts],
            "pose": [np.array(["left", ""])[random.integers(0, 2, n)] for n in counts],
        },
    )


def per_image(objects: Objects) -> list[Any]:
    """Everything known of each image, for comparison."""
    parts = [objects.boxes, objects.label, objects.crowd, objects.area, *objects.columns.values()]
    spans = zip(objects.offsets[:-1], objects.offsets[1:], objects.unit_area, strict=True)
    return [(*(part[a:b].tolist() for part in parts), unit) for a, b, unit in spans]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_taking_images_takes_what_belongs_to_them(counts: list[int], data: st.DataObject) -> None:
    objects = made(counts)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=6))
    taken = objects.take(np.array(rows, np.int64))
    known = per_image(objects)
    assert per_image(taken) == [known[row] for row in rows]
    assert len(taken) == len(rows)
    assert taken.image.tolist() == np.repeat(np.arange(len(rows)), taken.counts).tolist()


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=3))
def test_joined_pieces_hold_the_images_in_order(counts: list[list[int]]) -> None:
    pieces = [made(each, seed) for seed, each in enumerate(counts)]
    joined = join_objects(pieces)
    assert per_image(joined) == [image for piece in pieces for image in per_image(piece)]


def test_areas_are_those_of_the_image_as_annotated() -> None:
    objects = Objects.from_images(
        [[[0, 0, 4, 5]], [[1, 1, 3, 2], [0, 0, 1, 1]]],
        [[0], [0, 0]],
        classes=["a"],
        unit_area=[4.0, 0.5],
    )
    assert objects.area.tolist() == [80.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"boxes": [[[1, 2, 3]]], "label": [[0]]}, "image 0: boxes have shape (1, 3)"),
        ({"boxes": [[], [[0, 0, 1, 1]]], "label": [[], []]}, "image 1: label has (0,) for 1 boxes"),
        ({"boxes": [[]], "label": [[], []]}, "image 1: label has (0,) for no image"),
        ({"boxes": [[], []], "label": [[]]}, "image 1: label has nothing for 0 boxes"),
    ],
)
def test_parts_that_do_not_fit_are_told_with_their_image(given: Any, said: str) -> None:
    with pytest.raises(PoolError) as caught:
        Objects.from_images(**given, classes=["a"])
    assert said in str(caught.value)
