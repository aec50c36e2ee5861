"""Networks that the ONNX parser of TensorRT 8.5.3.1 made of small models, on a real GPU.

Of each ``Relu → operator → HardSwish``: which layers beside the model's own tensors are float and
not single numbers, and the number of the HardSwish's first layer, which counts all before it.
"""

from typing import Any

import numpy as np
import pytest

from calaudit.graph.model import Model
from calaudit.graph.network import import_network
from calaudit.graph.taps import with_taps
from tests.graph.models import Sketch
from tests.graph.running import run

IMAGE, ROW, SIGNAL, ONE = ("n", 8, 6, 6), ("n", 8), ("n", 8, 20), (1, 8, 6, 6)
VECTOR = {"c": (8, 1, 1)}
NUMBER: dict[str, Any] = {"c": np.float32(2)}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


ONE_LAYER = (
    "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Log", "Sqrt", "Abs", "Neg", "Floor",
    "Ceil", "Round", "Erf", "Sin", "Cos", "Reciprocal", "HardSigmoid", "Elu", "Selu", "LeakyRelu",
    "ThresholdedRelu", "Identity", "GlobalAveragePool", "GlobalMaxPool", "Sign", "Dropout",
)  # fmt: skip
BINARY = ("Add", "Mul", "Sub", "Div", "Pow", "Max", "Min")
STATISTICS = {"g": (8,), "be": (8,), "mu": (8,), "va": np.ones(8, np.float32)}
DOUBLED = np.array([1, 1, 2, 2], np.float32)
GEMM = {"w": (16, 8), "b": (16,)}

