"""Why operators stay float: TensorRT's rules by operator, and what each is shown with.

Reasons are listed here. `placement` decides which op gets Q/DQ, and looks up here why any other
stays float.

Seen with TensorRT-RTX's builder: convolutions, Gemm and MatMul run in INT8 when both inputs are
quantized, weights per output channel; the operators below are computed in float even when their
inputs are quantized, so a Q/DQ pair there would cost accuracy and buy nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

import onnx
from onnx import AttributeProto, TensorProto

STANDARD: Final = frozenset({"", "ai.onnx"})
"""Names of ONNX's own domain."""
ONNXRUNTIMES: Final = ("com.microsoft", "com.ms.internal")
"""How the domains of onnxruntime's own operators begin."""

WEIGHTED: Final = frozenset({
    "Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization",
    "RMSNormalization", "PRelu", "Attention",
})  # fmt: skip
"""Operators that hold weights or multiply matrices, whatever they read."""

PRODUCTS: Final = frozenset({
    "Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN",
    "Attention",
})  # fmt: skip
"""Operators that convolve or multiply matrices."""

_MOVES: Final = "moves values; the pair at the reading op's input serves it"
_FUSES: Final = "activation function: nothing goes between it and the op before it"
_EMULATED: Final = "TensorRT computes it in float, with or without Q/DQ"
_SENSITIVE: Final = "left alone on NVIDIA's guidance: exponentials and statistics need float"
_RECURRENT: Final = "TensorRT doesn't run recurrent layers in INT8 from Q/DQ"

FLOAT_REASONS: Final[dict[str, str]] = {
    "ConvTranspose": "with Q/DQ TensorRT builds a float emulation of it",
    "DeformConv": "TensorRT doesn't run it in INT8 from Q/DQ",
    "Einsum": "TensorRT doesn't run it in INT8 from Q/DQ",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    "BatchNormalization": "couldn't be folded: no Conv, ConvTranspose or Gemm of its own before it",
    "PRelu": "activation function with a learned slope, computed in float",
    **dict.fromkeys(
        (
            "Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "Sigmoid",
            "GroupNormalization", "RMSNormalization", "HardSigmoid", "LpNormalization", "Exp",
        ),
        _SENSITIVE,
    ),
    **dict.fromkeys(
        (
            "Relu", "LeakyRelu", "Clip", "HardSwish", "Elu", "Gelu", "Tanh", "Celu", "Selu", "Mish",
            "Swish", "Softplus", "Softsign", "ThresholdedRelu", "Shrink",
        ),
        _FUSES,
    ),
    **dict.fromkeys(
        (
            "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum",
            "ReduceMax", "Add", "Sub", "Mul", "Div", "Sqrt", "Pow", "Erf", "Concat", "Sum", "Mean",
            "Max", "Min", "Mod", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Log",
            "Reciprocal", "Sin", "Cos", "Where", "CumSum", "ReduceMin", "ReduceProd", "ReduceL1",
            "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "LpPool",
            "GlobalLpPool",
        ),
        _EMULATED,
    ),
    **dict.fromkeys(
        (
            "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split",
            "Identity", "Pad", "Expand", "Resize", "Gather", "Dropout", "Tile", "DepthToSpace",
            "SpaceToDepth", "GatherElements", "GatherND", "Trilu", "Upsample",
        ),
        _MOVES,
    ),
}  # fmt: skip
"""Operator → why it stays in float."""

MOVES_VALUES: Final = frozenset(op for op, reason in FLOAT_REASONS.items() if reason == _MOVES)
"""Operators that pass values on unchanged."""

UNKNOWN: Final = "not among the ops that TensorRT runs in INT8 from Q/DQ"
AS_ASKED: Final = "left in float as asked"
MOVES_WEIGHTS: Final = "moves its weights and multiplies nothing with them, so they stay float"

_NO_WEIGHTS: Final = frozenset(
    op for op, reason in FLOAT_REASONS.items() if reason in {_FUSES, _EMULATED, _SENSITIVE}
)
"""Operators whose constants are biases, bounds and factors."""
_PRODUCT: Final = re.compile("Attention|MatMul|Gemm|Conv|LSTM|GRU|MoE")
"""What operators of other domains that multiply matrices are called."""
_FLOATS: Final = frozenset({
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
})  # fmt: skip


def is_product(node: onnx.NodeProto) -> bool:
    """Whether a node is one of ONNX's convolutions or matrix products."""
    return node.op_type in PRODUCTS and node.domain in STANDARD


def is_weighted(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node holds weights or multiplies matrices, so that INT8 would matter.

    Parameters
    ----------
    node : onnx.NodeProto
        Of any domain.
    constants : mapping
        The constants it may read, by name.
    """
    if node.op_type in WEIGHTED:
        return True
    floats = [
        constants[name]
        for name in node.input
        if name in constants and constants[name].data_type in _FLOATS
    ]
    if node.domain in STANDARD:
        tables = [tensor for tensor in floats if sum(size > 1 for size in tensor.dims) > 1]
        return node.op_type not in _NO_WEIGHTS and bool(tables)
    vectors = [tensor for tensor in floats if any(size > 1 for size in tensor.dims)]
    own = [a for a in node.attribute if len(a.floats) > 1 or a.type == AttributeProto.TENSOR]
    return bool(vectors or own or _PRODUCT.search(node.op_type))
