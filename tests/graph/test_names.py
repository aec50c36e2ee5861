"""Names that a graph has already, in whatever place, are never given again."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.names import node_names, tensor_names
from calaudit.graph.prepare import prepare
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.running import Arrays, quantize, run

GENERATED = (
    "x_scale", "x_zero_point", "x_quantized", "x_dequantized", "m.w_int8", "m.w_scale",
    "m.w_zero_point", "m.w_dequantized", "x_quantized/Q", "x_dequantized/DQ", "m.w_dequantized/DQ",
)  # fmt: skip


def product() -> tuple[Sketch, dict[str, list[int | str]], dict[str, list[int | str]]]:
    s = Sketch()
    s.gemm("x", "m", 4, 4)
    s.op("Relu", ["m"], "y")
    return s, {"x": ["b", 4]}, {"y": ["b", 4]}


def as_unread_input(name: str) -> onnx.ModelProto:
    s, inputs, outputs = product()
    return s.model({name: ["b", 2], **inputs}, outputs)


def as_unread_initializer(name: str) -> onnx.ModelProto:
    s, inputs, outputs = product()
    s.weight(name, 3)
    return s.model(inputs, outputs)


def as_output(name: str) -> onnx.ModelProto:
    s, inputs, outputs = product()
    s.op("Neg", ["m"], name)
    return s.model(inputs, {**outputs, name: ["b", 4]})


def as_tensor(name: str) -> onnx.ModelProto:
    s, inputs, outputs = product()
    s.op("Neg", ["m"], name)
    s.op("Abs", [name], "z")
    return s.model(inputs, {**outputs, "z": ["b", 4]})


def as_node(name: str) -> onnx.ModelProto:
    s, inputs, outputs = product()
    s.nodes[-1].name = name
    return s.model(inputs, outputs)


def as_value_info(name: str) -> onnx.ModelProto:
    proto = as_node("any")
    proto.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [9, 9, 9]))
    return proto


def inside(name: str) -> onnx.ModelProto:
    """In the branches of an If: a tensor, a node and a weight."""
    s, inputs, outputs = product()
    shown = [helper.make_tensor_value_info(f"{name}/o", TensorProto.FLOAT, None)]
    weight = numpy_helper.from_array(np.float32(2), f"{name}/k")
    nodes = [
        helper.make_node("Neg", ["m"], [name], name=name),
        helper.make_node("Mul", [name, f"{name}/k"], [f"{name}/o"], name=f"{name}/n"),
    ]
    graph = helper.make_graph(nodes, "branch", [], shown, [weight])
    s.op("ReduceSum", ["m"], "sum", keepdims=0)
    s.op("Cast", ["sum"], "flag", to=TensorProto.BOOL)
    s.op("If", ["flag"], "z", then_branch=graph, else_branch=graph)
    return s.model(inputs, {**outputs, "z": ["b", 4]})


def as_input(name: str) -> onnx.ModelProto:
    """The one that is read; of a Resize, whose scales stay FP32 under a name of the converter's."""
    s = Sketch()
    s.op("Relu", [name], "r")
    s.op("Resize", ["r", "", s.array("k", np.array([1, 1, 2, 2], np.float32))], "y")
    return s.model({name: ["b", 2, 3, 3]}, {"y": ["b", 2, 6, 6]})


CASTS = (
    "graph_input_cast_0", "graph_output_cast_0", "graph_input_cast0", "graph_output_cast0",
    "r_cast_to_fp32", "r_cast_to_fp32_node", "y_cast_to_fp16",
)  # fmt: skip
PLACES = {
    f.__name__: f
    for f in (
        as_unread_input, as_unread_initializer, as_output, as_tensor, as_node, as_value_info,
        inside,
    )
}  # fmt: skip


def feeds_of(proto: onnx.ModelProto) -> Arrays:
    return models.feeds(proto)


def check_engine(proto: onnx.ModelProto) -> None:
    """The engine is valid, keeps the model's edges, and answers what it does under other names."""
    source = Model(proto, "sketch")
    feeds = feeds_of(proto)
    _, engine = quantize(source, feeds)
    onnx.checker.check_model(engine.proto, full_check=True)
    assert [i.name for i in engine.inputs] == [i.name for i in source.inputs]
    assert [o.name for o in engine.outputs] == [o.name for o in source.outputs]
    named = [node.name for node in engine.proto.graph.node]
    assert all(named)
    assert len(set(named)) == len(named)
    exact, rounded = run(source, feeds), run(engine, feeds)
    for name, values in exact.items():
        assert np.abs(rounded[name] - values).max() < 0.05 * np.abs(values).max()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("name", GENERATED)
