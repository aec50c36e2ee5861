"""Which layers TensorRT's ONNX parser makes of each operator, as seen with TensorRT 8.5.3.1.

A rule names the layers between, and those that compute with sizes where sizes are free. An operator
without a rule, or one used in a way that wasn't seen, is said to be unsure.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calaudit.graph.importer import Importer

Rule = Callable[[Importer, onnx.NodeProto], None]


def import_node(network: Importer, node: onnx.NodeProto) -> None:
    """Add the layers of one node of ONNX's own operators."""
    RULES.get(node.op_type, Importer.unsure)(network, node)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _one_layer(network: Importer, node: onnx.NodeProto) -> None:
    network.tensor(node.input[0])
    network.result(node)


def _constant(network: Importer, node: onnx.NodeProto) -> None:
    (content,) = _attributes(node).values()
    if not isinstance(content, onnx.TensorProto):
        kind = np.int64 if np.asarray(content).dtype.kind == "i" else np.float32
        content = numpy_helper.from_array(np.asarray(content, kind))
    network.weights[node.output[0]] = content
    network.fixed.update(node.output)


def _of_tensor(network: Importer, node: onnx.NodeProto) -> None:
    """One layer, of a tensor that isn't a constant."""
    if node.input[0] in network.weights:
        network.unsure(node)
    else:
        network.result(node)


def _clip(network: Importer, node: onnx.NodeProto) -> None:
    bounds = [name for name in node.input[1:] if name]
    if not network.weights.keys() >= set(bounds):
        network.unsure(node)
        return
    _one_layer(network, node)


def _all_tensors(network: Importer, node: onnx.NodeProto) -> None:
    """One layer that reads tensors, whatever they are."""
    for name in node.input:
        network.tensor(name)
    network.result(node)


def _most_axes(network: Importer, names: Sequence[str]) -> int | None:
    ranks = [network.rank(name) for name in names]
    known = [rank for rank in ranks if rank is not None]
    return max(known) if len(known) == len(ranks) else None


def _elementwise(network: Importer, node: onnx.NodeProto) -> None:
    rank = _most_axes(network, node.input)
    if rank is None or len(node.input) < 2:
        network.unsure(node)
        return
    first, *others = [network.broadcast(network.tensor(name), name, rank) for name in node.input]
    for position, other in enumerate(others):
        if position < len(others) - 1 or node.op_type == "Mean":
            op_type = "Sum" if node.op_type == "Mean" else node.op_type
            first = network.layer("ElementWise", op_type, [first, other])
    if node.op_type == "Mean":
        _number(network, 1 / len(node.input), rank)
    network.result(node)


def _number(network: Importer, value: float, rank: int = 0) -> str:
    tensor = numpy_helper.from_array(np.full([1] * rank, value, np.float32))
    return network.layer("Constant", "Constant", [], number=not rank, value=tensor)


def _select(network: Importer, node: onnx.NodeProto) -> None:
    rank = _most_axes(network, node.input)
    if rank is None:
        network.unsure(node)
        return
    names = [network.tensor(name) for name in node.input]
    for name, given in zip(names, node.input, strict=True):
        network.broadcast(name, given, rank)
    network.result(node)


def _matmul(network: Importer, node: onnx.NodeProto) -> None:
    rank = _most_axes(network, node.input)
    if rank is None or any(network.rank(name) == 1 for name in node.input):
        network.unsure(node)
        return
    _select(network, node)


def _gemm(network: Importer, node: onnx.NodeProto) -> None:
    given = _attributes(node)
    alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
    a, b = (network.tensor(name) for name in node.input[:2])
    bias = node.input[2] if len(node.input) > 2 else ""
    rank = network.rank(bias) if bias else 2
    if rank is None:
        network.unsure(node)
        return
    if not bias and alpha == 1:
        network.result(node)
        return
    transposed = {name: given[name] for name in ("transA", "transB") if name in given}
    product = network.layer("Matrix Multiply", "Gemm", [a, b], **transposed)
    if alpha != 1:
        factor = network.layer("Shuffle", "Identity", [_number(network, alpha)])
        if bias:
            network.layer("ElementWise", "Mul", [factor, product])
    if bias:
        added = network.tensor(bias)
        if beta != 1:
            factor = _number(network, beta)
            if rank:
                factor = network.layer("Shuffle", "Identity", [factor])
            added = network.layer("ElementWise", "Mul", [factor, added])
        network.broadcast(added, bias, 2)
    network.result(node)


def _hard_swish(network: Importer, node: onnx.NodeProto) -> None:
    network.layer("Activation", "HardSigmoid", node.input, alpha=1 / 6, beta=0.5)
    network.result(node)


def _windowed(kind: str) -> Rule:
    """A convolution or pooling; over one axis it works on tensors with another axis behind."""

    def rule(network: Importer, node: onnx.NodeProto) -> None:
        x, y = node.input[0], node.output[0]
        rank = network.rank(x)
        if not network.weights.keys() >= set(node.input[1:]) - {""}:
            network.unsure(node)
        elif rank in {4, 5}:
            _one_layer(network, node)
        elif rank == 3 and kind == "Convolution":
            network.sizes(0 if network.has_fixed_shape(x) else 5)
            network.layer("Shuffle", "Identity", [x])
            network.layer(kind, "Identity", [y])
            network.sizes(0 if network.has_fixed_shape(y) else 3)
            network.result(node)
        else:
            network.unsure(node)

    return rule


def _batch_norm(network: Importer, node: onnx.NodeProto) -> None:
    if network.rank(node.input[0]) in {4, 5}:
        _of_tensor(network, node)
    else:
        network.unsure(node)


