"""Pictures beside the report of an audit: files, what they show, and when they go."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from calaudit.audit.run import run_audit
from calaudit.formats.pool_writer import write_pool
from calaudit.report.files import read_report
from calaudit.results.report import Report
from tests.cli.running import calaudit

SIDE, CLASSES = 8, ("circle", "cross", "line")
AUDIT = """
[audit]
name = "shapes"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]

[[slices]]
by = "light"

[[calibsets]]
name = "bright only"
size = 40
role = "control"
candidates = "split = 'calibration' and light = 'bright'"

[[calibsets]]
name = "all"
size = 40

[[tasks]]
kind = "classification"
metrics = ["top1", "top1_agreement"]

[[gates]]
metric = "top1"
max_drop = 0.02
"""


def write_world(folder: Path) -> Path:
    """Images in two lights: ranges for bright ones leave the dark ones a few steps."""
    rng = np.random.default_rng(0)
    n = 600
    shapes = rng.normal(size=(len(CLASSES), SIDE, SIDE)).astype(np.float32)
    label = rng.integers(0, len(CLASSES), n)
    dark = rng.random(n) < 0.5
    x = shapes[label] + rng.normal(size=(n, SIDE, SIDE)).astype(np.float32) * 2
    x[dark] *= np.float32(0.02)
    names = np.array(CLASSES)
    write_pool(
        folder / "pool.h5",
        inputs={"image": x[:, None].astype(np.float32)},
        targets={"label": names[label].tolist()},
        meta={
            "light": np.where(dark, "dark", "bright").tolist(),
            "split": np.where(rng.random(n) < 0.3, "calibration", "evaluation").tolist(),
        },
        ids=[f"shape {i}" for i in range(n)],
        classes={"label": CLASSES},
    )
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "v"], ["y"]),
        ],
        "shapes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(CLASSES)])],
        [
            numpy_helper.from_array(shapes.reshape(len(CLASSES), -1).T.copy(), "w"),
            numpy_helper.from_array(np.eye(len(CLASSES), dtype=np.float32), "v"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "audit.toml").write_text(AUDIT, encoding="utf-8")
    return folder / "audit.toml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    path = write_world(tmp_path_factory.mktemp("pictures"))
    report, _ = run_audit(path, formats="html")
    return path, report


def named(report: Report) -> set[str]:
    found = {one.file for group in report.pictures for one in group.shown}
    found |= {one.picture for group in report.exemplars for one in group.shown}
    return {name for name in found if name is not None}


def test_the_report_names_its_pictures_and_they_lie_beside_it(done: tuple[Path, Report]) -> None:
    path, report = done
    folder = path.with_suffix("") / "pictures"
    assert {each.name for each in folder.iterdir()} == named(report) != set()
    (group,) = report.pictures
    assert (group.metric, group.by, group.classes) == ("top1", "top1", CLASSES)
    first = group.shown[0]
    assert (first.slice, first.cell) == ("light = dark", "all/minmax")
    assert (first.width, first.height) == (SIDE, SIDE)
    assert first.truth.label == first.fp32.label != first.engine.label
    assert {first.truth.label, first.engine.label} <= set(CLASSES)
    with Image.open(folder / str(first.file)) as image:
        assert image.size == (SIDE, SIDE)


def test_what_a_picture_says_is_what_the_engine_answered(done: tuple[Path, Report]) -> None:
    from calaudit.formats.pool import open_pool
    from calaudit.formats.predictions import Predictions

    path, report = done
    record = {cell.id: cell for cell in report.cells}
    with open_pool(path.with_name("pool.h5")) as pool:
        rows = {name: row for row, name in enumerate(pool.ids(np.arange(len(pool))))}
        for one in report.pictures[0].shown:
            files = {"fp32": report.reference.predictions, "engine": record[one.cell].predictions}
            row = np.array([rows[one.id]])
            assert pool.read_target("label", row)[0] == one.truth.label
            light = pool.columns(["light"], row)["light"][0]
            assert one.slice in {"all", f"light = {light}"}
            for side, file in files.items():
                outputs = Predictions(path.with_suffix("") / str(file)).read("y", row)
                assert CLASSES[int(outputs[0].argmax())] == getattr(one, side).label


def test_exemplars_say_what_is_true_and_what_engines_answer(done: tuple[Path, Report]) -> None:
    _, report = done
    shown = [one for group in report.exemplars for one in group.shown]
    assert shown
    for one in shown:
        assert one.truth in CLASSES
        assert sum(said.engines for said in one.answers) == 2
        assert {said.label for said in one.answers} != {one.fp32}


def test_the_page_holds_the_pictures_and_the_classes_names(done: tuple[Path, Report]) -> None:
    path, report = done
    text = (path.with_suffix("") / "report.html").read_text(encoding="utf-8")
    first = report.pictures[0].shown[0]
    said = f"true {first.truth.label}, FP32 {first.fp32.label}, engine {first.engine.label}"
    assert said in text
    assert text.count('src="data:image/png;base64,') == sum(
        len(group.shown) for group in (*report.pictures, *report.exemplars)
    )


def test_a_page_rendered_elsewhere_takes_the_files_beside_the_report(
    done: tuple[Path, Report], tmp_path: Path
) -> None:
    path, _ = done
    folder = path.with_suffix("")
    calaudit("report", "render", folder / "report.json", "--formats", "html", "--out", tmp_path)
    images = [
        re.findall('src="data:image/png;base64,([^"]+)"', each.read_text(encoding="utf-8"))
        for each in (tmp_path / "report.html", folder / "report.html")
    ]
    assert images[0] == images[1] != []


def test_pictures_of_an_earlier_run_go_and_other_files_stay(tmp_path: Path) -> None:
    path = write_world(tmp_path)
    report, _ = run_audit(path, formats="none")
    folder = tmp_path / "audit" / "pictures"
    (folder / "mine.png").write_bytes(b"mine")
    assert len(named(report)) > 2
    fewer = AUDIT.replace('name = "shapes"', 'name = "shapes"\npictures = 1')
    path.write_text(fewer, encoding="utf-8")
    again, _ = run_audit(path, formats="none")
    assert len(again.pictures[0].shown) == 1
    assert {each.name for each in folder.iterdir()} == named(again) | {"mine.png"}
    path.write_text(fewer.replace("pictures = 1", "pictures = 0"), encoding="utf-8")
    none, written = run_audit(path, formats="html")
    assert none.pictures == ()
    assert named(none) == set()
    assert [each.name for each in folder.iterdir()] == ["mine.png"]
    assert "data:image" not in (tmp_path / "audit" / "report.html").read_text(encoding="utf-8")
    assert read_report(written) == none


def test_a_report_without_pictures_is_read_as_having_none(done: tuple[Path, Report]) -> None:
    path, report = done
    document = json.loads((path.with_suffix("") / "report.json").read_text(encoding="utf-8"))
    del document["pictures"]
    for group in document["exemplars"]:
        for one in group["shown"]:
            for key in ("picture", "truth", "fp32", "answers"):
                del one[key]
    from calaudit.results.document import read_document

    read = read_document(document, where="old")
    assert read.pictures == ()
    assert [each.metric for each in read.exemplars] == [each.metric for each in report.exemplars]
    assert all(one.answers == () for group in read.exemplars for one in group.shown)
