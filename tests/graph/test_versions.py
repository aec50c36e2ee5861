"""Models of older opsets and IR versions, beside onnxruntime's run of the files as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from calaudit.graph.load import load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import ModelError
from tests.graph import models
from tests.graph.models import Sketch
from tests.graph.running import Arrays, quantize, run

Case = Callable[[Sketch, int], object]


def as_it_is(path: Path, feeds: Arrays) -> Arrays:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def weights_as_inputs(proto: onnx.ModelProto, ir_version: int = 3) -> onnx.ModelProto:
    """As exporters wrote it before IR version 4."""
    proto.ir_version = ir_version
    proto.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in proto.graph.initializer
    )
    return proto


def resized(s: Sketch, opset: int, mode: str, scale: float) -> None:
    scales = np.array([1, 1, scale, scale], np.float32)
    if opset < 9:
        s.op("Upsample", ["x"], "y", scales=scales.tolist(), mode=mode)
    elif opset < 11:
        s.op("Upsample" if opset == 9 else "Resize", ["x", s.array("k", scales)], "y", mode=mode)
    else:
        inputs = ["x", s.array("roi", np.zeros(0, np.float32)), s.array("k", scales)]
        how = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}
        s.op("Resize", inputs, "y", mode=mode, **how)


def given(s: Sketch, opset: int, since: int, op_type: str, **values: Any) -> None:
    """An op whose attributes became inputs; an input's name is made of the attribute's."""
    if opset < since:
        s.op(op_type, ["x"], "y", **{k: np.asarray(v).tolist() for k, v in values.items()})
    else:
        s.op(op_type, ["x", *(s.array(k, np.asarray(v)) for k, v in values.items())], "y")


def squeezed(s: Sketch, opset: int) -> None:
    s.op("ReduceMean", ["x"], "m", axes=[2, 3], keepdims=1)
    s.op("Unsqueeze", [s.op("Squeeze", ["m"], "q", axes=[2, 3])], "y", axes=[0])


def viewed(s: Sketch, opset: int) -> None:
    """As torch exported ``x.view(x.size(0), -1)``."""
    s.op("Gather", [s.op("Shape", ["x"], "shape"), s.array("nil", np.array(0))], "n", axis=0)
    s.op(
        "Concat",
        [s.op("Unsqueeze", ["n"], "n1", axes=[0]), s.array("rest", np.array([-1]))],
        "v",
        axis=0,
    )
    s.op(
        "Gemm", [s.op("Reshape", ["x", "v"], "flat"), s.weight("w", 144, 5), s.weight("b", 5)], "y"
    )


def split(s: Sketch, opset: int) -> None:
    s.nodes.append(helper.make_node("Split", ["x"], ["a", "y"], axis=1, split=[1, 3]))


def top(s: Sketch, opset: int) -> None:
    inputs, attributes = (
        (["x"], {"k": 2}) if opset < 10 else (["x", s.array("k", np.array([2]))], {})
    )
    s.nodes.append(helper.make_node("TopK", inputs, ["y", "at"], **attributes))


def recurrent(s: Sketch, opset: int) -> None:
    s.op("Reshape", ["x", s.array("steps", np.array([-1, 12, 12]))], "r")
    s.op("Transpose", ["r"], "t", perm=[1, 0, 2])
    s.nodes.append(
        helper.make_node(
            "LSTM", ["t", s.weight("W", 1, 20, 12), s.weight("R", 1, 20, 5)], ["y"], hidden_size=5
        )
    )


def instances(s: Sketch, opset: int) -> None:
    s.op("InstanceNormalization", ["x", s.weight("g", 4), s.weight("h", 4)], "y")


def per_place(s: Sketch, opset: int) -> None:
    s.op("BatchNormalization", ["x", *(s.weight(name, 4) for name in "abcd")], "y", spatial=0)


def chosen(s: Sketch, opset: int) -> None:
    """Ops that changed within the branches of an If."""
    graphs = {}
    for name, axis in (("then_branch", 0), ("else_branch", 1)):
        node = helper.make_node("ReduceSum", ["x"], [f"{name}/o"], axes=[2 + axis], keepdims=0)
        shown = helper.make_tensor_value_info(f"{name}/o", TensorProto.FLOAT, ["b", 4, 6])
        graphs[name] = helper.make_graph([node], name, [], [shown])
    s.op("Cast", [s.op("ReduceMax", ["x"], "most", keepdims=0)], "flag", to=TensorProto.BOOL)
    s.op("If", ["flag"], "y", **graphs)


CASES: dict[str, Case] = {
    "batch normalization": lambda s, o: s.batch_norm(s.conv("x", "c", 4, 4), "y", 4),
    "dropout": lambda s, o: s.op("Dropout", ["x"], "y"),
    "nearest, grown by 2": lambda s, o: resized(s, o, "nearest", 2),
    "nearest, grown by 1.5": lambda s, o: resized(s, o, "nearest", 1.5),
    "nearest, grown by 2.7": lambda s, o: resized(s, o, "nearest", 2.7),
    "linear, grown": lambda s, o: resized(s, o, "linear", 2),
    "softmax": lambda s, o: s.op("Softmax", ["x"], "y"),
    "softmax of axis 2": lambda s, o: s.op("LogSoftmax", ["x"], "y", axis=2),
    "sum": lambda s, o: s.op("ReduceSum", ["x"], "y", axes=[1, 3], keepdims=0),
    "mean": lambda s, o: s.op("ReduceMean", ["x"], "y", axes=[2, 3]),
    "squeeze": squeezed,
    "view": viewed,
    "clip": lambda s, o: given(s, o, 11, "Clip", min=np.float32(0), max=np.float32(0.5)),
    "pad": lambda s, o: given(s, o, 11, "Pad", pads=[0, 0, 1, 1, 0, 0, 1, 2]),
    "slice": lambda s, o: given(s, o, 10, "Slice", starts=[1], ends=[3], axes=[2]),
    "split": split,
    "top": top,
    "pool": lambda s, o: s.op("AveragePool", ["x"], "y", kernel_shape=[3, 3], pads=[1] * 4),
    "PRelu": lambda s, o: s.op("PRelu", ["x", s.weight("slope", 4, 1, 1)], "y"),
    "up": lambda s, o: s.op("ConvTranspose", ["x", s.weight("w", 4, 3, 2, 2)], "y"),
    "power": lambda s, o: s.op("Pow", ["x", s.array("two", np.float32(2))], "y"),
    "LSTM": recurrent,
    "instances": instances,
}  # fmt: skip


def make(case: Case, opset: int) -> onnx.ModelProto:
    s = Sketch()
    case(s, opset)
    sizes: list[int | str] = ["b", 4, 6, 6]
    proto = s.model({"x": sizes}, {"y": sizes}, opset=opset)
    del proto.graph.output[:]
    outputs = onnx.shape_inference.infer_shapes(proto).graph.value_info
    proto.graph.output.extend(value for value in outputs if value.name == "y")
    return proto


FEEDS = {"x": np.random.default_rng(1).normal(size=(3, 4, 6, 6)).astype(np.float32)}


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12])
@pytest.mark.parametrize("name", CASES)
def test_a_converted_model_computes_what_onnxruntime_makes_of_the_file(
    name: str, opset: int, tmp_path: Path
) -> None:
    path = tmp_path / "old.onnx"
    onnx.save(weights_as_inputs(make(CASES[name], opset)), str(path))
    model = load_model(path)
    assert model.opset == 13
    assert [notice.code for notice in model.notices] == ["opset_converted"]
    wanted, found = as_it_is(path, FEEDS), run(model, FEEDS)
    assert list(found) == list(wanted)
    np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 12])
def test_ops_within_branches_are_converted_too(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    onnx.save(make(chosen, opset), str(path))
    np.testing.assert_allclose(
        run(load_model(path), FEEDS)["y"], as_it_is(path, FEEDS)["y"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("case", "opset", "reason"),
    [
        (lambda s, o: s.op("Hardmax", ["x"], "y"), 12, "Hardmax node_y means something else"),
        (lambda s, o: resized(s, o, "nearest", 0.4), 10, "Resize node_y may make its input"),
        (lambda s, o: s.op("Relu", ["x"], "y"), 6, "onnxruntime runs models from opset 7 on"),
        (per_place, 7, "spatial"),
    ],
)  # fmt: skip
def test_what_would_change_its_meaning_is_refused_by_name(
    case: Case, opset: int, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.onnx"
    onnx.save(make(case, opset), str(path))
    with pytest.raises(ModelError, match=f"uses opset {opset}.*{reason}") as caught:
        load_model(path)
    assert "opset_version=13" in str(caught.value)


ENGINES = {
    "residual": models.residual,
    "conv_bn_relu": models.conv_bn_relu,
    "attention": models.matmul_kinds,
}


@pytest.mark.parametrize("ir_version", [3, 4])
@pytest.mark.parametrize("opset", [7, 11, 17])
@pytest.mark.parametrize("name", ENGINES)
def test_a_model_whose_weights_are_inputs_too_gives_a_valid_engine(
    name: str, opset: int, ir_version: int, tmp_path: Path
) -> None:
    proto = ENGINES[name]()
    proto.opset_import[0].version = opset
    path = tmp_path / "old.onnx"
    onnx.save(weights_as_inputs(proto, ir_version), str(path))
    model = load_model(path)
    assert len(model.inputs) == 1
    feeds = models.feeds(model.proto)
    plan, engine = quantize(model, feeds)
    onnx.checker.check_model(engine.proto, full_check=True)
    assert (plan.notices[:1] == model.notices) if opset < 13 else (plan.notices == ())
    assert len(plan.weights) == len(plan_qdq(prepare(load_model(path))).weights) > 0
    exact, rounded = as_it_is(path, feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_an_old_file_whose_weights_are_no_inputs_is_read_as_onnxruntime_reads_it(
    tmp_path: Path,
) -> None:
    proto = models.gemms()
    proto.ir_version = 3
    path = tmp_path / "old.onnx"
    onnx.save(proto, str(path))
    feeds = models.feeds(proto)
    model = load_model(path)
    np.testing.assert_array_equal(run(model, feeds)["y"], as_it_is(path, feeds)["y"])
    onnx.checker.check_model(model.proto, full_check=True)
