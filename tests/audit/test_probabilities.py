"""Models that end in probabilities, judged by metrics of logits; scikit-learn as oracle."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from sklearn.metrics import log_loss

from calaudit.audit.run import run_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.metrics.classification import holds_probabilities
from calaudit.results.report import Report
from tests.audit.world import AUDIT, N_CLASSES, make_world
from tests.cli.running import calaudit

SHORT = AUDIT.replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]').replace(
    'metrics = ["top1", "nll", "balanced_accuracy", "top1_agreement"]',
    'metrics = ["top1", "nll", "ece"]',
)


def end_in(folder: Path, op: str) -> None:
    """Put `op` behind the model's logits."""
    model = onnx.load(str(folder / "model.onnx"))
    for node in model.graph.node:
        node.output[:] = ["logits" if name == "y" else name for name in node.output]
    # logits of loud samples are in the hundreds
    scale = helper.make_node("Constant", [], ["by"], value_float=0.02)
    model.graph.node.extend(
        [scale, helper.make_node("Mul", ["logits", "by"], ["scaled"]),
         helper.make_node(op, ["scaled"], ["y"], name="end")]
    )  # fmt: skip
    onnx.save(model, str(folder / "model.onnx"))


def run(folder: Path, op: str, audit: str = SHORT) -> tuple[Report, NDArray[Any], NDArray[Any]]:
    """The report, FP32's outputs and the labels."""
    path = make_world(folder, n=800, audit=audit)
    end_in(folder, op)
    report, _ = run_audit(path)
    fp32 = Predictions(next((folder / "audit" / "predictions").glob("fp32-*.h5")))
    with open_pool(folder / "pool.h5") as pool:
        return report, fp32.read("y"), pool.read_target("label", fp32.rows)


def reference(report: Report, metric: str) -> float:
    found = next(r for r in report.results if (r.metric, r.slice) == (metric, "all"))
    assert found.reference is not None
    return found.reference


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid"])
def test_metrics_of_logits_read_probabilities_as_what_they_are_and_that_is_told(
    op: str, tmp_path: Path
) -> None:
    report, p, label = run(tmp_path, op)
    share = p.astype(np.float64)
    share /= share.sum(axis=1, keepdims=True)
    expected = log_loss(label, share, labels=range(N_CLASSES))
    assert reference(report, "nll") == pytest.approx(expected, rel=1e-5)
    (notice,) = [each for each in report.warnings if each.code == "probabilities"]
    assert "nll and ece, which are of logits, are computed as nll_of_probabilities and" in (
        notice.message
    )
    told = {metric.name: metric.convention for metric in report.metrics}
    assert "probability" in told["nll"]
    named = SHORT.replace('"nll", "ece"', '"nll_of_probabilities", "ece_of_probabilities"')
    same, _, _ = run(tmp_path / "named", op, named)
    for metric in ("nll", "ece"):
        by_name = reference(same, f"{metric}_of_probabilities")
        assert by_name == reference(report, metric)
    assert not [each for each in same.warnings if "probabilities" in each.code]


def test_logits_are_read_as_logits(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, "Identity")
    assert not [each for each in report.warnings if "probabilities" in each.code]


def test_metrics_of_probabilities_on_logits_are_noted(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, "Exp", SHORT.replace('"nll", "ece"', '"nll_of_probabilities"'))
    (notice,) = [each for each in report.warnings if each.code == "no_probabilities"]
    assert "name nll in the task's metrics" in notice.message


def test_an_audit_of_a_model_that_ends_in_a_softmax_is_proposed_with_its_metrics(
    tmp_path: Path,
) -> None:
    make_world(tmp_path, n=800)
    end_in(tmp_path, "Softmax")
    out = tmp_path / "first.toml"
    assert calaudit("init", tmp_path / "model.onnx", tmp_path / "pool.h5", "--out", out).status == 0
    text = out.read_text(encoding="utf-8")
    assert "nll_of_probabilities" in tomllib.loads(text)["tasks"][0]["metrics"]
    assert "a probability per class (it ends in Softmax)" in " ".join(text.replace("#", "").split())


@pytest.mark.parametrize(
    ("rows", "are"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], True),
        ([[0.2, 0.8], [np.nan, 0.0]], True),
        ([[0.2, 0.7]], False),
        ([[1.2, -0.2]], False),
        ([[1.0]], False),
        ([[np.nan, 1.0]], False),
        ([0.5, 0.5], False),
    ],
)
def test_distributions_are_told_from_other_rows(rows: list[Any], are: bool) -> None:
    assert holds_probabilities(np.array(rows, np.float32)) == are


def test_a_softmax_in_half_precision_is_a_distribution() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 1000)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert holds_probabilities(p.astype(np.float16))
