"""Broken pipelines don't pass, and each says what is wrong; sound ones are told nothing."""

from pathlib import Path

import h5py
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calaudit.audit.run import run_audit
from calaudit.report.files import read_report
from calaudit.report.headline import headline
from calaudit.report.html.page import html_page
from calaudit.report.terminal import render_report
from calaudit.results.report import Report, exit_status
from calaudit.runtime.errors import Notice
from tests.audit.world import AUDIT, make_world

SOUND = (
    AUDIT.replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
    .replace('name = "both"', 'name = "loud and quiet"')
    .replace("max_drop = 0.05", 'slices = "loudness = loud"\nmax_drop = 0.05')
)
GRAVE = {"reference_chance", "reference_constant", "reference_weak"}


def labels(folder: Path) -> NDArray[np.int64]:
    with h5py.File(folder / "pool.h5") as file:
        return file["targets/label"][:]


def relabel(folder: Path, label: NDArray[np.int64]) -> None:
    with h5py.File(folder / "pool.h5", "a") as file:
        file["targets/label"][:] = label


def weights(folder: Path, factor: float) -> None:
    """Scale the model's weights."""
    model = onnx.load(str(folder / "model.onnx"))
    (own,) = [each for each in model.graph.initializer if each.name == "w"]
    own.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(own) * np.float32(factor), "w"))
    onnx.save(model, str(folder / "model.onnx"))


def noticed(report: Report, code: str) -> list[Notice]:
    return [each for each in report.warnings if each.code == code]


def test_a_sound_audit_is_told_nothing(tmp_path: Path) -> None:
    report, _ = run_audit(make_world(tmp_path, audit=SOUND))
    assert exit_status(report) == 0
    assert report.warnings == ()


def test_with_labels_that_mean_nothing_no_engine_passes_and_the_reason_is_everywhere(
    tmp_path: Path,
) -> None:
    audit = make_world(tmp_path, audit=SOUND)
    relabel(tmp_path, np.random.default_rng(0).permutation(labels(tmp_path)))
    report, path = run_audit(audit)
    assert exit_status(report) == 3
    assert read_report(path) == report
    (notice,) = noticed(report, "reference_chance")
    assert report.warnings[0] == notice
    assert "FP32 is not significantly better than its own predictions in random order" in (
        notice.message
    )
    assert "x: " in notice.message
    assert "compare this with the training preprocessing" in notice.message
    assert "(mean " in notice.message
    shown = " ".join(render_report(report).split())
    assert "FP32 itself is no better than chance" in shown
    assert notice.message[:60] in shown
    assert "in random order" in headline(report)
    assert "reference_chance" in html_page(report)


def test_labels_numbered_otherwise_than_the_outputs_are_told_with_the_order(
    tmp_path: Path,
) -> None:
    audit = make_world(tmp_path, audit=SOUND)
    relabel(tmp_path, np.array([0, 2, 3, 1])[labels(tmp_path)])
    report, _ = run_audit(audit)
    (told,) = noticed(report, "class_order")
    assert "output 1 for class 2" in told.message
    assert "output 0" not in told.message


def test_agreement_with_fp32_can_still_pass_where_labels_mean_nothing(tmp_path: Path) -> None:
    agreed = SOUND.replace('metric = "top1"', 'metric = "top1_agreement"')
    audit = make_world(tmp_path, audit=agreed)
    relabel(tmp_path, np.random.default_rng(0).permutation(labels(tmp_path)))
    report, _ = run_audit(audit)
    assert exit_status(report) == 0
    assert noticed(report, "reference_chance")


def test_a_floor_of_ones_own_takes_the_place_of_chance(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=f"{SOUND}min_reference = 0.1\n")
    relabel(tmp_path, np.random.default_rng(0).permutation(labels(tmp_path)))
    report, _ = run_audit(audit)
    assert exit_status(report) == 0
    assert noticed(report, "reference_chance")


def test_a_model_whose_output_does_not_vary_is_found(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=SOUND)
    weights(tmp_path, 0.0)
    report, _ = run_audit(audit)
    assert exit_status(report) == 3
    (notice,) = noticed(report, "reference_constant")
    assert "FP32's output is constant" in notice.message


def test_the_commonest_class_is_told_and_decides_nothing(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=SOUND)
    label = labels(tmp_path)
    rng = np.random.default_rng(0)
    relabel(tmp_path, np.where(rng.random(len(label)) < 0.8, 0, label))
    report, _ = run_audit(audit)
    assert [each.code for each in report.warnings if each.code in GRAVE] == ["reference_weak"]
    (notice,) = noticed(report, "reference_weak")
    assert "always predicting the most common class (0.8" in notice.message
    assert exit_status(report) == 0


def test_copies_of_evaluated_samples_under_other_ids_are_found(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=SOUND)
    with h5py.File(tmp_path / "pool.h5", "a") as file:
        split = file["meta/split"].asstr()[:]
        inputs = file["inputs/x"][:]
        sources = np.flatnonzero(split == "calibration")
        copied = np.flatnonzero(split == "evaluation")[: len(sources)]
        inputs[copied] = inputs[sources[: len(copied)]]
        file["inputs/x"][:] = inputs
    report, _ = run_audit(audit)
    (notice,) = noticed(report, "calibset_repeats")
    assert "loud only: 40 of 40 (" in notice.message
    assert "loud and quiet: 40 of 40 (" in notice.message


def test_clusters_in_both_splits_are_found(tmp_path: Path) -> None:
    clustered = SOUND.replace("batch_size = 100", 'batch_size = 100\ncluster_by = "margin"')
    audit = make_world(tmp_path, audit=clustered)
    report, _ = run_audit(audit)
    assert not noticed(report, "calibset_clusters")
    with h5py.File(tmp_path / "pool.h5", "a") as file:
        file["meta/margin"][:] = np.arange(len(file["meta/margin"])) // 8
    report, _ = run_audit(audit)
    (notice,) = noticed(report, "calibset_clusters")
    assert "samples of clusters (margin) that are evaluated as well" in notice.message


def test_an_engine_that_equals_fp32_is_found(tmp_path: Path) -> None:
    """All inputs and weights lie on the INT8 grid, so quantizing them changes no bit."""
    audit = make_world(tmp_path, audit=SOUND)
    rng = np.random.default_rng(0)
    grid = rng.integers(-3, 4, size=(8, 4)).astype(np.float32)
    grid[0] = 127
    model = onnx.load(str(tmp_path / "model.onnx"))
    (own,) = [each for each in model.graph.initializer if each.name == "w"]
    own.CopyFrom(numpy_helper.from_array(grid, "w"))
    onnx.save(model, str(tmp_path / "model.onnx"))
    with h5py.File(tmp_path / "pool.h5", "a") as file:
        x = rng.integers(-3, 4, size=file["inputs/x"].shape).astype(np.float32)
        x[:, 0] = 127
        file["inputs/x"][:] = x
        file["targets/label"][:] = np.argmax(x @ grid, axis=1)
    report, _ = run_audit(audit)
    assert {each.where for each in noticed(report, "engine_identical")} == {
        "cell loud only/minmax",
        "cell loud and quiet/minmax",
    }
