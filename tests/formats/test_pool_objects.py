"""Objects and masks in pools: written, read, checked, and pools of older versions beside them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import PoolWriter, write_pool
from calaudit.runtime.errors import PoolError
from calaudit.runtime.objects import Objects, join_objects
from tests.formats.pools import write_by_hand
from tests.runtime.test_objects import made, per_image

COUNTS = [2, 0, 3, 1, 0]


def images(n: int) -> dict[str, Any]:
    return {"x": np.zeros((n, 3, 4, 4), np.float32)}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A pool of five images, of which two have no objects, written in two batches."""
    path = tmp_path / "p.h5"
    whole, lights = made(COUNTS), ["a", "a", "a", "b", "b"]
    with PoolWriter(path) as pool:
        for start, stop in ((0, 2), (2, 5)):
            objects = whole.take(np.arange(start, stop))
            pool.append(images(stop - start), {"objects": objects}, {"light": lights[start:stop]})
    return path


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [1], [0, 3, 4], [1, 4], []])
def test_objects_of_any_rows_are_those_that_were_written(written: Path, rows: list[int]) -> None:
    with open_pool(written) as pool:
        found = pool.read_objects("objects", np.array(rows, np.int64))
        assert per_image(found) == per_image(made(COUNTS).take(np.array(rows, np.int64)))
        assert found.classes == pool.class_names("objects") == ("a", "b", "c")
        assert found.columns["pose"].dtype.kind == "U"


def test_a_pool_tells_its_objects_apart_from_other_targets(written: Path) -> None:
    with open_pool(written) as pool:
        assert (len(pool), dict(pool.targets)) == (5, {})
        spec = pool.objects["objects"]
        assert (spec.n_objects, list(spec.columns)) == (6, ["blur", "pose"])
        assert pool.column_names() == ["light"]
    with h5py.File(written) as file:
        assert file.attrs["format_version"] == 3


def test_equal_objects_have_equal_fingerprints_and_others_differ(tmp_path: Path) -> None:
    def fingerprint(objects: Objects) -> str:
        write_pool(tmp_path / "p.h5", inputs=images(5), targets={"objects": objects})
        with open_pool(tmp_path / "p.h5") as pool:
            return pool.fingerprint()

    first, moved = made(COUNTS), made(COUNTS)
    moved.boxes[3, 2] += 1
    assert fingerprint(first) == fingerprint(made(COUNTS)) != fingerprint(moved)


def test_missing_values_of_object_columns_are_nan_or_empty_text(tmp_path: Path) -> None:
    def column(*values: Any) -> list[Any]:
        return [np.array(values[:1], object), np.array(values[1:], object)]

    objects = Objects.from_images(
        [np.ones((1, 4)), np.ones((2, 4))],
        [[0], [0, 0]],
        classes=["a"],
        columns={
            "age": column(1, None, 3),
            "hidden": column(True, None, False),
            "who": column("me", None, "you"),
            "code": column(2**60 + 1, None, 1),
        },
    )
    write_pool(tmp_path / "p.h5", inputs=images(2), targets={"o": objects})
    with open_pool(tmp_path / "p.h5") as pool:
        found = pool.read_objects("o", np.arange(2)).columns
    np.testing.assert_array_equal(found["age"], [1.0, np.nan, 3.0])
    assert found["hidden"].tolist() == ["true", "", "false"]
    assert found["who"].tolist() == ["me", "", "you"]
    assert found["code"].tolist() == [str(2**60 + 1), "", "1"]


def broken(part: str, value: Any) -> Objects:
    objects = made([2, 1])
    values = getattr(objects, part)
    values[1] = value
    return objects


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("boxes", [0, 0, np.nan, 1], "1 object has a wrong box, the first"),
        ("boxes", [5, 0, 4, 1], "x1 ≤ x2 and y1 ≤ y2"),
        ("label", 3, "1 object has a wrong label, the first 3 in image 0"),
        ("label", -1, "3 classes: labels are 0 to 2"),
        ("area", -1.0, "1 object has a wrong area, the first -1.0"),
        ("unit_area", 0.0, "unit_area must be positive"),
    ],
)
def test_values_that_make_no_sense_are_refused_on_both_ways(
    tmp_path: Path, part: str, value: Any, said: str
) -> None:
    with pytest.raises(PoolError) as caught:
        write_pool(tmp_path / "p.h5", inputs=images(2), targets={"o": broken(part, value)})
    assert said in str(caught.value)
    write_pool(tmp_path / "p.h5", inputs=images(2), targets={"o": made([2, 1])})
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file[f"targets/o/{part}"][1] = value
    with open_pool(tmp_path / "p.h5") as pool, pytest.raises(PoolError) as caught:
        pool.read_objects("o", np.arange(2))
    assert said in str(caught.value)


