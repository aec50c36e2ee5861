"""Ranking pools that don't fit their model are refused before any work."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.audit.run import run_audit
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import PoolError

AUDIT = """
[audit]
name = "ranking"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"

[[slices]]
by = "split"

[[calibsets]]
name = "any"
size = 8

[[tasks]]
kind = "ranking"
"""
N_SCORES = 12


def write_world(folder: Path, relevance: np.ndarray) -> Path:
    n = len(relevance)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, N_SCORES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="scores")],
        "ranker",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", N_SCORES])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    write_pool(
        folder / "pool.h5",
        inputs={"x": rng.normal(size=(n, 4)).astype(np.float32)},
        targets={"relevance": relevance.astype(np.uint8)},
        meta={"split": ["calibration", "evaluation"] * (n // 2)},
    )
    (folder / "audit.toml").write_text(AUDIT, encoding="utf-8")
    return folder / "audit.toml"


def test_catalogue_of_another_size_is_refused(tmp_path: Path) -> None:
    audit = write_world(tmp_path, np.ones((40, N_SCORES - 2)))
    with pytest.raises(PoolError, match="relevance has 10 items, the model scores 12"):
        run_audit(audit)
    assert not (tmp_path / "audit").exists()


def test_queries_without_any_relevant_item_are_refused(tmp_path: Path) -> None:
    audit = write_world(tmp_path, np.zeros((40, N_SCORES)))
    with pytest.raises(PoolError, match="no evaluated query has a relevant item"):
        run_audit(audit)


def test_a_pool_that_fits_is_audited(tmp_path: Path) -> None:
    report, path = run_audit(write_world(tmp_path, np.eye(40, N_SCORES) + 1))
    assert path.exists()
    assert report.results
