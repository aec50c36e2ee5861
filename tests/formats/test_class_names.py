"""Targets of class names: the pool keeps them, and which of the model's outputs each is."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest

from calaudit.formats.class_names import as_names, read_names
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import FileFormatError, PoolError

X = {"x": np.zeros((4, 1), np.float32)}
NAMES = ("dog", "cat", "eel")


@pytest.mark.parametrize(
    "values",
    [
        ["cat", "dog", None, "cat"],
        np.array(["cat", "dog", "", "cat"]),
        [1, 0, None, 1],
        [1.0, 0.0, np.nan, 1.0],
        np.ma.masked_array(np.array([1, 0, 7, 1], np.uint8), mask=[0, 0, 1, 0]),
    ],
)
def test_names_and_numbers_of_classes_are_stored_as_names(tmp_path: Path, values: Any) -> None:
    path = tmp_path / "p.h5"
    write_pool(path, inputs=X, targets={"label": values}, classes={"label": NAMES})
    with open_pool(path) as pool:
        assert pool.columns(["label"])["label"].to_list() == ["cat", "dog", None, "cat"]
        assert pool.class_names("label") == NAMES
        assert pool.class_names("other") == ()
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 2


def test_names_that_are_numbers_are_matched_by_name() -> None:
    column = as_names(pl.Series([3, 1]), ["1", "2", "3"], where="")
    assert column.to_list() == ["3", "1"]
    assert as_names(pl.Series([True, False]), ["off", "on"], where="").to_list() == ["on", "off"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["cat", "dgo", "dog", "cat"], "'dgo' is not among the 3 classes\n  → Did you mean dog?"),
        ([0, 3, 1, 1], "3 is not among the 3 classes\n  → Classes are numbered 0 to 2."),
        ([0, -1, 1, 1], "-1 is not among the 3 classes"),
        ([0.5, 1, 1, 1], "0.5 is not among the 3 classes"),
    ],
)
def test_values_that_are_no_class_are_named(tmp_path: Path, values: list[Any], said: str) -> None:
    with pytest.raises(PoolError) as caught:
        write_pool(tmp_path / "p.h5", inputs=X, targets={"label": values}, classes={"label": NAMES})
    assert said in str(caught.value)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"label": ("a", "a")}, "'a' occur twice"),
        ({"label": ()}, "label has no classes"),
        ({"label": ("a", "")}, "a name is empty"),
        ({"lable": NAMES}, "there is no target 'lable'.*\n.*Did you mean label"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(
    tmp_path: Path, classes: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(PoolError, match=said):
        write_pool(tmp_path / "p.h5", inputs=X, targets={"label": [0, 1, 1, 0]}, classes=classes)


def test_the_order_of_classes_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for number, names in enumerate([None, NAMES, NAMES[::-1]]):
        path = tmp_path / f"{number}.h5"
        classes = None if names is None else {"label": names}
        write_pool(path, inputs=X, targets={"label": ["cat", "dog"] * 2}, classes=classes)
        with open_pool(path) as pool:
            prints.add(pool.fingerprint())
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("classes/other", ["a"], "names the classes of /targets/other"),
        ("classes/number", ["a"], "names the classes of /targets/number"),
        ("classes/label", [1.0], "must be text"),
    ],
)
def test_names_that_belong_to_no_target_of_text_are_refused(
    tmp_path: Path, name: str, values: list[Any], said: str
) -> None:
    path = tmp_path / "p.h5"
    write_pool(path, inputs=X, targets={"label": ["cat", "dog"] * 2, "number": [0, 1, 1, 0]})
    with h5py.File(path, "a") as file:
        file[name] = values
    with pytest.raises(PoolError, match=said):
        open_pool(path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "dog\ncat\neel\n"),
        ("names.txt", "\ufeffdog\r\ncat\r\neel"),
        ("names.json", json.dumps(NAMES)),
        ("names.json", json.dumps({"cat": 1, "dog": 0, "eel": 2})),
        ("names.json", json.dumps({"0": "dog", "1": "cat", "2": "eel"})),
    ],
)
def test_files_of_names_are_read_as_frameworks_write_them(
    tmp_path: Path, file: str, content: str
) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert read_names(tmp_path / file) == NAMES


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"a": 0, "b": 2}', '{"a": "b"}', "3"])
def test_files_that_name_no_classes_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"names\.json"):
        read_names(tmp_path / "names.json")