def _softmax(network: Importer, node: onnx.NodeProto) -> None:
    x, y = node.input[0], node.output[0]
    if node.op_type == "LogSoftmax":
        network.layer("Softmax", "Softmax", [x], **_attributes(node))
        network.layer("Unary", "Identity", [y])
    else:
        network.layer("Softmax", "Identity", [y])
    network.result(node)
    network.merged.add(y)
    network.sizes(0 if network.has_fixed_shape(x) else 1)


def _with_sizes(n: int) -> Rule:
    """One layer, and `n` before it that compute sizes where sizes are free."""

    def rule(network: Importer, node: onnx.NodeProto) -> None:
        if node.input[0] not in network.weights and not network.has_fixed_shape(node.input[0]):
            network.sizes(n)
        _of_tensor(network, node)

    return rule


def _flatten(network: Importer, node: onnx.NodeProto) -> None:
    x = node.input[0]
    if network.rank(x) == 2 or _attributes(node).get("axis", 1) != 1:
        network.unsure(node)
    elif network.has_fixed_shape(x) or network.has_free_batch(x):
        _with_sizes(5)(network, node)
    else:
        network.unsure(node)


def _blocks(network: Importer, node: onnx.NodeProto) -> None:
    """DepthToSpace and SpaceToDepth."""
    x = node.input[0]
    free = not network.has_fixed_shape(x)
    if free and not network.has_free_batch(x):
        network.unsure(node)
        return
    network.sizes(5 * free)
    network.layer("Shuffle", "Identity", [x])
    network.sizes(2 * free)
    network.result(node)


def _fixed_only(network: Importer, node: onnx.NodeProto) -> None:
    """One layer where no size is free."""
    if network.has_fixed_shape(node.input[0]) and network.has_fixed_shape(node.output[0]):
        _of_tensor(network, node)
    else:
        network.unsure(node)


def _pad(network: Importer, node: onnx.NodeProto) -> None:
    filled = any(node.input[2:]) and _attributes(node).get("mode", b"constant") == b"constant"
    if filled or node.input[1] not in network.weights:
        network.unsure(node)
    else:
        _with_sizes(4)(network, node)


def _slice(network: Importer, node: onnx.NodeProto) -> None:
    x, starts, ends, axes, steps = [*node.input, "", ""][:5]
    if network.has_fixed_shape(x) and network.weights.keys() >= {starts, ends}:
        return _one_layer(network, node)
    along, by = network.values(axes), network.values(steps) if steps else np.ones(1)
    if along is None or by is None or starts not in network.weights:
        return network.unsure(node)
    if len(along) == network.rank(x) or np.any(by < 0):
        return network.unsure(node)
    network.sizes(23 + (ends in network.weights) + 4 * bool(np.any(by != 1)))
    return network.result(node)


def _split(network: Importer, node: onnx.NodeProto) -> None:
    axis = _attributes(node).get("axis", 0)
    sizes = {(network.shape(name) or {axis: None})[axis] for name in node.output}
    free = not network.has_fixed_shape(node.input[0])
    if None in sizes or (free and len(sizes) > 1) or node.input[0] in network.weights:
        network.unsure(node)
        return
    network.sizes(5 * free)
    network.sizes(len(node.output) - 1)
    network.result(node)


def _resize(network: Importer, node: onnx.NodeProto) -> None:
    network.result(node)
    by_sizes = len(node.input) > 3 and node.input[3] in network.weights
    network.sizes(1 if by_sizes else 0)


def _reduced(*steps: tuple[str, str, str]) -> Rule:
    """A reduction in steps: kinds of layers, and what computes them of input (x) and output (y)."""

    def rule(network: Importer, node: onnx.NodeProto) -> None:
        of = {"x": network.tensor(node.input[0]), "y": node.output[0]}
        for kind, op_type, inputs in steps:
            network.layer(kind, op_type, [of[each] for each in inputs])
        network.result(node)

    return rule


RULES: Final[dict[str, Rule]] = {
    "Constant": _constant,
    **dict.fromkeys(
        (
            "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu",
            "ThresholdedRelu", "HardSigmoid", "Exp", "Log", "Sqrt", "Abs", "Neg", "Floor", "Ceil",
            "Round", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh",
            "Acosh", "Atanh", "Reciprocal", "Sign", "LRN", "GlobalAveragePool", "GlobalMaxPool",
            "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "Shape", "TopK",
        ),
        _one_layer,
    ),
    **dict.fromkeys(("Identity", "Dropout", "Cast", "Transpose", "Reshape"), _of_tensor),
    **dict.fromkeys(
        (
            "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Equal", "Greater",
            "Less",
        ),
        _elementwise,
    ),
    **dict.fromkeys(("PRelu", "Where"), _select),
    **dict.fromkeys(("Concat", "Gather", "Einsum"), _all_tensors),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("MaxPool", "AveragePool"), _windowed("Pooling")),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _blocks),
    **dict.fromkeys(("Expand", "Tile"), _fixed_only),
    "Conv": _windowed("Convolution"),
    "ConvTranspose": _windowed("Deconvolution"),
    "BatchNormalization": _batch_norm,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "HardSwish": _hard_swish,
    "Clip": _clip,
    "Unsqueeze": _with_sizes(5),
    "Squeeze": _with_sizes(3),
    "Flatten": _flatten,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "ReduceL1": _reduced(("Unary", "Abs", "x")),
    "ReduceL2": _reduced(("ElementWise", "Mul", "xx"), ("Reduce", "Mul", "yy")),
    "ReduceSumSquare": _reduced(("ElementWise", "Mul", "xx")),
    "ReduceLogSum": _reduced(("Reduce", "Exp", "y")),
    "ReduceLogSumExp": _reduced(("Unary", "Exp", "x"), ("Reduce", "Exp", "y")),
}  # fmt: skip
"""ONNX operator → its layers."""
