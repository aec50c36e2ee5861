"""Small ONNX graphs, one per situation that placement must get right."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]


class Sketch:
    """Collects nodes and weights; weights come from one seeded stream."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int, spread: float = 0.3) -> str:
        return self.array(name, self.rng.normal(0, spread, shape).astype(np.float32))

    def array(self, name: str, values: Array) -> str:
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def op(
        self, op_type: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any
    ) -> str:
        node = helper.make_node(
            op_type, list(inputs), [output], name=f"node_{output}", domain=domain, **attributes
        )
        self.nodes.append(node)
        return output

    def conv(
        self, x: str, out: str, c_in: int, c_out: int, kernel: Sequence[int] = (3, 3),
        *, group: int = 1, bias: bool = True, **attributes: Any,
    ) -> str:  # fmt: skip
        inputs = [x, self.weight(f"{out}.w", c_out, c_in // group, *kernel)]
        if bias:
            inputs.append(self.weight(f"{out}.b", c_out))
        pads = [k // 2 for k in kernel] * 2
        return self.op(
            "Conv", inputs, out, kernel_shape=list(kernel), pads=pads, group=group, **attributes
        )

    def batch_norm(self, x: str, out: str, channels: int) -> str:
        positive = self.rng.uniform(0.5, 1.5, channels).astype(np.float32)
        inputs = [
            x,
            self.weight(f"{out}.gamma", channels, spread=1.0),
            self.weight(f"{out}.beta", channels),
            self.weight(f"{out}.mean", channels),
            self.array(f"{out}.var", positive),
        ]
        return self.op("BatchNormalization", inputs, out)

    def gemm(self, x: str, out: str, k: int, n: int, *, trans_b: bool = True, **more: Any) -> str:
        shape = (n, k) if trans_b else (k, n)
        inputs = [x, self.weight(f"{out}.w", *shape), self.weight(f"{out}.b", n)]
        return self.op("Gemm", inputs, out, transB=int(trans_b), **more)

    def model(
        self,
        inputs: dict[str, Sequence[int | str]],
        outputs: dict[str, Sequence[int | str]],
        *,
        types: dict[str, int] | None = None,
        opset: int = 17,
    ) -> onnx.ModelProto:
        kinds = types or {}

        def infos(shapes: dict[str, Sequence[int | str]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), list(shape))
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self.nodes, "sketch", infos(inputs), infos(outputs), self.initializers
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )


def conv_bn_relu(batch: int | str = "b") -> onnx.ModelProto:
    """Conv → BN → Relu → MaxPool → Conv → BN → Relu → Flatten → Gemm."""
    s = Sketch()
    s.batch_norm(s.conv("x", "c1", 3, 8, bias=False), "n1", 8)
    s.op("Relu", ["n1"], "r1")
    s.op("MaxPool", ["r1"], "p1", kernel_shape=[2, 2], strides=[2, 2])
    s.batch_norm(s.conv("p1", "c2", 8, 8), "n2", 8)
    s.op("Relu", ["n2"], "r2")
    s.op("Flatten", ["r2"], "flat", axis=1)
    s.gemm("flat", "y", 8 * 4 * 4, 5)
    return s.model({"x": [batch, 3, 8, 8]}, {"y": [batch, 5]})


def residual() -> onnx.ModelProto:
    """Two ResNet blocks: an identity shortcut, then a projected one."""
    s = Sketch()
    s.op("Relu", [s.batch_norm(s.conv("x", "c0", 3, 8), "n0", 8)], "r0")
    s.op("Relu", [s.conv("r0", "c1", 8, 8)], "r1")
    s.conv("r1", "c2", 8, 8)
    s.op("Relu", [s.op("Add", ["c2", "r0"], "a1")], "ra1")
    s.conv("ra1", "down", 8, 16, (1, 1))
    s.op("Relu", [s.conv("ra1", "c3", 8, 16)], "r3")
    s.conv("r3", "c4", 16, 16)
    s.op("Relu", [s.op("Add", ["c4", "down"], "a2")], "ra2")
    s.op("GlobalAveragePool", ["ra2"], "pool")
    s.op("Flatten", ["pool"], "flat")
    s.gemm("flat", "y", 16, 4)
    return s.model({"x": ["b", 3, 8, 8]}, {"y": ["b", 4]})


def depthwise_se() -> onnx.ModelProto:
    """MobileNetV3 block: depthwise, hard-swish, squeeze-and-excitation, linear bottleneck."""
    s = Sketch()
    s.op("HardSwish", [s.conv("x", "expand", 4, 16, (1, 1))], "h1")
    s.op("HardSwish", [s.conv("h1", "depthwise", 16, 16, (3, 3), group=16)], "h2")
    s.op("ReduceMean", ["h2"], "mean", axes=[2, 3], keepdims=1)
    s.op("Relu", [s.conv("mean", "squeeze", 16, 4, (1, 1))], "r")
    s.op("HardSigmoid", [s.conv("r", "excite", 4, 16, (1, 1))], "gate", alpha=1 / 6)
    s.op("Mul", ["h2", "gate"], "scaled")
    s.conv("scaled", "project", 16, 4, (1, 1))
    s.op("Add", ["x", "project"], "out")
    s.op("GlobalAveragePool", ["out"], "pool")
    s.op("Flatten", ["pool"], "flat")
    s.gemm("flat", "y", 4, 3)
    return s.model({"x": ["b", 4, 6, 6]}, {"y": ["b", 3]})


def gemms() -> onnx.ModelProto:
    """Gemm transB=1, then Gemm transB=0, Tanh between."""
    s = Sketch()
    s.op("Tanh", [s.gemm("x", "g1", 12, 20)], "t")
    s.gemm("t", "y", 20, 6, trans_b=False)
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def scaled_gemm(**attributes: Any) -> onnx.ModelProto:
    """A Gemm with alpha or beta."""
    s = Sketch()
    s.gemm("x", "y", 12, 6, **attributes)
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def attention() -> onnx.ModelProto:
    """One encoder block: LayerNorm, attention with weight and activation MatMuls, MLP."""
    d, t = 8, 5
    s = Sketch()
    ln = [s.array("ln.g", np.ones(d, np.float32)), s.array("ln.b", np.zeros(d, np.float32))]
    s.op("LayerNormalization", ["x", *ln], "n1", axis=-1)
    for part in "qkv":
        s.op("MatMul", ["n1", s.weight(f"w{part}", d, d)], f"{part}0")
        s.op("Add", [f"{part}0", s.weight(f"b{part}", d)], part)
    s.op("Transpose", ["k"], "kt", perm=[0, 2, 1])
    s.op("MatMul", ["q", "kt"], "scores")
    s.op("Softmax", ["scores"], "probs", axis=-1)
    s.op("MatMul", ["probs", "v"], "context")
    s.op("MatMul", ["context", s.weight("wo", d, d)], "o")
    s.op("Add", ["x", "o"], "res1")
    s.op("LayerNormalization", ["res1", *ln], "n2", axis=-1)
    s.op("MatMul", ["n2", s.weight("w1", d, 16)], "m1")
    s.op("Relu", ["m1"], "m2")
    s.op("MatMul", ["m2", s.weight("w2", 16, d)], "m3")
    s.op("Add", ["res1", "m3"], "y")
    return s.model({"x": ["b", t, d]}, {"y": ["b", t, d]})


def embedding() -> onnx.ModelProto:
    """An integer input looked up in a table that a Gemm shares, and a float input beside it."""
    s = Sketch()
    table = s.weight("table", 10, 6)
    s.op("Gather", [table, "item"], "looked", axis=0)
    s.op("Concat", ["looked", "x"], "both", axis=1)
    s.gemm("both", "h", 10, 6)
    s.op("Relu", ["h"], "r")
    s.op("Gemm", ["r", table], "y", transB=1)
    return s.model(
        {"item": ["b"], "x": ["b", 4]}, {"y": ["b", 10]}, types={"item": TensorProto.INT64}
    )


def conv_transpose() -> onnx.ModelProto:
    """A grouped ConvTranspose with BatchNormalization behind it."""
    s = Sketch()
    s.conv("x", "c", 2, 4)
    s.op("ConvTranspose", ["c", s.weight("wt", 4, 3, 2, 2)], "up", strides=[2, 2], group=2)
    s.batch_norm("up", "y", 6)
    return s.model({"x": ["b", 2, 4, 4]}, {"y": ["b", 6, 8, 8]})


def grouped_bn() -> onnx.ModelProto:
    """A grouped Conv and a depthwise one, each with BatchNormalization."""
    s = Sketch()
    s.batch_norm(s.conv("x", "c1", 8, 16, group=4), "n1", 16)
    s.op("Clip", ["n1", s.array("lo", np.float32(0)), s.array("hi", np.float32(6))], "r")
    s.batch_norm(s.conv("r", "c2", 16, 16, group=16, bias=False), "y", 16)
    return s.model({"x": ["b", 8, 6, 6]}, {"y": ["b", 16, 6, 6]})


def conv_1d() -> onnx.ModelProto:
    """Two dilated 1-D convolutions over time."""
    s = Sketch()
    s.op("Relu", [s.conv("x", "c1", 4, 8, (3,))], "r")
    s.conv("r", "y", 8, 4, (3,))
    return s.model({"x": ["b", 4, 20]}, {"y": ["b", 4, 20]})


def shared_weights() -> onnx.ModelProto:
    """One weight in two Convs; another along both axes of two Gemms (a tied autoencoder)."""
    s = Sketch()
    kernel = s.weight("kernel", 4, 4, 3, 3)
    for source, out in (("x", "c1"), ("c1", "c2")):
        s.op("Conv", [source, kernel], out, pads=[1, 1, 1, 1])
    s.op("Flatten", ["c2"], "flat")
    tied = s.weight("tied", 6, 64)
    s.op("Gemm", ["flat", tied], "code", transB=1)
    s.op("Gemm", ["code", tied], "y", transB=0)
    return s.model({"x": ["b", 4, 4, 4]}, {"y": ["b", 64]})


def dynamic_kernel() -> onnx.ModelProto:
    """A Conv whose kernel is computed from the input."""
    s = Sketch()
    s.op("ReduceMean", ["x"], "mean", axes=[0], keepdims=1)
    s.op("Conv", ["x", "mean"], "y")
    return s.model({"x": ["b", 2, 3, 3]}, {"y": ["b", 1, 1, 1]})


def gemm_bn() -> onnx.ModelProto:
    """Gemm (either layout, with alpha and beta) → BatchNormalization → Relu."""
    s = Sketch()
    s.op("Relu", [s.batch_norm(s.gemm("x", "g1", 12, 8, alpha=0.5, beta=2.0), "n1", 8)], "r")
    s.batch_norm(s.gemm("r", "g2", 8, 6, trans_b=False), "y", 6)
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def tapped_conv_bn() -> onnx.ModelProto:
    """A Conv whose raw output is a model output besides feeding BatchNormalization."""
    s = Sketch()
    s.batch_norm(s.conv("x", "raw", 3, 4), "y", 4)
    return s.model({"x": ["b", 3, 5, 5]}, {"y": ["b", 4, 5, 5], "raw": ["b", 4, 5, 5]})


def transposed_weight() -> onnx.ModelProto:
    """MatMul by Transpose(Constant), as exporters write a linear layer."""
    s = Sketch()
    values = s.rng.normal(0, 0.3, (6, 12)).astype(np.float32)
    constant = helper.make_node(
        "Constant", [], ["w"], name="const_w", value=numpy_helper.from_array(values)
    )
    s.nodes.append(constant)
    s.op("Transpose", ["w"], "wt", perm=[1, 0])
    s.op("MatMul", ["x", "wt"], "m")
    s.op("Add", ["m", s.weight("b", 6)], "y")
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def matmul_kinds() -> onnx.ModelProto:
    """MatMul by a stack of weights, by a constant on the left, and by a vector."""
    s = Sketch()
    s.op("MatMul", ["x", s.weight("stack", 3, 8, 6)], "stacked")
    s.op("MatMul", [s.weight("left", 4, 5), "stacked"], "mixed")
    s.op("MatMul", ["mixed", s.weight("vector", 6)], "y")
    return s.model({"x": ["b", 3, 5, 8]}, {"y": ["b", 3, 4]})


def transposed_gemm() -> onnx.ModelProto:
    """A Gemm that transposes its activation (transA = 1), the batch being its columns."""
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0])
    s.op("Gemm", ["xt", s.weight("w", 6, 12), s.weight("c", 6)], "y", transA=1, transB=1)
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def gemm_of_activations() -> onnx.ModelProto:
    """A Gemm whose matrix and bias are computed, with alpha and beta that can't be folded."""
    s = Sketch()
    s.gemm("x", "k", 12, 6)
    s.op("Tanh", ["k"], "t")
    s.gemm("x", "c", 12, 12)
    s.op("ReduceMean", ["c"], "bias", axes=[0], keepdims=0)
    s.op("Transpose", ["x"], "xt", perm=[1, 0])
    s.op("Gemm", ["xt", "t"], "xx", transA=0)
    s.op("Gemm", ["x", "xx", "k"], "y", alpha=0.5, beta=2.0)
    return s.model({"x": ["b", 12]}, {"y": ["b", 6]})


