"""Audits judge by kinds of task and metrics that other packages add."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.audit.run import run_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.runtime.errors import SettingsError
from tests.audit.world import AUDIT, N_CLASSES, N_FEATURES, make_world, weights

GRADED = (
    AUDIT[: AUDIT.index("[[tasks]]")].replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
    + """
[[tasks]]
kind = "grading"
target = "label"

[[tasks]]
kind = "classification"
output = "logits"
metrics = ["top1", "brier", "kappa"]

[[gates]]
metric = "grades_off"
max_drop = 3.0
"""
)


def write_grader(path: Path) -> None:
    """x (b, 8) → logits (b, 4), their first as score (b, 1), thresholds (b, 3)."""
    constants = {
        "w": weights(),
        "first": np.eye(N_CLASSES, 1, dtype=np.float32),
        "nothing": np.zeros((N_CLASSES, 3), np.float32),
        "t": np.array([-9.0, 0.0, 9.0], np.float32),
    }
    outputs = {"score": 1, "thresholds": 3, "logits": N_CLASSES}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["logits"], name="logits"),
            helper.make_node("MatMul", ["logits", "first"], ["score"], name="score"),
            helper.make_node("MatMul", ["logits", "nothing"], ["none"], name="none"),
            helper.make_node("Add", ["none", "t"], ["thresholds"], name="thresholds"),
        ],
        "grader",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N_FEATURES])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
            for name, width in outputs.items()
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


@pytest.mark.usefixtures("example_package")
def test_a_kind_of_task_and_metrics_from_outside_are_judged_as_any_others(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=GRADED.replace('"grading"', '"grading"\noutput = "score"'))
    write_grader(tmp_path / "model.onnx")
    report, _ = run_audit(audit, formats="none")
    assert [each.name for each in report.metrics] == ["grades_off", "top1", "brier", "kappa"]
    assert report.metrics[0].convention == "Mean distance of the answer from the true grade."
    (cells,) = {len([r for r in report.results if r.metric == m.name]) for m in report.metrics}
    assert cells == len(report.cells) * len(report.slices)
    (fp32,) = (tmp_path / "audit" / "predictions").glob("fp32*.h5")
    with open_pool(tmp_path / "pool.h5") as pool:
        split = pool.columns(["split"])["split"].to_numpy()
        rows = np.flatnonzero(split == "evaluation")
        label = pool.read_target("label", rows)
    predictions = Predictions(fp32)
    above = predictions.read("score", rows) > predictions.read("thresholds", rows)
    everyone = [r for r in report.results if r.metric == "grades_off" and r.slice == "all"]
    expected = np.abs(above.sum(axis=1) - label).mean()
    assert [one.reference for one in everyone] == pytest.approx([expected] * len(report.cells))
    assert {one.verdict for one in everyone} <= {"PASS", "INCONCLUSIVE"}


def test_without_the_package_its_kind_is_unknown(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=GRADED, n=100)
    with pytest.raises(SettingsError, match="no kind of task 'grading': no installed package"):
        run_audit(audit, formats="none")
