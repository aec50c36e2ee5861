"""Models with If, Loop, Scan and functions: folded where they can be, else named and in float."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.names import graphs_within
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.survey import name_tensors
from tests.graph.models import Sketch
from tests.graph.running import quantize, run


def branch(
    name: str, nodes: Sequence[NodeProto], out: str, weights: Sequence[TensorProto] = ()
) -> GraphProto:
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
    return helper.make_graph(list(nodes), name, [], outputs, list(weights))


def squeeze_unless(s: Sketch, x: str, axis: int, out: str) -> None:
    """As TorchScript exports ``squeeze(axis)`` of a tensor whose shape it doesn't know."""
    at = s.array(f"{out}.at", np.array([axis]))
    s.op("Gather", [s.op("Shape", [x], f"{out}.shape"), at], f"{out}.size", axis=0)
    s.op("Equal", [f"{out}.size", s.array(f"{out}.one", np.array([1]))], f"{out}.is_one")
    s.op("Squeeze", [f"{out}.is_one"], f"{out}.flag")
    squeezed = helper.make_node("Squeeze", [x, at], ["inner"], name="inner")
    same = helper.make_node("Identity", [x], ["inner"], name="inner")
    s.op(
        "If",
        [f"{out}.flag"],
        out,
        then_branch=branch("then", [squeezed], "inner"),
        else_branch=branch("else", [same], "inner"),
    )


def pooled_over_height() -> onnx.ModelProto:
    """A CRNN's neck: height is free, but pooled away before it is squeezed."""
    s = Sketch()
    s.op("Relu", [s.conv("x", "c", 3, 8)], "r")
    s.op("ReduceMean", ["r"], "pooled", axes=[2], keepdims=1)
    squeeze_unless(s, "pooled", 2, "row")
    s.op("Transpose", ["row"], "steps", perm=[0, 2, 1])
    s.op("MatMul", ["steps", s.weight("w", 8, 5)], "y")
    return s.model({"x": ["b", 3, "height", 12]}, {"y": ["b", 12, 5]})


def two_squeezes() -> onnx.ModelProto:
    """Branches of two If use the same names inside."""
    s = Sketch()
    s.op("ReduceMean", [s.conv("x", "c", 3, 8)], "pooled", axes=[2, 3], keepdims=1)
    squeeze_unless(s, "pooled", 3, "once")
    squeeze_unless(s, "once", 2, "twice")
    s.gemm("twice", "y", 8, 5)
    return s.model({"x": ["b", 3, "height", "width"]}, {"y": ["b", 5]})


def two_affine() -> onnx.ModelProto:
    """Both branches taken, and those not taken, hold a weight of one name each."""
    s = Sketch()
    before = s.conv("x", "c", 3, 3)
    yes = s.array("yes", np.array(True))
    for place, factor in (("a", 2.0), ("b", 3.0)):
        shapes = {
            kind: branch(
                kind,
                [helper.make_node("Mul", [before, "k"], ["inner"], name="inner")],
                "inner",
                [numpy_helper.from_array(np.float32(factor + more), "k")],
            )
            for kind, more in (("then_branch", 0), ("else_branch", 9))
        }
        before = s.op("If", [yes], place, **shapes)
    s.conv("b", "y", 3, 3)
    return s.model({"x": ["b", 3, 6, 6]}, {"y": ["b", 3, 6, 6]})


FOLDABLE = {f.__name__: f for f in (pooled_over_height, two_squeezes, two_affine)}


@pytest.mark.parametrize("make", FOLDABLE.values(), ids=FOLDABLE)
def test_an_if_whose_condition_is_constant_is_folded(
    make: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make(), str(path))
    source = load_model(path)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 6, 12)).astype(np.float32)}
    if make is two_affine:
        feeds["x"] = feeds["x"][..., :6]
    wanted, before = run(source, feeds)["y"], source.fingerprint
    prepared = prepare(source)
    onnx.checker.check_model(prepared.proto, full_check=True)
    assert "If" not in {node.op_type for node in prepared.proto.graph.node}
    names = [node.name for node in prepared.proto.graph.node]
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(run(prepared, feeds)["y"], wanted, rtol=1e-5, atol=1e-5)
    plan, engine = quantize(source, feeds)
    assert len(plan.weights) == 2
    assert [tap for tap in plan.taps if not name_tensors(source).has(tap)] == []
    found = run(engine, feeds)["y"]
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    assert source.fingerprint == before
    np.testing.assert_array_equal(run(source, feeds)["y"], wanted)