def conv_3d() -> onnx.ModelProto:
    """A 3-D convolution."""
    s = Sketch()
    s.conv("x", "y", 2, 4, (3, 3, 3))
    return s.model({"x": ["b", 2, 4, 5, 6]}, {"y": ["b", 4, 4, 5, 6]})


def stacked(layers: Sequence[str]) -> onnx.ModelProto:
    """Layers on a (b, 4, 6, 6) tensor in turn; "skip" adds what lay two layers back."""
    s = Sketch(len(layers))
    trail = ["x", "x"]
    for number, layer in enumerate(layers):
        x, out = trail[-1], f"{layer}{number}"
        if layer == "conv":
            s.conv(x, out, 4, 4)
        elif layer == "depthwise":
            s.conv(x, out, 4, 4, group=4, bias=False)
        elif layer == "norm":
            s.batch_norm(x, out, 4)
        elif layer == "skip":
            s.op("Add", [x, trail[-3] if len(trail) > 2 else "x"], out)
        elif layer == "pool":
            s.op("MaxPool", [x], out, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        else:
            s.op({"relu": "Relu", "swish": "HardSwish"}[layer], [x], out)
        trail.append(out)
    s.op("Identity", [trail[-1]], "y")
    return s.model({"x": ["b", 4, 6, 6]}, {"y": ["b", 4, 6, 6]})


ALL: dict[str, Callable[[], onnx.ModelProto]] = {
    made.__name__: made
    for made in (
        conv_bn_relu, residual, depthwise_se, gemms, scaled_gemm, attention, embedding,
        conv_transpose, grouped_bn, conv_1d, shared_weights, dynamic_kernel, gemm_bn,
        tapped_conv_bn, transposed_weight, matmul_kinds, transposed_gemm, gemm_of_activations,
        conv_3d,
    )
}  # fmt: skip


def feeds(model: onnx.ModelProto, *, n: int = 5, seed: int = 1) -> dict[str, Array]:
    """Random inputs for `n` samples; integers below 10."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for value in model.graph.input:
        shape = [d.dim_value or n for d in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            made[value.name] = rng.integers(0, 10, shape)
        else:
            made[value.name] = rng.normal(0, 1, shape).astype(np.float32)
    return made
