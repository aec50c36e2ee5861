"""Multiply-accumulates: what onnxruntime adds up where every operand is 1."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from calaudit.graph.products import products
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.real_models import REAL, real_model
from tests.graph.running import quantize, run

Shapes = Mapping[str, Sequence[int]]
CASES: dict[str, tuple[str, Shapes, dict[str, Any]]] = {
    "conv": ("Conv", {"x": (3, 9, 8), "w": (4, 3, 3, 2)}, {"strides": [2, 1], "dilations": [1, 2]}),
    "grouped conv": ("Conv", {"x": (6, 7, 7), "w": (9, 2, 3, 3)}, {"group": 3}),
    "depthwise conv": ("Conv", {"x": (5, 7), "w": (5, 1, 4)}, {"group": 5}),
    "conv in 3-D": ("Conv", {"x": (2, 4, 5, 6), "w": (3, 2, 2, 2, 2)}, {}),
    "transposed conv": ("ConvTranspose", {"x": (4, 5, 6), "w": (4, 3, 2, 2)}, {"strides": [2, 2]}),
    "grouped transposed conv": ("ConvTranspose", {"x": (4, 5), "w": (4, 2, 3)}, {"group": 2}),
    "gemm": ("Gemm", {"x": (12,), "w": (5, 12)}, {"transB": 1}),
    "matmul": ("MatMul", {"x": (4, 6), "w": (6, 3)}, {}),
    "stacked matmul": ("MatMul", {"x": (2, 4, 6), "w": (2, 6, 3)}, {}),
    "matmul by a vector": ("MatMul", {"x": (4, 6), "w": (6,)}, {}),
    "einsum": ("Einsum", {"x": (4, 6, 2), "w": (6, 3)}, {"equation": "bijk,jl->bilk"}),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_are_what_a_sum_over_ones_gives(case: str) -> None:
    """Without padding or bias each multiplication of 1 by 1 adds 1 to the outputs."""
    op_type, shapes, attributes = CASES[case]
    s = Sketch()
    s.array("w", np.ones(shapes["w"], np.float32))
    s.op(op_type, ["x", "w"], "y", **attributes)
    proto = s.model({"x": ["b", *shapes["x"]]}, {"y": []})
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = Model(proto, case)
    feeds = {"x": np.ones((1, *shapes["x"]), np.float32)}
    assert count_macs(model) == {"node_y": int(run(model, feeds)["y"].sum())}


def test_a_gemm_that_transposes_its_activation_counts_the_same() -> None:
    assert count_macs(Model(models.transposed_gemm(), "m")) == {"node_y": 12 * 6}


def test_a_recurrent_layer_multiplies_by_both_its_weights_in_each_step() -> None:
    s = Sketch()
    s.op("Transpose", ["x"], "steps", perm=[1, 0, 2])
    weights = [s.weight("w", 2, 4 * 8, 5), s.weight("r", 2, 4 * 8, 8)]
    s.op("LSTM", ["steps", *weights], "y", hidden_size=8, direction="bidirectional")
    model = Model(s.model({"x": ["b", 7, 5]}, {"y": [7, 2, "b", 8]}), "lstm")
    assert count_macs(model) == {"node_y": 7 * 2 * (4 * 8 * 5 + 4 * 8 * 8)}


@pytest.mark.parametrize("name", sorted(set(models.ALL) - {"dynamic_kernel"}))
def test_the_quantized_graph_costs_what_the_fp32_one_does(name: str) -> None:
    source = Model(models.ALL[name](), name)
    _, quantized = quantize(source, models.feeds(source.proto))
    assert count_macs(quantized) == count_macs(prepare(source))
    assert all(count_macs(quantized).values())


def test_free_sizes_are_the_samples_and_unknown_without_them() -> None:
    s = Sketch()
    s.conv("x", "c", 3, 4)
    s.op("Reshape", ["c", s.array("flat", np.array([0, -1]))], "f")
    s.op("ReduceMean", ["f"], "m", axes=[1])
    s.gemm("m", "y", 1, 2)
    proto = s.model({"x": ["b", 3, "height", "width"]}, {"y": ["b", 2]})
    model = Model(proto, "free")
    assert count_macs(model)["node_c"] is None
    assert count_macs(model, {"x": (3, 10, 20)})["node_c"] == 10 * 20 * 4 * 3 * 9
    assert count_macs(model, {"x": (3, None, 20)})["node_c"] is None
    assert count_macs(model, {"x": (3, 10)})["node_c"] is None


@pytest.mark.parametrize("equation", ["b...j,jl->b...l", "bij->bji"])
def test_an_einsum_that_isnt_two_plain_operands_is_unknown(equation: str) -> None:
    s = Sketch()
    inputs = ["x", s.weight("w", 6, 3)][: 1 + equation.count(",")]
    s.op("Einsum", inputs, "y", equation=equation)
    model = Model(s.model({"x": ["b", 4, 6]}, {"y": ["b", "i", "l"]}), "einsum")
    assert count_macs(model) == {"node_y": None}


def test_products_carry_their_count_groups_and_tensors() -> None:
    model = Model(models.depthwise_se(), "m")
    found = {each.name: each for each in products(model)}
    depthwise = found["node_depthwise"]
    assert (depthwise.macs, depthwise.groups) == (16 * 6 * 6 * 9, 16)
    assert depthwise.tensors == ("h1", "depthwise")
    _, quantized = quantize(model, models.feeds(model.proto))
    assert {each.name: each.macs for each in products(quantized)} == {
        name: each.macs for name, each in found.items()
    }


@pytest.mark.parametrize("name", REAL)
def test_every_product_of_the_real_models_is_counted(name: str) -> None:
    model = prepare(Model(onnx.load(str(real_model(name))), name))
    counts = count_macs(model)
    assert counts
    assert all(counts.values())
    weights = sum(
        numpy_helper.to_array(tensor).size
        for tensor in model.proto.graph.initializer
        if len(tensor.dims) > 1
    )
    assert sum(filter(None, counts.values())) >= weights, "each weight multiplies at least once"
