import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan, apply_qdq
from calaudit.runtime.errors import RangesError
from tests.graph import models
from tests.graph.running import Arrays, minmax_scales, quantize, run, run_by_reference

QUANTIZED_OPS = {"Conv", "Gemm", "MatMul"}
REFERENCE_FAILS = {"conv_transpose"}
"""ONNX's reference implementation can't run grouped ConvTranspose."""


def constants(model: Model) -> Arrays:
    return {t.name: numpy_helper.to_array(t) for t in model.proto.graph.initializer}


@pytest.mark.parametrize("make", models.ALL.values(), ids=models.ALL)
def test_the_graph_obeys_tensorrts_rules(make: Callable[[], onnx.ModelProto]) -> None:
    source = Model(make(), "sketch")
    check_rules(*quantize(source, models.feeds(source.proto)))


def check_rules(plan: QdqPlan, model: Model) -> None:
    onnx.checker.check_model(model.proto, full_check=True)
    values = constants(model)
    makers = {node.output[0]: node for node in model.proto.graph.node}
    rounded = [n for n in model.proto.graph.node if n.op_type == "QuantizeLinear"]
    assert sorted(n.input[0] for n in rounded) == sorted(plan.taps), "one pair per activation"
    for node in rounded:
        _, scale, zero = (values.get(name) for name in node.input)
        assert scale.shape == zero.shape == ()
        assert (scale.dtype, zero.dtype, zero) == (np.float32, np.int8, 0)
    for node in model.proto.graph.node:
        if node.op_type == "DequantizeLinear":
            scale, zero = values[node.input[1]], values[node.input[2]]
            assert (scale > 0).all()
            assert zero.dtype == np.int8
            assert not zero.any()
            assert scale.shape == zero.shape
            continue
        dequantized = [
            slot
            for slot, name in enumerate(node.input)
            if name in makers and makers[name].op_type == "DequantizeLinear"
        ]
        if node.op_type in QUANTIZED_OPS:
            assert dequantized in ([], [0, 1]), "both inputs or none, and a float bias"
        elif node.op_type == "Add":
            assert len(dequantized) <= 1
        else:
            assert not dequantized


@pytest.mark.parametrize("make", models.ALL.values(), ids=models.ALL)
def test_weights_are_int8_along_the_output_axis(make: Callable[[], onnx.ModelProto]) -> None:
    source = Model(make(), "sketch")
    plan, model = quantize(source, models.feeds(source.proto))
    values = constants(model)
    weights = [
        node
        for node in model.proto.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    ]
    assert len(weights) == sum(len(weight.slots) for weight in plan.weights)
    for node in weights:
        levels, scale = values[node.input[0]], values[node.input[1]]
        assert levels.dtype == np.int8
        assert levels.min() >= -127
        (axis,) = [a.i for a in node.attribute if a.name == "axis"] or [None]
        assert scale.shape == (() if axis is None else (levels.shape[axis],))


def test_biases_and_lookup_tables_stay_float() -> None:
    source = Model(models.embedding(), "sketch")
    _, model = quantize(source, models.feeds(source.proto))
    values = constants(model)
    assert values["h.b"].dtype == np.float32
    assert values["table"].dtype == np.float32
    assert values["table_int8"].dtype == np.int8


def test_float_weights_that_became_int8_are_gone() -> None:
    source = Model(models.gemms(), "sketch")
    _, model = quantize(source, models.feeds(source.proto))
    assert {"g1.w", "y.w"}.isdisjoint(constants(model))


@pytest.mark.parametrize("name", [name for name in models.ALL if name not in REFERENCE_FAILS])
def test_emulated_kernels_equal_onnxs_reference(name: str) -> None:
    source = Model(models.ALL[name](), name)
    feeds = models.feeds(source.proto)
    _, model = quantize(source, feeds)
    wanted, found = run_by_reference(model, feeds), run(model, feeds)
    for output, values in wanted.items():
        np.testing.assert_allclose(found[output], values, rtol=1e-5, atol=1e-5)


def test_a_gemm_equals_fake_quantization_in_numpy() -> None:
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(0, 1, (6, 12)).astype(np.float32), np.zeros(6, np.float32)
    x = rng.normal(0, 2, (50, 12)).astype(np.float32)
    s = models.Sketch()
    s.op("Gemm", ["x", s.array("w", weight), s.array("b", bias)], "y", transB=1)
    prepared = prepare(Model(s.model({"x": ["b", 12]}, {"y": ["b", 6]}), "gemm"))
    scale = np.float32(np.abs(x).max() / 200)
    model = apply_qdq(prepared, plan_qdq(prepared), {"x": float(scale)})
    fake_x = np.clip(np.rint(x / scale), -128, 127) * scale
    steps = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    fake_w = np.clip(np.rint(weight / steps), -127, 127) * steps
    np.testing.assert_allclose(
        run(model, {"x": x})["y"], fake_x @ fake_w.T, rtol=1e-6, atol=1e-6 * np.abs(x).max()
    )


