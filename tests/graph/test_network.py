import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.trt_cache import open_trt_cache
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.network import Network, import_network
from calaudit.graph.taps import with_taps
from tests.graph.models import Sketch
from tests.graph.real_caches import real_cache
from tests.graph.real_models import real_model
from tests.graph.running import run

ASKED = json.loads(Path(__file__).with_name("asked_tensors.json").read_text(encoding="utf-8"))
"""Model → names in a calibration cache that TensorRT 8.5.3.1 wrote on an NVIDIA H200."""


def network(proto: onnx.ModelProto) -> Network:
    return import_network(Model(proto, "m"))


def kinds(found: Network) -> dict[str, str]:
    return {each.name: each.kind for each in found.tensors}


def test_a_real_model_gives_the_names_of_tensorrts_own_cache_in_its_order() -> None:
    names = open_trt_cache(real_cache("clean-entropy-128")).scales
    found = import_network(load_model(real_model("power")))
    assert found.names == tuple(names)
    assert len(names) == 81
    assert found.notices == ()
    made = {name: kind for name, kind in kinds(found).items() if name.startswith("(Unnamed")}
    assert list(made.values()) == ["derived"] * 12 + ["constant", "derived", "constant", "constant"]
    assert set(kinds(found)) - set(made) == {
        name for name, kind in kinds(found).items() if kind == "observed"
    }


@pytest.mark.parametrize("name", list(ASKED))
def test_so_do_a_detector_and_a_ranker(name: str) -> None:
    found = import_network(load_model(real_model(name)))
    assert list(found.names) == ASKED[name]
    assert found.notices == ()


def test_every_tensor_of_the_network_is_computed_under_its_name() -> None:
    s = Sketch()
    s.op("HardSwish", [s.conv("x", "c", 2, 4)], "h")
    s.gemm(s.op("Flatten", [s.op("ReduceMean", ["h"], "r", axes=[2, 3])], "f"), "y", 4, 3)
    found = network(s.model({"x": ("n", 2, 5, 5)}, {"y": ("n", 3)}))
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 5)).astype(np.float32)
    values = run(with_taps(found.model, found.names), {"x": x})
    hard = next(name for name in found.names if name.endswith("[Activation]_output"))
    product = next(name for name in found.names if name.endswith("[Matrix Multiply]_output"))
    np.testing.assert_allclose(values[hard], np.clip(values["c"] / 6 + 0.5, 0, 1), atol=1e-6)
    bias = next(t for t in found.given.proto.graph.initializer if t.name == "y.b")
    np.testing.assert_allclose(
        values[product] + onnx.numpy_helper.to_array(bias), values["y"], rtol=1e-5
    )


def test_an_fp16_model_has_the_names_of_its_fp32_twin_and_is_observed_in_float() -> None:
    s = Sketch()
    s.gemm(s.op("HardSwish", ["x"], "h"), "k", 4, 3)
    s.op("HardSwish", ["k"], "y")
    twin = Model(s.model({"x": ("n", 4)}, {"y": ("n", 3)}), "m")
    half = Model(
        helper.make_model(float16_graph(twin.proto.graph), opset_imports=twin.proto.opset_import),
        "m",
    )
    found, whole = import_network(half), import_network(twin)
    assert [(t.name, t.kind) for t in found.tensors] == [(t.name, t.kind) for t in whole.tensors]
    x = np.random.default_rng(0).normal(size=(3, 4))
    values = run(with_taps(found.model, found.names), {"x": x.astype(np.float16)})
    expected = run(with_taps(whole.model, whole.names), {"x": x.astype(np.float32)})
    for name in found.names:
        np.testing.assert_allclose(values[name], expected[name], atol=4e-3)


def float16_graph(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The same graph with every tensor in FP16."""
    weights = [
        numpy_helper.from_array(numpy_helper.to_array(each).astype(np.float16), each.name)
        for each in graph.initializer
    ]
    values = [
        [helper.make_tensor_value_info(v.name, TensorProto.FLOAT16, None) for v in values]
        for values in (graph.input, graph.output)
    ]
    for made, value in zip(values[0] + values[1], (*graph.input, *graph.output), strict=True):
        made.type.tensor_type.shape.CopyFrom(value.type.tensor_type.shape)
    return helper.make_graph(list(graph.node), "half", *values, weights)


def test_constants_that_are_weights_are_told_from_computed_ones() -> None:
    s = Sketch()
    s.gemm(s.op("Add", ["x", s.op("Neg", [s.weight("w", 1, 4)], "negative")], "a"), "y", 4, 3)
    found = network(s.model({"x": ("n", 4)}, {"y": ("n", 3)}))
    held = {name: found.held(name) for name in found.fixed}
    assert [name for name, values in held.items() if values is None] == ["negative"]
    weights = {t.name: numpy_helper.to_array(t) for t in found.given.proto.graph.initializer}
    kept = [values for values in held.values() if values is not None]
    for values, name in zip(kept, ["w", "y.w", "y.b", "y.b"], strict=True):
        np.testing.assert_array_equal(values, weights[name])


def test_tensors_of_integers_have_no_range() -> None:
    s = Sketch()
    s.op("Relu", ["x"], "y")
    s.op("Shape", ["y"], "sizes")
    found = network(
        s.model({"x": ("n", 4)}, {"y": ("n", 4), "sizes": (2,)}, types={"sizes": TensorProto.INT64})
    )
    assert kinds(found) == {"x": "observed", "y": "observed"}


@pytest.mark.parametrize("after", [True, False])
def test_behind_an_op_of_unknown_layers_numbered_names_are_told_to_be_unsure(after: bool) -> None:
    s = Sketch()
    last = "x"
    for number, op_type in enumerate(
        ["Hardmax", "HardSwish"] if after else ["HardSwish", "Hardmax"]
    ):
        last = s.op(op_type, [last], "hy"[number])
    found = network(s.model({"x": ("n", 4)}, {"y": ("n", 4)}))
    assert {"x", "h", "y"} <= set(found.names)
    (told,) = found.notices
    assert told.code == "names_unsure"
    assert told.message.startswith("what layers TensorRT's parser makes of Hardmax node_")
    assert bool(found.guessed) == after