def free_height() -> onnx.ModelProto:
    """The condition depends on the sample: the If stays, and holds no weights."""
    s = Sketch()
    s.op("Relu", [s.conv("x", "c", 3, 8)], "r")
    s.op("MaxPool", ["r"], "p", kernel_shape=[6, 1], strides=[6, 1])
    squeeze_unless(s, "p", 2, "row")
    s.op("Transpose", ["row"], "steps", perm=[0, 2, 1])
    s.op("MatMul", ["steps", s.weight("w", 8, 5)], "y")
    return s.model({"x": ["b", 3, "height", 12]}, {"y": ["b", 12, 5]})


def either_kernel() -> onnx.ModelProto:
    """An If that chooses between weights of the outer graph, and holds one of its own."""
    s = Sketch()
    s.conv("x", "c", 3, 4)
    s.op("ReduceSum", ["c"], "sum", keepdims=0)
    s.op("Greater", ["sum", s.array("nil", np.float32(0))], "flag")
    s.weight("outer.w", 4, 4, 1, 1)
    own = numpy_helper.from_array(s.rng.normal(size=(4, 4, 1, 1)).astype(np.float32), "own.w")
    conv = [helper.make_node("Conv", ["c", w], ["i"], name="i") for w in ("outer.w", "own.w")]
    s.op(
        "If",
        ["flag"],
        "z",
        then_branch=branch("then", [conv[0]], "i"),
        else_branch=branch("else", [conv[1]], "i", [own]),
    )
    s.conv("z", "y", 4, 2)
    return s.model({"x": ["b", 3, 6, 6]}, {"y": ["b", 2, 6, 6]})


def looped() -> onnx.ModelProto:
    """Three steps of ``h = tanh(h @ w + g)``: w is of the outer graph, g an activation of it."""
    s = Sketch()
    s.op("MatMul", ["x", s.weight("w0", 6, 6)], "g")
    s.weight("w", 6, 6)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "w"], ["hw"], name="product"),
            helper.make_node("Add", ["hw", "g"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["h_next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("h", TensorProto.FLOAT, None),
        ],
        [info("go_on", TensorProto.BOOL, []), info("h_next", TensorProto.FLOAT, None)],
    )
    s.op(
        "Loop",
        [s.array("n", np.array(3)), s.array("go_first", np.array(True)), "g"],
        "h_last",
        body=body,
    )
    s.op("MatMul", ["h_last", s.weight("w1", 6, 2)], "y")
    return s.model({"x": ["b", 6]}, {"y": ["b", 2]})


def scanned() -> onnx.ModelProto:
    """A recurrence over the first axis, an If with weights inside its body."""
    s = Sketch()
    s.op("MatMul", ["x", s.weight("w0", 5, 5)], "g")
    s.op("Transpose", ["g"], "steps", perm=[1, 0, 2])
    s.op("ReduceSum", ["steps", s.array("time", np.array([0]))], "state", keepdims=0)
    s.weight("w", 5, 5)
    info = helper.make_tensor_value_info
    product = branch("then", [helper.make_node("MatMul", ["t", "w"], ["m"], name="deep")], "m")
    same = branch("else", [helper.make_node("Identity", ["t"], ["m"])], "m")
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state_in", "t"], ["sum"]),
            helper.make_node("ReduceSum", ["sum"], ["total"], keepdims=0),
            helper.make_node("Cast", ["total"], ["flag"], to=TensorProto.BOOL),
            helper.make_node("If", ["flag"], ["chosen"], then_branch=product, else_branch=same),
            helper.make_node("Identity", ["sum"], ["state_out"]),
        ],
        "body",
        [info("state_in", TensorProto.FLOAT, None), info("t", TensorProto.FLOAT, None)],
        [info("state_out", TensorProto.FLOAT, None), info("chosen", TensorProto.FLOAT, None)],
    )
    node = helper.make_node(
        "Scan", ["state", "steps"], ["last", "all"], name="scan", body=body, num_scan_inputs=1
    )
    s.nodes.append(node)
    s.op("Transpose", ["all"], "back", perm=[1, 0, 2])
    s.op("MatMul", ["back", s.weight("w1", 5, 2)], "y")
    return s.model({"x": ["b", 4, 5]}, {"y": ["b", 4, 2]})


