"""Operators of other domains than ONNX's: named where they hold weights, with the way out."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.running import quantize, run

LEVELS = ort.GraphOptimizationLevel


def optimized(proto: onnx.ModelProto, folder: Path, level: LEVELS) -> Path:
    """What onnxruntime writes as its optimised model."""
    source, made = folder / "source.onnx", folder / "optimized.onnx"
    onnx.save(proto, str(source))
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(made)
    options.log_severity_level = 3
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return made


def left_in_float(plan: QdqPlan) -> dict[str, str]:
    return {d.op_type: d.reason for d in plan.decisions if d.weighted and d.action == "float"}


def scaled_attention() -> onnx.ModelProto:
    """Products that onnxruntime fuses with what stands before and behind them."""
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[0, 2, 1])
    s.op("MatMul", ["x", "xt"], "scores")
    s.op("Mul", ["scores", s.array("half", np.float32(0.5))], "scaled")
    s.op("MatMul", ["scaled", "x"], "mixed")
    s.op("Relu", [s.conv("mixed", "c", 4, 6, (3,))], "y")
    return s.model({"x": ["b", 4, 4]}, {"y": ["b", 6, 4]})


@pytest.mark.parametrize("level", [LEVELS.ORT_ENABLE_EXTENDED, LEVELS.ORT_ENABLE_ALL])
@pytest.mark.parametrize("make", [models.conv_bn_relu, models.residual, scaled_attention])
def test_what_onnxruntime_fused_is_named_with_the_way_out(
    make: object, level: LEVELS, tmp_path: Path
) -> None:
    assert callable(make)
    path = optimized(make(), tmp_path, level)
    plan = plan_qdq(prepare(load_model(path)))
    fused = {node.op_type for node in onnx.load(str(path)).graph.node if node.domain}
    fused &= {"FusedConv", "Conv", "FusedMatMul", "FusedGemm"}
    assert fused
    found = left_in_float(plan)
    assert fused <= set(found)
    assert all("onnxruntime's own (com.microsoft" in found[op_type] for op_type in fused)
    (notice,) = (n for n in plan.notices if n.code == "onnxruntime_ops")
    assert all(op_type in notice.message for op_type in fused)
    assert "ORT_ENABLE_BASIC" in notice.message


@pytest.mark.parametrize("make", [models.conv_bn_relu, models.residual, scaled_attention])
def test_the_way_out_works(make: object, tmp_path: Path) -> None:
    assert callable(make)
    plain = load_model(optimized(make(), tmp_path, LEVELS.ORT_ENABLE_BASIC))
    plan = plan_qdq(prepare(plain))
    assert left_in_float(plan) == {}
    exported = plan_qdq(prepare(Model(make(), "exported")))
    assert len(plan.weights) == len(exported.weights)


def test_the_rest_of_a_partly_fused_model_is_quantized_and_runs(tmp_path: Path) -> None:
    path = optimized(models.residual(), tmp_path, LEVELS.ORT_ENABLE_EXTENDED)
    source = load_model(path)
    feeds = models.feeds(source.proto)
    plan, engine = quantize(source, feeds)
    assert plan.weights
    exact, rounded = run(source, feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def foreign(op_type: str, domain: str, *weights: onnx.TensorProto, **attributes: object) -> QdqPlan:
    s = Sketch()
    s.initializers.extend(weights)
    s.gemm("x", "m", 4, 4)
    s.op(op_type, ["m", *(w.name for w in weights)], "y", domain=domain, **attributes)
    proto = s.model({"x": ["b", 4]}, {"y": ["b", 4]})
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    return plan_qdq(prepare(Model(proto, "sketch")))


VECTOR = numpy_helper.from_array(np.ones(4, np.float32), "v")
NUMBER = numpy_helper.from_array(np.float32(2), "k")
INTEGERS = numpy_helper.from_array(np.arange(4), "i")


@pytest.mark.parametrize(
    "op_type",
    ["Attention", "MultiHeadAttention", "GroupQueryAttention", "FusedGemm", "MoE", "NhwcConv"],
)
def test_onnxruntimes_products_are_weighted_even_without_constants(op_type: str) -> None:
    assert op_type in left_in_float(foreign(op_type, "com.microsoft"))


@pytest.mark.parametrize("op_type", ["SkipLayerNormalization", "EmbedLayerNormalization"])
def test_onnxruntimes_ops_that_hold_weights_are_weighted(op_type: str) -> None:
    assert op_type in left_in_float(foreign(op_type, "com.microsoft", VECTOR))


@pytest.mark.parametrize("weights", [(), (NUMBER,), (INTEGERS,)])
def test_ops_of_other_domains_without_weights_arent_weighted(
    weights: tuple[onnx.TensorProto, ...],
) -> None:
    plan = foreign("QuickGelu", "com.microsoft", *weights)
    assert left_in_float(plan) == {}
    assert plan.notices == ()


def test_weights_of_any_other_domain_are_named_with_its_name() -> None:
    for plan in (
        foreign("Thing", "org.example", VECTOR),
        foreign("LinearRegressor", "ai.onnx.ml", coefficients=[1.0, 2.0], targets=1),
    ):
        assert len(left_in_float(plan)) == 1
        (notice,) = plan.notices
        assert notice.code == "foreign_ops"
        assert "Export the model with ONNX's own operators" in notice.message


def test_an_embedding_is_named_as_weights_that_nothing_multiplies() -> None:
    plan = plan_qdq(prepare(Model(models.embedding(), "sketch")))
    assert left_in_float(plan) == {
        "Gather": "moves its weights and multiplies nothing with them, so they stay float"
    }


def test_biases_masks_and_factors_make_no_op_weighted() -> None:
    s = Sketch()
    s.gemm("x", "m", 4, 4)
    s.op("Add", ["m", s.weight("bias", 4)], "a")
    s.op("Mul", ["a", s.weight("mask", 1, 4)], "b")
    s.op("Where", [s.array("seen", np.eye(4, dtype=bool)), "b", s.weight("none", 4, 4)], "y")
    plan = plan_qdq(prepare(Model(s.model({"x": [1, 4]}, {"y": [4, 4]}), "sketch")))
    assert left_in_float(plan) == {}