def test_batches_must_know_the_same_classes_and_columns(tmp_path: Path) -> None:
    first = made([1])
    other = Objects.from_images([[]], [[]], classes=["a"])
    with PoolWriter(tmp_path / "p.h5") as pool:
        pool.append(images(1), {"o": first})
        with pytest.raises(PoolError, match="other classes or columns from sample 1 on"):
            pool.append(images(1), {"o": other})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets/o/offsets": np.array([0, 1])}, "has shape (2,), not (3,)"),
        ({"targets/o/boxes": None}, "has no boxes"),
        ({"targets/o/label": np.zeros(3)}, "has element type float64"),
        ({"targets/o/colour": np.zeros(3)}, "Store what is known of objects in columns/"),
        ({"targets/o/columns/blur": np.zeros(2)}, "has shape (2,), not (3,)"),
        (
            {"targets/o/unit_area": np.ones(4), "targets/o/offsets": np.array([0, 1, 2, 3, 3])},
            "differ in their number of samples: /targets/o/unit_area has 4",
        ),
        ({"classes/o": None}, "holds objects whose classes have no names"),
    ],
)
def test_a_group_written_by_hand_is_checked(tmp_path: Path, change: Any, said: str) -> None:
    write_pool(
        tmp_path / "p.h5", inputs=images(2), targets={"o": made([2, 1])}, meta={"light": ["a", "b"]}
    )
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        for name, values in change.items():
            if name in file:
                del file[name]
            if values is not None:
                file[name] = values
    with pytest.raises(PoolError) as caught:
        open_pool(tmp_path / "p.h5")
    assert said in str(caught.value)


@pytest.mark.parametrize("offsets", [[0, 2, 2], [1, 2, 3], [0, 4, 3]])
def test_offsets_that_do_not_ascend_to_the_end_are_refused(
    tmp_path: Path, offsets: list[int]
) -> None:
    write_pool(tmp_path / "p.h5", inputs=images(2), targets={"o": made([2, 1])})
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        file["targets/o/offsets"][...] = offsets
    with open_pool(tmp_path / "p.h5") as pool, pytest.raises(PoolError, match="doesn't ascend"):
        pool.read_objects("o", np.arange(2))


def masks(*values: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(values, np.uint8).reshape(-1, 1, 1) * np.ones((1, 2, 3), np.uint8)


def test_masks_keep_numbers_names_and_the_number_that_is_no_class(tmp_path: Path) -> None:
    write_pool(
        tmp_path / "p.h5",
        inputs=images(3),
        targets={"mask": masks(0, 1, 255)},
        classes={"mask": ["road", "sky"]},
        ignored={"mask": 255},
    )
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.class_names("mask") == ("road", "sky")
        assert pool.ignored_class("mask") == 255
        assert pool.ignored_class("other") is None
        np.testing.assert_array_equal(pool.read_target("mask", np.arange(3)), masks(0, 1, 255))
        before = pool.fingerprint()
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        assert file.attrs["format_version"] == 3
        file["ignored/mask"][0] = 254
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.fingerprint() != before


@pytest.mark.parametrize(
    ("ignored", "said"),
    [
        ({}, "masks hold 2, 255, and there are 2 classes, 0 to 1"),
        ({"mask": 255}, "masks hold 2, and there are 2 classes, 0 to 1, and 255 for none"),
    ],
)
def test_masks_of_unnamed_classes_are_refused(
    tmp_path: Path, ignored: dict[str, int], said: str
) -> None:
    with pytest.raises(PoolError) as caught:
        write_pool(
            tmp_path / "p.h5",
            inputs=images(3),
            targets={"mask": masks(0, 2, 255)},
            classes={"mask": ["road", "sky"]},
            ignored=ignored,
        )
    assert said in str(caught.value)


def test_an_ignored_number_needs_masks(tmp_path: Path) -> None:
    arrays = {"inputs/x": np.zeros((2, 1)), "targets/label": [0, 1], "ignored/label": [255]}
    write_by_hand(tmp_path / "p.h5", arrays, format_version=3)
    with pytest.raises(PoolError, match="which holds no masks"):
        open_pool(tmp_path / "p.h5")


def test_objects_joined_from_two_pools_are_those_of_both(written: Path) -> None:
    with open_pool(written) as pool:
        parts = [pool.read_objects("objects", np.array([row])) for row in range(5)]
        whole = pool.read_objects("objects", np.arange(5))
    assert per_image(join_objects(parts)) == per_image(whole)
