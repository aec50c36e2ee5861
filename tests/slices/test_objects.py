"""Slices of objects: by class, size and columns of their own, and by what their images are in."""

import numpy as np
import pytest

from calaudit.runtime.errors import SliceError
from calaudit.runtime.objects import Objects
from calaudit.runtime.pool import Rows
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.objects import size_names, slice_pool, split_dimensions
from tests.slices.memory_pool import MemoryPool

CLASSES = ("red", "white", "platelet")


class ObjectPool(MemoryPool):
    """Three images: two objects and a crowd, none, three."""

    def __init__(self) -> None:
        super().__init__(light=["clean", "clean", "dark"], site=["a", "b", None])
        self.held = Objects.from_images(
            [
                [[0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 90, 90]],
                [],
                [[0, 0, 100, 100], [0, 0, 20, 20], [5, 5, 9, 9]],
            ],
            [[0, 2, 0], [], [1, 2, 2]],
            classes=CLASSES,
            crowd=[[False, False, True], [], [False, False, False]],
            columns={
                "occluded": [[0.5, np.nan, 1.0], [], [0.0, 0.5, 0.5]],
                "by": [["ann", "", "ann"], [], ["bob", "ann", "bob"]],
            },
        )

    def read_objects(self, name: str, rows: Rows) -> Objects:
        assert name == "boxes"
        return self.held.take(rows)


def slices_over(*dimensions: Dimension, rows: tuple[int, ...] = (0, 1, 2)):
    sliced = slice_pool(dimensions, ObjectPool(), where="slices")
    return sliced.over("boxes", np.array(rows, np.int64))


def members(slices, name: str) -> list[int]:
    return slices.rows(name).tolist()


def test_crowds_are_no_units_and_images_without_objects_have_none():
    slices = slices_over()
    assert slices.n_rows == 5
    assert slices_over(rows=(1,)).n_rows == 0


def test_class_size_and_columns_of_annotations_make_slices_of_objects():
    slices = slices_over(
        Dimension(by="object.class"),
        Dimension(by="object.size", name="size"),
        Dimension(by="object.per_image", edges=[3]),
        Dimension(by="object.occluded"),
        Dimension(by="object.by", missing="drop"),
    )
    assert members(slices, "object.class = red") == [0]
    assert members(slices, "object.class = platelet") == [1, 3, 4]
    assert members(slices, "size = small") == [0, 3, 4]
    assert members(slices, "size = medium") == [1]
    assert members(slices, "size = large") == [2]
    assert members(slices, "object.per_image < 3") == [0, 1]
    assert members(slices, "object.per_image ≥ 3") == [2, 3, 4]
    assert members(slices, "object.occluded missing") == [1]
    assert members(slices, "object.by = bob") == [2, 4]


def test_what_images_are_in_holds_for_their_objects_and_crosses_with_theirs():
    slices = slices_over(
        Dimension(by="object.class", name="class"),
        Dimension(by="light"),
        Dimension(by="site"),
        Dimension(cross=("class", "light")),
    )
    assert members(slices, "light = dark") == [2, 3, 4]
    assert members(slices, "site missing") == [2, 3, 4]
    assert slices.counts()["site = b"] == 0
    assert members(slices, "class = platelet & light = clean") == [1]
    assert members(slices, "class = platelet & light = dark") == [3, 4]


def test_a_predicate_reads_both_with_or_without_quotes():
    slices = slices_over(
        Dimension(name="one", where="object.class = 'platelet' and light = 'dark'"),
        Dimension(name="other", where="\"object.class\" = 'red' or object.area > 9000"),
        Dimension(name="text", where="light <> 'object.class' and object.size = 'small'"),
    )
    assert members(slices, "one") == [3, 4]
    assert members(slices, "other") == [0, 2]
    assert members(slices, "text") == [0, 3, 4]


def test_bins_and_tails_are_of_all_objects_whichever_are_judged():
    tail = Dimension(by="object.class", name="class", tail=(0.5,))
    every = slices_over(tail, Dimension(by="object.area", quantiles=2))
    part = slices_over(tail, Dimension(by="object.area", quantiles=2), rows=(0, 1))
    assert members(every, "class in head") == [1, 3, 4]
    assert members(part, "class in head") == [1]
    assert part.names == every.names


def test_sizes_are_cocos():
    area = np.array([0, 32**2 - 1, 32**2, 96**2 - 1, 96**2, 1e9])
    assert size_names(area).tolist() == ["small"] * 2 + ["medium"] * 2 + ["large"] * 2


def test_dimensions_are_parted_by_what_they_read():
    dimensions = (
        Dimension(by="light"),
        Dimension(by="object.class"),
        Dimension(name="p", where="object.area < 5"),
        Dimension(name="q", where="light = 'object.area'"),
        Dimension(cross=("light", "object.class")),
        Dimension(by="rank", tail=(0.5,), count="object.area"),
    )
    of_samples, of_objects = split_dimensions(dimensions, ["light"])
    assert [each.title for each in of_samples] == ["light", "q"]
    assert [each.title for each in of_objects] == [
        "object.class", "p", "light & object.class", "rank",
    ]  # fmt: skip
    of_samples, _ = split_dimensions(dimensions, ["light", "object.class"])
    assert "object.class" in [each.title for each in of_samples]


def test_an_unknown_column_gets_the_near_ones_of_both():
    with pytest.raises(SliceError, match=r'no column "object\.clas"') as error:
        slices_over(Dimension(by="object.clas"))
    assert "object.class" in (error.value.problems[0].next_step or "")
    with pytest.raises(SliceError, match='no column "lite"') as error:
        slices_over(Dimension(name="p", where="object.area > 3 and lite = 'x'"))
    assert "light" in (error.value.problems[0].next_step or "")


def test_samples_are_sliced_as_without_objects():
    dimensions = (Dimension(by="light"), Dimension(by="object.class"))
    sliced = slice_pool(dimensions, ObjectPool(), where="slices")
    alone = evaluate_slices(dimensions[:1], ObjectPool())
    assert sliced.samples.counts() == alone.counts()
    assert sliced.of_samples == dimensions[:1]
    assert sliced.of_objects == dimensions[1:]
