"""TensorRT's rules by operator: what it runs in INT8 from Q/DQ, and why others stay float.

Seen with TensorRT-RTX's builder: convolutions, Gemm and MatMul run in INT8 when both inputs are
quantized, weights per output channel; the operators below are computed in float even when their
inputs are quantized, so a Q/DQ pair there would cost accuracy and buy nothing.
"""

from typing import Final

WEIGHTED: Final = frozenset({
    "Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization",
    "RMSNormalization", "PRelu", "Attention",
})  # fmt: skip
"""Operators that hold weights or multiply matrices."""

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
    **dict.fromkeys(("Relu", "LeakyRelu", "Clip", "HardSwish", "Elu", "Gelu", "Tanh"), _FUSES),
    **dict.fromkeys(
        (
            "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum",
            "ReduceMax", "Add", "Sub", "Mul", "Div", "Sqrt", "Pow", "Erf", "Concat",
        ),
        _EMULATED,
    ),
    **dict.fromkeys(
        (
            "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split",
            "Identity", "Pad", "Expand", "Resize", "Gather", "Dropout", "Tile", "DepthToSpace",
            "SpaceToDepth",
        ),
        _MOVES,
    ),
}  # fmt: skip
"""Operator → why it stays in float."""

MOVES_VALUES: Final = frozenset(op for op, reason in FLOAT_REASONS.items() if reason == _MOVES)
"""Operators that pass values on unchanged."""

UNKNOWN: Final = "not among the ops that TensorRT runs in INT8 from Q/DQ"
