"""Models whose taps don't have the batch as their first axis, and what each of them is."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto

from tests.graph.models import Sketch

T, D, HEADS = 6, 8, 2


def _dense(s: Sketch, x: str, out: str, k: int = D, n: int = D) -> str:
    return s.op("MatMul", [x, s.weight(f"{out}.w", k, n)], out)


def _shape(s: Sketch, name: str, *sizes: int) -> str:
    return s.array(name, np.array(sizes, np.int64))


def time_first() -> onnx.ModelProto:
    """(time, batch, features), as attention and recurrent layers have it by default."""
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0, 2])
    s.op("Tanh", [_dense(s, "xt", "h")], "r")
    s.op("Transpose", [_dense(s, "r", "o")], "y", perm=[1, 0, 2])
    return s.model({"x": ["b", T, D]}, {"y": ["b", T, D]})


def features_first() -> onnx.ModelProto:
    """(features, batch): weights on the left."""
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0])
    s.op("Relu", [s.op("MatMul", [s.weight("w", 5, D), "xt"], "h")], "r")
    s.op("MatMul", [s.weight("v", 3, 5), "r"], "o")
    s.op("Transpose", ["o"], "y", perm=[1, 0])
    return s.model({"x": ["b", D]}, {"y": ["b", 3]})


def heads_merged() -> onnx.ModelProto:
    """Attention as torch traces it: (time, batch, d), (time, batch · heads, d / heads) and back."""
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0, 2])
    split = _shape(s, "split", T, -1, D // HEADS)
    for part in "qkv":
        s.op("Reshape", [_dense(s, "xt", f"{part}0"), split], f"{part}1")
        s.op("Transpose", [f"{part}1"], part, perm=[1, 0, 2])
    s.op("Transpose", ["k"], "kt", perm=[0, 2, 1])
    s.op("Softmax", [s.op("MatMul", ["q", "kt"], "scores")], "p", axis=-1)
    s.op("Transpose", [s.op("MatMul", ["p", "v"], "c")], "ct", perm=[1, 0, 2])
    flat = s.op("Reshape", ["ct", _shape(s, "flat", -1, D)], "cf")
    s.op("Reshape", [_dense(s, flat, "of"), _shape(s, "back", T, -1, D)], "o")
    s.op("Transpose", ["o"], "y", perm=[1, 0, 2])
    return s.model({"x": ["b", T, D]}, {"y": ["b", T, D]})


def windows_merged() -> onnx.ModelProto:
    """Shifted windows: (batch · windows, places, channels), as Swin has it."""
    s = Sketch()
    s.op("Reshape", ["x", _shape(s, "split", -1, 2, 4, 2, 4, 3)], "parted")
    s.op("Transpose", ["parted"], "turned", perm=[0, 1, 3, 2, 4, 5])
    s.op("Reshape", ["turned", _shape(s, "windows", -1, 16, 3)], "w")
    s.op("Relu", [_dense(s, "w", "h", 3, 4)], "r")
    s.op("Reshape", [_dense(s, "r", "o", 4, 2), _shape(s, "all", -1, 4 * 16 * 2)], "y")
    return s.model({"x": ["b", 8, 8, 3]}, {"y": ["b", 128]})


def frames_merged() -> onnx.ModelProto:
    """A convolution over each frame, (batch · time, c, h, w), and (time · batch, d) behind it."""
    s = Sketch()
    s.op("Reshape", ["x", _shape(s, "frames", -1, 2, 4, 4)], "f")
    s.op("Relu", [s.conv("f", "c", 2, 3)], "r")
    s.op("Reshape", [s.op("GlobalAveragePool", ["r"], "p"), _shape(s, "seq", -1, T, 3)], "s")
    s.op("Transpose", ["s"], "st", perm=[1, 0, 2])
    s.gemm(s.op("Reshape", ["st", _shape(s, "flat", -1, 3)], "sf"), "g", 3, 4)
    s.op("Reshape", ["g", _shape(s, "unflat", T, -1, 4)], "u")
    s.op("Transpose", ["u"], "y", perm=[1, 0, 2])
    return s.model({"x": ["b", T, 2, 4, 4]}, {"y": ["b", T, 4]})


def sums_over_time() -> onnx.ModelProto:
    """Products of a tap with itself, whose shapes hold the batch nowhere or twice."""
    s = Sketch()
    s.op("Transpose", [_dense(s, "x", "h")], "ht", perm=[1, 0])
    s.op("MatMul", [s.op("MatMul", ["h", "ht"], "grams"), "h"], "y")
    return s.model({"x": ["b", D]}, {"y": ["b", D]})


def frames_kept() -> onnx.ModelProto:
    """Frames whose first value is positive, packed one after another: how many, values decide."""
    s = Sketch()
    s.op("Reshape", ["x", _shape(s, "flat", -1, D)], "f")
    s.op("Slice", ["f", _shape(s, "from", 0), _shape(s, "to", 1), _shape(s, "axis", 1)], "first")
    s.op("Greater", ["first", s.array("zero", np.float32(0))], "keep2")
    s.op("Squeeze", ["keep2", "axis"], "keep")
    s.op("Compress", ["f", "keep"], "kept", axis=0)
    s.op("ReduceSum", [_dense(s, "kept", "h")], "sum", keepdims=0)
    s.op("Add", [s.op("ReduceSum", ["x", "axis"], "own", keepdims=0), "sum"], "y")
    return s.model({"x": ["b", T, D]}, {"y": ["b", D]})


BATCHED: dict[str, Callable[[], onnx.ModelProto]] = {
    made.__name__: made
    for made in (time_first, features_first, heads_merged, windows_merged, frames_merged)
}
"""Samples can be told apart in a batch."""
SINGLE: dict[str, Callable[[], onnx.ModelProto]] = {
    made.__name__: made for made in (sums_over_time, frames_kept)
}
"""They can't."""


def fixed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same with the batch fixed to 1."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return proto


def samples(proto: onnx.ModelProto, n: int, *, seed: int = 0) -> np.ndarray:
    """Inputs of different loudness."""
    (x,) = proto.graph.input
    assert x.type.tensor_type.elem_type == TensorProto.FLOAT
    shape = [d.dim_value for d in x.type.tensor_type.shape.dim[1:]]
    random = np.random.default_rng(seed)
    loud = random.uniform(0.2, 3, (n, *[1] * len(shape)))
    return (random.standard_normal((n, *shape)) * loud).astype(np.float32)