HOLDING = {
    "If": (either_kernel, ["Conv i", "Conv i"], (2, 3, 6, 6), 2),
    "Loop": (looped, ["MatMul product"], (7, 6), 2),
    "Scan": (scanned, ["MatMul deep"], (3, 4, 5), 2),
}


def decision(plan: QdqPlan, op_type: str) -> tuple[str, str, bool]:
    (found,) = (d for d in plan.decisions if d.kind == "node" and d.op_type == op_type)
    return found.action, found.reason, found.weighted


def test_a_subgraph_without_weights_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(free_height(), str(path))
    source = load_model(path)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 6, 12)).astype(np.float32)}
    plan, engine = quantize(source, feeds)
    assert plan.taps == ("x", "steps")
    assert not decision(plan, "If")[2]
    assert plan.notices == ()
    onnx.checker.check_model(engine.proto)
    exact, rounded = run(source, feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_an_output_whose_rank_an_if_leaves_unknown_is_read(tmp_path: Path) -> None:
    proto = free_height()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "model.onnx"
    onnx.save(proto, str(path))
    source = load_model(path)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 6, 12)).astype(np.float32)}
    plan, engine = quantize(source, feeds)
    assert plan.taps == ("x", "steps")
    np.testing.assert_allclose(run(engine, feeds)["y"], run(source, feeds)["y"], atol=0.1)


@pytest.mark.parametrize("op_type", HOLDING)
def test_weights_in_a_subgraph_stay_float_by_name_and_the_rest_is_quantized(
    op_type: str, tmp_path: Path
) -> None:
    make, inner, shape, n_weights = HOLDING[op_type]
    path = tmp_path / "model.onnx"
    onnx.save(make(), str(path))
    source = load_model(path)
    feeds = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    plan, engine = quantize(source, feeds)
    action, reason, weighted = decision(plan, op_type)
    assert (action, weighted) == ("float", True)
    assert reason == f"holds {', '.join(inner)}, where no activation can be observed"
    assert len(plan.weights) == n_weights
    (notice,) = plan.notices
    assert notice.code == "weights_in_subgraphs"
    assert op_type in notice.message
    assert "Trace the model" in notice.message
    onnx.checker.check_model(engine.proto)
    (node,) = (node for node in source.proto.graph.node if node.op_type == op_type)
    within = {name for graph in graphs_within(node) for each in graph.node for name in each.output}
    assert all(map(name_tensors(source).has, within))
    exact, rounded = run(source, feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.06 * np.abs(exact).max()


def in_functions() -> onnx.ModelProto:
    """A block as a function that calls another: both hold weights given from outside."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    inner = helper.make_function(
        "mine", "Product", ["a", "w"], ["p"], [helper.make_node("MatMul", ["a", "w"], ["p"])], opset
    )
    outer = helper.make_function(
        "mine",
        "Block",
        ["a", "w"],
        ["r"],
        [
            helper.make_node("Product", ["a", "w"], ["t"], domain="mine"),
            helper.make_node("Relu", ["t"], ["r"]),
        ],
        opset,
    )
    s = Sketch()
    s.op("Block", ["x", s.weight("w0", 6, 6)], "t", domain="mine")
    s.op("Block", ["t", s.weight("w1", 6, 6)], "y", domain="mine")
    proto = s.model({"x": ["b", 6]}, {"y": ["b", 6]})
    proto.opset_import.append(opset[1])
    proto.functions.extend([outer, inner])
    return proto


def test_functions_are_inlined_before_anything_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(in_functions(), str(path))
    source = load_model(path)
    feeds = {"x": np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)}
    plan, engine = quantize(source, feeds)
    assert [weight.tensor for weight in plan.weights] == ["w0", "w1"]
    assert not engine.proto.functions
    exact, rounded = run(source, feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("op_type", ["If", "Loop", "Scan"])
def test_models_with_subgraphs_run_in_fp16(op_type: str) -> None:
    make, _, shape, _ = HOLDING[op_type]
    prepared = prepare(Model(make(), "sketch"))
    feeds = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    halved, _ = convert_to_fp16(prepared)
    exact, rounded = run(prepared, feeds)["y"], run(halved, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.01 * np.abs(exact).max()