def test_a_name_that_would_be_generated_may_be_taken_anywhere(
    name: str, place: Callable[[str], onnx.ModelProto]
) -> None:
    check_engine(place(name))


@pytest.mark.parametrize("name", CASTS)
@pytest.mark.parametrize("place", [*PLACES.values(), as_input], ids=[*PLACES, "as_input"])
def test_fp16_keeps_names_that_its_converter_would_give(
    name: str, place: Callable[[str], onnx.ModelProto]
) -> None:
    source = prepare(Model(place(name), "sketch"))
    halved, _ = convert_to_fp16(source)
    onnx.checker.check_model(halved.proto)
    assert tensor_names(source.proto.graph) <= tensor_names(halved.proto.graph)
    named = [node.name for node in halved.proto.graph.node]
    assert len(set(named)) == len(named)
    assert {node.name for node in source.proto.graph.node} <= set(named)
    feeds = feeds_of(source.proto)
    exact, rounded = run(source, feeds), run(halved, feeds)
    for output, values in exact.items():
        np.testing.assert_allclose(rounded[output], values, rtol=1e-2, atol=1e-2)


def test_a_bias_that_folding_makes_doesnt_take_anothers_name() -> None:
    s = Sketch()
    s.batch_norm(s.conv("x", "c", 3, 4, bias=False), "n", 4)
    s.op("Conv", ["n", s.weight("w", 4, 4, 1, 1), s.weight("c.w_bias", 4, spread=5.0)], "y")
    source = Model(s.model({"x": ["b", 3, 5, 5]}, {"y": ["b", 4, 5, 5]}), "sketch")
    feeds = models.feeds(source.proto)
    wanted = run(source, feeds)["y"]
    prepared = prepare(source)
    onnx.checker.check_model(prepared.proto, full_check=True)
    assert [node.op_type for node in prepared.proto.graph.node] == ["Conv", "Conv"]
    np.testing.assert_allclose(run(prepared, feeds)["y"], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run(source, feeds)["y"], wanted)


@pytest.mark.parametrize("names", [[""], ["node"], ["node", "node_2"], ["", "a1", "a1/Q"]])
def test_nodes_of_one_name_or_none_get_different_ones(names: list[str], tmp_path: Path) -> None:
    proto = models.residual()
    for node, name in zip(proto.graph.node, cycle(names), strict=False):
        node.name = name
    onnx.save(proto, str(tmp_path / "model.onnx"))
    check_engine(load_model(tmp_path / "model.onnx").proto)


def test_an_optional_first_output_without_a_name_does_no_harm() -> None:
    s = Sketch()
    weights = [s.weight(name, 1, 4 * 5, 5 if name == "r" else 3) for name in ("w", "r")]
    s.nodes.append(helper.make_node("LSTM", ["x", *weights], ["", "last"], hidden_size=5, name=""))
    s.op("Squeeze", ["last", s.array("axis", np.array([0]))], "h")
    s.gemm("h", "y", 5, 2)
    proto = s.model({"x": ["t", 2, 3]}, {"y": [2, 2]})
    source = Model(proto, "sketch")
    feeds = {"x": np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)}
    plan, engine = quantize(source, feeds)
    onnx.checker.check_model(engine.proto, full_check=True)
    assert [d.subject for d in plan.decisions if d.op_type == "LSTM"] == ["last"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=4, max_size=4, unique=True))
def test_names_may_be_any_text(names: list[str]) -> None:
    x, hidden, y, weight = names
    s = Sketch()
    s.op("MatMul", [x, s.weight(weight, 4, 4)], hidden)
    s.op("Relu", [hidden], y)
    proto = s.model({x: ["b", 4]}, {y: ["b", 4]})
    proto.graph.node[0].name, proto.graph.node[1].name = y, x
    check_engine(proto)


def test_names_are_found_wherever_they_stand() -> None:
    graph = inside("here").graph
    graph.value_info.append(helper.make_tensor_value_info("noted", TensorProto.FLOAT, []))
    assert {"here", "here/o", "here/k", "noted", "x", "y", "m.w", "flag"} <= tensor_names(graph)
    assert {"here", "here/n", "node_z"} <= node_names(graph)
