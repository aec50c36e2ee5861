"""One graph whose scales are fed gives what a graph of each choice of scales gives."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.fed_scales import SCALES, with_fed_scales
from calaudit.graph.load import load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.runtime.errors import ModelError


def write_residual(path: Path, *, name: str = "x") -> Path:
    """x → Conv, Relu → Conv → Add (x's Conv) → global mean → Gemm: taps of every kind."""
    rng = np.random.default_rng(3)

    def constant(shape: tuple[int, ...], called: str) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), called)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", [name, "k1"], ["a"], name="c1", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"], name="r1"),
            helper.make_node("Conv", ["b", "k2"], ["c"], name="c2", pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["c", "b"], ["d"], name="sum"),
            helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
            helper.make_node("Flatten", ["e"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "w"], ["y"], name="head"),
        ],
        "residual",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [constant((6, 3, 3, 3), "k1"), constant((6, 6, 3, 3), "k2"), constant((6, 4), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("seed", range(4))
def test_fed_scales_give_the_answers_of_constant_ones_to_the_bit(tmp_path: Path, seed: int) -> None:
    model = prepare(load_model(write_residual(tmp_path / "m.onnx")))
    plan = plan_qdq(model)
    assert len(plan.taps) == 3
    rng = np.random.default_rng(seed)
    scales = {tap: float(np.float32(rng.uniform(0.005, 0.2))) for tap in plan.taps}
    x = rng.normal(size=(5, 3, 8, 8)).astype(np.float32)
    backend = OnnxruntimeBackend()
    constant = backend.load(apply_qdq(model, plan, scales)).run({"x": x})
    row = np.array([scales[tap] for tap in plan.taps], np.float32)
    fed = backend.load(with_fed_scales(model, plan))
    given = fed.run({"x": x, SCALES: np.broadcast_to(row, (5, 3))})
    np.testing.assert_array_equal(given["y"], constant["y"])
    other = fed.run({"x": x, SCALES: np.broadcast_to(row * 4, (5, 3))})
    assert (other["y"] != constant["y"]).any()


def test_the_model_itself_is_left_alone(tmp_path: Path) -> None:
    model = prepare(load_model(write_residual(tmp_path / "m.onnx")))
    before = model.proto.SerializeToString(deterministic=True)
    with_fed_scales(model, plan_qdq(model))
    assert model.proto.SerializeToString(deterministic=True) == before


def test_a_model_with_a_tensor_of_the_inputs_name_is_refused(tmp_path: Path) -> None:
    model = prepare(load_model(write_residual(tmp_path / "m.onnx", name=SCALES)))
    with pytest.raises(ModelError, match="which experiments need") as caught:
        with_fed_scales(model, plan_qdq(model))
    assert "Rename it" in str(caught.value)
