"""What a tap's rounding does to the output, measured with the tap alone in int8."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.explain.sensitivity import Sensitivities, measure_sensitivities, relative_error
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.graph.load import load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare

W = np.array([[1.0], [0.5], [0.0]], np.float32)


def write_model(path: Path) -> Path:
    """x → MatMul → y, beside which z → MatMul counts for a tenth."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"], name="first"),
            helper.make_node("MatMul", ["z", "v"], ["q"], name="second"),
            helper.make_node("Add", ["p", "q"], ["y"], name="sum"),
        ],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in ("x", "z")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(W, "w"), numpy_helper.from_array(W / 10, "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def rounded(x: NDArray[np.float32], amax: float) -> NDArray[np.float64]:
    """By numpy: symmetric int8 with half rounded to even."""
    scale = float(np.float32(amax) / np.float32(127))
    return np.clip(np.rint(x / scale), -128, 127).astype(np.float64) * scale


def test_errors_are_those_of_numpy_and_weights_are_per_harm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, z = (rng.normal(size=(200, 3)).astype(np.float32) for _ in range(2))
    write_pool(tmp_path / "pool.h5", inputs={"x": x, "z": z})
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    amax = {"x": 2.0, "z": 1.0}
    with open_pool(tmp_path / "pool.h5") as pool:
        found = measure_sensitivities(
            model, plan_qdq(model), OnnxruntimeBackend(),
            pool=pool, rows=np.arange(200), amax=amax, batch_size=64,
        )  # fmt: skip
    y = x @ W + z @ W / 10
    spread = float(((y - y.mean(axis=0)) ** 2).sum())
    expected = [
        (((rounded(x, 2.0) - x) @ W) ** 2).sum() / spread,
        (((rounded(z, 1.0) - z) @ W / 10) ** 2).sum() / spread,
    ]
    assert found.taps == ("x", "z")
    assert found.n == 200
    np.testing.assert_allclose(found.errors, expected, rtol=1e-3)
    harm = np.array([0.01, 0.02])
    np.testing.assert_allclose(found.weights(harm), np.array(expected) / harm, rtol=1e-3)


def test_taps_of_which_nothing_is_known_weigh_as_the_median() -> None:
    found = Sensitivities(("a", "b", "c", "d"), np.array([0.1, np.nan, 0.9, 0.4]), 8)
    weights = found.weights(np.array([1.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(weights, [0.1, 0.5, 0.9, 0.5])
    unknown = Sensitivities(("a",), np.array([np.nan]), 8)
    assert unknown.weights(np.array([1.0])).tolist() == [1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_isnt_finite_has_no_error(value: float) -> None:
    exact = {"y": np.array([[1.0], [2.0]])}
    broken = {"y": np.array([[1.0], [value]])}
    assert np.isnan(relative_error(broken, exact, ["y"]))
    assert relative_error(exact, exact, ["y"]) == 0.0
