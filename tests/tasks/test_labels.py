"""Class numbers from names: by the pool's order, or the task's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from calaudit.tasks.classification import Classification, check_names
from calaudit.tasks.labels import read_labels

ROWS = np.arange(4)


def labels(path: Path, values: Any, *, stored: Any = None, classes: Any = None) -> list[int]:
    named = None if stored is None else {"label": stored}
    inputs = {"x": np.zeros((4, 1), np.float32)}
    write_pool(path, inputs=inputs, targets={"label": values}, ids=list("wxyz"), classes=named)
    with open_pool(path) as pool:
        found = read_labels(pool, "label", ROWS, classes=classes, where="audit.toml: tasks[0]")
    return found.label.tolist()


@pytest.mark.parametrize("values", [["b", "a", "c", "a"], [0, 1, 2, 1]])
def test_names_stand_for_their_place_among_the_classes(tmp_path: Path, values: Any) -> None:
    assert labels(tmp_path / "p.h5", values, stored=["b", "a", "c"]) == [0, 1, 2, 1]


def test_the_task_may_give_the_order(tmp_path: Path) -> None:
    names = ["b", "a", "c", "a"]
    assert labels(tmp_path / "p.h5", names, classes=("c", "b", "a")) == [1, 2, 0, 2]
    assert labels(tmp_path / "q.h5", names, stored=list("abc"), classes=list("cba")) == [1, 2, 0, 2]


@pytest.mark.parametrize(
    ("values", "classes", "kind", "said"),
    [
        (["b", "a", "c", "a"], None, PoolError, r"3 names \('a', 'b', 'c'\).*\n.*classes = \["),
        (["b", "a", "", "a"], ("a", "b"), PoolError, "1 of 4 labels are missing: y"),
        ([0, None, 1, None], None, PoolError, "2 of 4 labels are missing: x, z"),
        (["b", "a", "d", "a"], ("a", "b"), PoolError, "'d' is not among the 2 classes"),
        ([0, 1, 0, 1], ("a", "b"), SettingsError, "holds numbers"),
        ([0, 1.5, 0, np.inf], None, PoolError, "2 of 4 .* no class numbers: 1.5 for sample x, inf"),
        (np.array([0, np.nan, 1, 0]), None, PoolError, "1 of 4 labels are missing: x"),
        (np.zeros((4, 2)), None, PoolError, r"labels are float64 of shape \(4, 2\)"),
    ],
)
def test_labels_that_say_no_class_are_refused(
    tmp_path: Path, values: Any, classes: Any, kind: type[CalauditError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        labels(tmp_path / "p.h5", values, classes=classes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_whole_numbers_stored_as_floats_are_class_numbers(tmp_path: Path, dtype: Any) -> None:
    assert labels(tmp_path / "p.h5", np.array([3, 0, 1, 0], dtype)) == [3, 0, 1, 0]


def test_labels_missing_outside_the_judged_rows_make_no_difference(tmp_path: Path) -> None:
    values = np.array([np.nan, 2, 1, np.nan])
    write_pool(
        tmp_path / "p.h5", inputs={"x": np.zeros((4, 1), np.float32)}, targets={"label": values}
    )
    with open_pool(tmp_path / "p.h5") as pool:
        found = read_labels(pool, "label", np.array([1, 2]), where="audit.toml: tasks[0]")
    assert found.label.tolist() == [2, 1]


def test_names_of_only_some_of_the_models_classes_are_refused(tmp_path: Path) -> None:
    labels(tmp_path / "p.h5", ["b", "a", "a", "a"], stored=["b", "a"])
    with open_pool(tmp_path / "p.h5") as pool:
        check_names(Classification(), pool, 2, where="audit.toml: tasks[0].classes")
        with pytest.raises(SettingsError, match="2 classes are named, the model scores 5"):
            check_names(Classification(), pool, 5, where="audit.toml: tasks[0].classes")
