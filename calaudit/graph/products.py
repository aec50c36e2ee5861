"""Products in an engine's graph, and the precision the graph asks for each."""

from dataclasses import dataclass
from typing import Final, Literal

import onnx
from onnx import TensorProto

from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.rules import FLOAT_REASONS, STANDARD
from calaudit.graph.survey import Survey, survey

Asked = Literal["int8", "fp16", "fp32"]

PRODUCTS: Final = frozenset({
    "Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN",
    "Attention",
})  # fmt: skip
_TWO_OPERANDS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_NOT_QUANTIZED: Final = "the graph leaves its inputs in float"


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies matrices or convolves."""

    name: str
    op_type: str
    asked: Asked
    """INT8 where both operands come out of a DequantizeLinear, else the type they have."""
    reason: str
    """Why INT8 isn't asked for; empty where it is."""


def products(model: Model) -> tuple[Product, ...]:
    """Every product in a graph with Q/DQ in it, or in an FP32 or FP16 one, in graph order."""
    facts = survey(model)
    return tuple(
        _product(node, facts)
        for node in facts.nodes
        if node.op_type in PRODUCTS and node.domain in STANDARD
    )


def _product(node: onnx.NodeProto, facts: Survey) -> Product:
    name = name_of(node)
    if node.op_type in _TWO_OPERANDS and all(_quantized(x, facts) for x in node.input[:2]):
        return Product(name, node.op_type, "int8", "")
    half = facts.types.get(node.input[0]) == TensorProto.FLOAT16
    reason = FLOAT_REASONS.get(node.op_type, _NOT_QUANTIZED)
    return Product(name, node.op_type, "fp16" if half else "fp32", reason)


def _quantized(tensor: str, facts: Survey) -> bool:
    producer = facts.producers.get(tensor)
    return producer is not None and facts.nodes[producer].op_type == "DequantizeLinear"
