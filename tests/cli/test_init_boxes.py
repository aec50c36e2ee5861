"""``calaudit init`` for detectors and models of several heads: files that run as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.formats.pool_writer import write_pool
from tests.cli.detectors import planted, write_detector
from tests.cli.running import calaudit
from tests.cli.test_init import init, runs

N = 800


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A folder with a detector and its pool: four images of each photograph, two lights."""
    write_detector(tmp_path / "m.onnx")
    write(tmp_path / "p.h5")
    return tmp_path


def write(path: Path, **targets: Any) -> None:
    images, objects = planted(N)
    rows = np.arange(N)
    write_pool(
        path,
        inputs={"images": images},
        targets={"cells": objects, **targets},
        meta={
            "light": np.where(rows % 2, "day", "night"),
            "photograph": rows // 4,
            "split": np.where(rows // 4 % 4, "evaluation", "calibration"),
        },
    )


def runs_by_minmax(path: Path) -> None:
    """As `runs`, by one method: more show nothing else about the file."""
    methods = 'methods = ["minmax", "entropy", "percentile", "mse"]'
    text = path.read_text(encoding="utf-8")
    assert methods in text
    path.write_text(text.replace(methods, 'methods = ["minmax"]'), encoding="utf-8")
    runs(path)


@pytest.mark.slow
def test_a_detector_is_audited_with_no_edit(detector: Path) -> None:
    written = init(detector)
    (task,) = written["tasks"]
    assert (task["kind"], task["format"]) == ("detection", "yolov8")
    assert "object_recall" in task["metrics"]
    assert [each.get("by") for each in written["slices"]][:2] == ["light", "object.class"]
    assert {"cross": ["object.class", "light"]} in written["slices"]
    assert written["audit"]["cluster_by"] == "photograph"
    gates = {each["metric"]: each["slices"] for each in written["gates"]}
    assert gates == {"ap": "*", "object_recall": "*"}
    runs_by_minmax(detector / "audit.toml")


def test_classes_are_crossed_with_the_first_column_that_leaves_enough_objects(
    tmp_path: Path,
) -> None:
    write_detector(tmp_path / "m.onnx")
    images, objects = planted(1000)
    rows = np.arange(1000)
    # hardly any object of the first class for one of the cameras
    first = np.isin(rows, objects.image[objects.label == 0]) & (rows % 25 > 0)
    write_pool(
        tmp_path / "p.h5",
        inputs={"images": images},
        targets={"cells": objects},
        meta={
            "camera": np.where(first, "far", "near"),
            "light": np.where(rows % 2, "day", "night"),
            "split": np.where(rows // 4 % 4, "evaluation", "calibration"),
        },
    )
    written = init(tmp_path)
    columns = [each.get("by") for each in written["slices"]]
    assert columns.index("camera") < columns.index("light") < columns.index("object.class")
    assert [each for each in written["slices"] if "object.class" in each.get("cross", ())] == [
        {"cross": ["object.class", "light"]}
    ]


def test_it_says_what_it_guessed(detector: Path) -> None:
    files = (detector / name for name in ("m.onnx", "p.h5"))
    ended = calaudit("init", *files, "--out", detector / "a.toml")
    assert ended.status == 0
    said = (
        "guessed: The output output0 (7×16) has YOLOv8's layout: a box and a score for each of "
        "3 classes, anchor by anchor."
    )
    assert said in ended.err
    text = (detector / "a.toml").read_text()
    assert "The output output0 (7×16) has YOLOv8's layout" in text
    assert "Samples of one photograph belong together." in text.replace("\n# ", " ")


def test_slices_too_thin_for_average_precision_are_gated_together(tmp_path: Path) -> None:
    write_detector(tmp_path / "m.onnx")
    images, objects = planted(400)
    rows = np.arange(400)
    write_pool(
        tmp_path / "p.h5",
        inputs={"images": images},
        targets={"cells": objects},
        meta={
            "light": np.where(rows % 2, "day", "night"),
            "split": np.where(rows % 4, "evaluation", "calibration"),
        },
    )
    written = init(tmp_path)
    gates = {each["metric"]: each["slices"] for each in written["gates"]}
    assert gates == {"ap": "all", "object_recall": "*"}
    text = (tmp_path / "audit.toml").read_text().replace("\n# ", " ")
    assert "the smallest slice holds 100 evaluated images, and 300 are needed" in text


def test_another_number_of_classes_is_told_with_the_way_out(detector: Path) -> None:
    images, objects = planted(40)
    more = type(objects).from_images([[]] * 40, [[]] * 40, classes=list("abcde"))
    write_pool(
        detector / "p.h5",
        inputs={"images": images},
        targets={"cells": more},
        meta={"split": ["evaluation", "calibration"] * 20},
    )
    files = (detector / name for name in ("m.onnx", "p.h5"))
    ended = calaudit("init", *files, "--out", detector / "a.toml")
    assert ended.status == 2
    assert "the targets (cells objects)" in ended.err
    assert "The pool has 5 classes of cells, the outputs' shapes fit 2 or 3" in ended.err
    assert "--classes names.txt" in ended.err


@pytest.mark.slow
def test_two_heads_make_two_tasks_and_an_output_that_none_reads_is_named(tmp_path: Path) -> None:
    write_detector(tmp_path / "m.onnx", heads=3)
    images, _ = planted(N)
    write(tmp_path / "p.h5", label=images.mean(axis=(2, 3)).argmax(axis=1))
    written = init(tmp_path)
    assert [(each["kind"], each.get("output")) for each in written["tasks"]] == [
        ("detection", "output0"),
        ("classification", "logits"),
    ]
    assert [each["metric"] for each in written["gates"]] == ["ap", "object_recall", "top1"]
    text = (tmp_path / "audit.toml").read_text()
    assert "# No task reads the outputs embedding; docs/audit.md has every kind." in text
    runs_by_minmax(tmp_path / "audit.toml")