class Feeds(CalibrationDataReader):
    def __init__(self, feeds: Arrays) -> None:
        self._left = [feeds]

    def get_next(self) -> Arrays | None:
        return self._left.pop() if self._left else None


def test_outputs_equal_those_of_onnxruntimes_quantizer_given_the_same_scales() -> None:
    source = Model(models.gemms(), "gemms")
    feeds = models.feeds(source.proto, n=64)
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(source.proto, fp32)
        quantize_static(
            fp32,
            int8,
            Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Gemm", "Tanh"],
            },
        )
        theirs = Model(onnx.load(int8), "theirs")
    values = constants(theirs)
    scales = {
        node.input[0]: float(values[node.input[1]])
        for node in theirs.proto.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in values
    }
    prepared = prepare(source)
    ours = apply_qdq(prepared, plan_qdq(prepared), scales)
    np.testing.assert_allclose(run(ours, feeds)["y"], run(theirs, feeds)["y"], rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(models.ALL)), st.floats(0.5, 2))
def test_equal_arguments_give_equal_engines_and_other_scales_others(
    name: str, factor: float
) -> None:
    prepared = prepare(Model(models.ALL[name](), name))
    plan = plan_qdq(prepared)
    scales = dict.fromkeys(plan.taps, 0.1 * factor)
    engine = apply_qdq(prepared, plan, scales)
    assert engine.serialize() == apply_qdq(prepared, plan, dict(scales)).serialize()
    if plan.taps:
        other = apply_qdq(prepared, plan, dict.fromkeys(plan.taps, 0.3 * factor))
        assert other.fingerprint != engine.fingerprint


LAYERS = st.lists(
    st.sampled_from(["conv", "depthwise", "norm", "relu", "swish", "skip", "pool"]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(LAYERS)
def test_any_stack_of_layers_gives_a_valid_engine_that_obeys_the_rules(layers: list[str]) -> None:
    source = Model(models.stacked(layers), "stack")
    feeds = models.feeds(source.proto, n=2)
    plan, model = quantize(source, feeds)
    check_rules(plan, model)
    np.testing.assert_allclose(
        run(model, feeds)["y"], run_by_reference(model, feeds)["y"], rtol=1e-4, atol=1e-4
    )
    convolutions = sum(layer in {"conv", "depthwise"} for layer in layers)
    assert len(plan.weights) == convolutions


@pytest.mark.parametrize("opset", [13, 15, 19, 21, 23])
def test_engines_are_valid_from_opset_13_on(opset: int) -> None:
    proto = models.conv_bn_relu()
    proto.opset_import[0].version = opset
    source = Model(proto, "sketch")
    feeds = models.feeds(proto)
    plan, model = quantize(source, feeds)
    check_rules(plan, model)
    assert model.opset == opset
    assert np.isfinite(run(model, feeds)["y"]).all()


def test_names_that_the_graph_has_already_are_avoided() -> None:
    s = models.Sketch()
    s.gemm("x", "x_scale", 4, 4)
    s.gemm("x_scale", "x_dequantized", 4, 4)
    source = Model(s.model({"x": ["b", 4]}, {"x_dequantized": ["b", 4]}), "sketch")
    _, model = quantize(source, models.feeds(source.proto))
    onnx.checker.check_model(model.proto, full_check=True)
    assert [output.name for output in model.outputs] == ["x_dequantized"]


def test_missing_and_unusable_scales_are_told_at_once() -> None:
    prepared = prepare(Model(models.conv_bn_relu(), "sketch"))
    plan = plan_qdq(prepared)
    with pytest.raises(RangesError) as caught:
        apply_qdq(prepared, plan, {"x": float("inf"), "p1": 0.0, "fla": 1.0})
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 3
    assert "scale of x is inf" in messages[0]
    assert "scale of p1 is 0.0" in messages[1]
    assert "no scale for flat" in messages[2]


@pytest.mark.parametrize("scale", [float("nan"), -1.0, 1e-42, 1e39])
def test_scales_that_tensorrt_would_take_silently_are_refused(scale: float) -> None:
    prepared = prepare(Model(models.scaled_gemm(), "sketch"))
    with pytest.raises(RangesError, match="not a positive, finite float32"):
        apply_qdq(prepared, plan_qdq(prepared), {"x": scale})


def test_a_plan_isnt_carried_out_on_another_model() -> None:
    prepared = prepare(Model(models.gemms(), "sketch"))
    plan = plan_qdq(prepare(Model(models.conv_1d(), "sketch")))
    with pytest.raises(ValueError, match="another model"):
        apply_qdq(prepared, plan, {})


def test_int8_stays_near_fp32() -> None:
    source = Model(models.residual(), "sketch")
    feeds = models.feeds(source.proto, n=40)
    _, model = quantize(source, feeds)
    exact, rounded = run(source, feeds)["y"], run(model, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()
    assert minmax_scales(prepare(source), plan_qdq(prepare(source)), feeds)["x"] > 0