CASES: list[tuple[str, dict[str, Any], dict[str, Any], tuple[Any, ...], int, str]] = [
    *((op_type, {}, {}, IMAGE, 2, "") for op_type in ONE_LAYER),
    *((op_type, VECTOR, {}, IMAGE, 4, "1 Constant, 2 Shuffle") for op_type in BINARY),
    *((op_type, {"c": (1, 8, 1, 1)}, {}, IMAGE, 3, "1 Constant") for op_type in BINARY),
    *((op_type, NUMBER, {}, IMAGE, 4, "2 Shuffle") for op_type in BINARY),
    *(
        (op_type, {}, {"axes": [1]}, IMAGE, 2, "")
        for op_type in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
    ),
    ("ReduceMean", {}, {"axes": [-1], "keepdims": 0}, IMAGE, 2, ""),
    ("ReduceSum", {"a": ints(-1)}, {}, IMAGE, 2, ""),
    ("ReduceL1", {}, {"axes": [1]}, IMAGE, 3, "1 Unary"),
    ("ReduceL2", {}, {"axes": [-1]}, IMAGE, 4, "1 ElementWise, 2 Reduce"),
    ("ReduceSumSquare", {}, {"axes": [1]}, IMAGE, 3, "1 ElementWise"),
    ("ReduceLogSumExp", {}, {"axes": [1]}, IMAGE, 4, "1 Unary, 2 Reduce"),
    ("HardSwish", {}, {}, IMAGE, 3, "1 Activation"),
    ("PRelu", VECTOR, {}, IMAGE, 4, "1 Constant, 2 Shuffle"),
    ("PRelu", {"c": (1,)}, {}, IMAGE, 4, "1 Constant, 2 Shuffle"),
    ("Clip", {"lo": np.float32(0), "hi": np.float32(6)}, {}, IMAGE, 2, ""),
    ("Clip", {"lo": np.float32(0)}, {}, IMAGE, 2, ""),
    ("Softmax", {}, {"axis": -1}, IMAGE, 4, "1 Softmax"),
    ("Softmax", {}, {"axis": 1}, IMAGE, 4, "1 Softmax"),
    ("LogSoftmax", {}, {"axis": -1}, IMAGE, 5, "1 Softmax, 2 Unary"),
    ("Flatten", {}, {}, IMAGE, 7, ""),
    ("Transpose", {}, {"perm": [0, 2, 3, 1]}, IMAGE, 2, ""),
    ("Reshape", {"s": ints(0, -1)}, {}, IMAGE, 2, ""),
    ("Reshape", {"s": ints(-1, 8, 36)}, {}, IMAGE, 2, ""),
    ("Squeeze", {"s": ints(1)}, {}, ("n", 1, 6, 6), 5, ""),
    ("Unsqueeze", {"s": ints(1)}, {}, IMAGE, 7, ""),
    ("MaxPool", {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, IMAGE, 2, ""),
    ("MaxPool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, IMAGE, 2, ""),
    ("AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1] * 4}, IMAGE, 2, ""),
    ("Conv", {"w": (4, 8, 3, 3)}, {"pads": [1, 1, 1, 1]}, IMAGE, 2, ""),
    ("Conv", {"w": (8, 1, 3, 3), "b": (8,)}, {"group": 8}, IMAGE, 2, ""),
    ("Conv", {"w": (4, 8, 3), "b": (4,)}, {}, SIGNAL, 12, "6 Shuffle, 7 Convolution"),
    ("Conv", {"w": (4, 8, 3, 3, 3), "b": (4,)}, {}, ("n", 8, 5, 5, 5), 2, ""),
    ("ConvTranspose", {"w": (8, 4, 2, 2), "b": (4,)}, {"strides": [2, 2]}, IMAGE, 2, ""),
    ("BatchNormalization", STATISTICS, {}, IMAGE, 2, ""),
    ("LRN", {}, {"size": 3}, IMAGE, 2, ""),
    ("Gemm", GEMM, {"transB": 1}, ROW, 6, "1 Constant, 2 Matrix Multiply, 3 Constant, 4 Shuffle"),
    ("Gemm", {"w": (8, 16)}, {}, ROW, 3, "1 Constant"),
    ("Gemm", {"w": (8, 16), "b": (1, 16)}, {}, ROW, 5, "1 Constant, 2 Matrix Multiply, 3 Constant"),
    (
        "Gemm", GEMM, {"transB": 1, "alpha": 0.5, "beta": 2.0}, ROW, 12,
        "1 Constant, 2 Matrix Multiply, 4 Shuffle, 5 ElementWise, 6 Constant, 8 Shuffle, "
        "9 ElementWise, 10 Shuffle",
    ),
    ("MatMul", {"w": (6, 5)}, {}, IMAGE, 4, "1 Constant, 2 Shuffle"),
    ("MatMul", {"w": (8, 5)}, {}, ROW, 3, "1 Constant"),
    ("Concat", {"c": (1, 2, 6, 6)}, {"axis": 1}, ONE, 3, "1 Constant"),
    ("Einsum", {"w": (6, 5)}, {"equation": "bcij,jk->bcik"}, IMAGE, 3, "1 Constant"),
    ("Gather", {"i": ints(0, 2)}, {"axis": 1}, IMAGE, 3, ""),
    ("Gather", {"i": np.int64(0)}, {"axis": 1}, IMAGE, 3, ""),
    ("Slice", {"s": ints(0), "e": ints(3), "a": ints(1)}, {}, IMAGE, 26, ""),
    ("Slice", {"s": ints(0), "e": ints(99), "a": ints(3), "p": ints(2)}, {}, IMAGE, 30, ""),
    ("Resize", {"": (), "s": DOUBLED}, {"mode": "nearest"}, IMAGE, 2, ""),
    ("Resize", {"": (), " ": (), "z": ints(1, 8, 12, 12)}, {"mode": "nearest"}, ONE, 3, ""),
    ("Pad", {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, {}, IMAGE, 6, ""),
    ("Pad", {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, {"mode": "reflect"}, IMAGE, 6, ""),
    ("DepthToSpace", {}, {"blocksize": 2}, IMAGE, 10, "6 Shuffle"),
    ("SpaceToDepth", {}, {"blocksize": 2}, IMAGE, 10, "6 Shuffle"),
    ("Expand", {"s": ints(1, 8, 6, 6)}, {}, (1, 8, 1, 6), 2, ""),
    ("Tile", {"s": ints(1, 1, 2, 2)}, {}, ONE, 2, ""),
]  # fmt: skip
"""(operator, its constants by name, attributes, shape of x, the HardSwish's number, layers)."""


def layers(text: str) -> list[str]:
    pairs = (each.split(" ", 1) for each in filter(None, text.split(", ")))
    return [f"(Unnamed Layer* {number}) [{kind}]_output" for number, kind in pairs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[4]}")
def test_an_operators_layers_are_those_that_tensorrts_parser_made(case: Any) -> None:
    op_type, constants, attributes, shape, last, added = case
    s = Sketch()
    s.op("Relu", ["x"], "r")
    for name, value in constants.items():
        if name.strip():
            given = isinstance(value, np.ndarray | np.generic)
            s.array(name, np.asarray(value)) if given else s.weight(name, *value)
    s.op(op_type, ["r", *map(str.strip, constants)], "m", **attributes)
    s.op("HardSwish", ["m"], "y")
    proto = s.model({"x": shape}, {"y": ()})
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    found = import_network(Model(proto, "m"))
    (swish,) = layers(f"{last} Activation")
    assert found.names == ("x", "r", *layers(added), "m", swish, "y")
    assert found.notices == ()
    x = np.random.default_rng(0).normal(size=[3 if n == "n" else n for n in shape])
    values = run(with_taps(found.model, found.names), {"x": x.astype(np.float32)})
    assert all(values[name].size for name in found.names)


def test_a_constant_that_two_nodes_read_is_one_layer() -> None:
    s = Sketch()
    s.weight("c", 1, 4)
    s.op("Add", [s.op("Mul", ["x", "c"], "a"), "c"], "b")
    s.op("HardSwish", ["b"], "y")
    found = import_network(Model(s.model({"x": ("n", 4)}, {"y": ("n", 4)}), "m"))
    assert found.names == ("x", *layers("0 Constant"), "a", "b", *layers("3 Activation"), "y")


def test_sums_of_several_tensors_are_made_pair_by_pair() -> None:
    for op_type, more, last in (("Sum", [], 4), ("Mean", layers("4 Constant"), 6)):
        s = Sketch()
        s.op(op_type, ["x", s.op("Relu", ["x"], "r"), s.op("Sigmoid", ["x"], "s")], "m")
        s.op("HardSwish", ["m"], "y")
        found = import_network(Model(s.model({"x": ("n", 4)}, {"y": ("n", 4)}), "m"))
        partial = layers("2 ElementWise" + (", 3 ElementWise" if op_type == "Mean" else ""))
        swish = layers(f"{last} Activation")
        assert found.names == ("x", "r", "s", *partial, *more, "m", *swish, "y")
