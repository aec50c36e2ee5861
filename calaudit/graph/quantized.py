"""Graphs that somebody else quantized: read as they are, and what of them is in INT8.

Q/DQ, ONNX's quantized operators and onnxruntime's own, with any zero points, signed or unsigned.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto

from calaudit.graph.load import check_file, is_quantized, unsuitable
from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.names import name_of, tell_nodes_apart
from calaudit.graph.products import Product, products
from calaudit.graph.rules import STANDARD, is_product, is_weighted
from calaudit.graph.survey import Shapes, Survey, sample_shapes, survey
from calaudit.runtime.errors import ModelError, Problem

OPERANDS: Final[Mapping[str, tuple[int, int]]] = {
    "QLinearConv": (0, 3),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "DynamicQuantizeLSTM": (0, 1),
    "QAttention": (0, 1),
}
"""Operators that multiply integers of 8 bits → places of their operands among their inputs."""
MADE_ANEW: Final = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
)
"""Operators that take the range of each batch from the batch itself."""
_FIXED: Final = frozenset({"QLinearConv", "QLinearMatMul", "QGemm"})
"""Operators whose ranges are constants."""
_BYTES: Final = frozenset({TensorProto.INT8, TensorProto.UINT8})
_OTHERWISE: Final = (
    "Name the ONNX file that the quantizer wrote. What a file holds is told by its suffix: "
    ".engine, .plan or .trt for a TensorRT plan, .npz, .h5 or .hdf5 for answers."
)
_SUFFIX: Final = "_quant"
"""What onnxruntime's quantizer puts behind the names of nodes that it replaces."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a quantized graph is made of."""

    products: tuple[Product, ...]
    """Convolutions and matrix products in graph order; `asked` is ``"int8"`` where integers are
    multiplied, or values that come out of integers of 8 bits."""
    style: str
    """In words: ``"Q/DQ"``, ``"quantized operators"``, ``"dynamic quantization"``, or several of
    them; empty where nothing is quantized."""
    dynamic: bool = False
    """Whether ranges of activations are taken from each batch as it comes."""
    fixed: bool = True
    """Whether any range of an activation is a constant."""

    @property
    def int8(self) -> bool:
        """Whether any product is in INT8."""
        return any(each.asked == "int8" for each in self.products)


def load_quantized(path: Path) -> Model:
    """Read an ONNX file that is to run as it is: no operator is converted and none is refused.

    Parameters
    ----------
    path : Path
        Batch axis dynamic or fixed to 1.

    Raises
    ------
    ModelError
        Missing, not ONNX, invalid, in training mode, or of another fixed batch. All reasons at
        once.
    """
    proto = check_file(path, otherwise=_OTHERWISE)
    tell_nodes_apart(proto.graph)
    problems = [Problem(message, str(path), step) for message, step in unsuitable(proto)]
    if problems:
        raise ModelError.of(problems)
    return Model(proto, str(path))


def contents_of(
    model: Model,
    samples: Mapping[str, Sequence[int | None]] | None = None,
    known: Mapping[str, int | None] | None = None,
) -> Contents:
    """What of a graph is in INT8.

    Parameters
    ----------
    model : Model
    samples : mapping, optional
        Input → shape of a sample, for models that leave it free.
    known : mapping, optional
        Product of the FP32 model → its multiply-accumulates, for nodes of that name whose shapes
        the graph doesn't tell.
    """
    facts, macs = survey(model), count_macs(model, samples)
    shapes = sample_shapes(model, samples or {})
    plain = {each.name: each for each in products(model, samples)}
    found = []
    for node in facts.nodes:
        name = name_of(node)
        if is_product(node):
            found.append(_by_its_operands(plain[name], node, facts))
        elif node.op_type in OPERANDS:
            found.append(Product(name, node.op_type, "int8", "", _integer_macs(node, shapes)))
        elif node.domain not in STANDARD and is_weighted(node, facts.constants):
            reason = "its operator doesn't multiply integers of 8 bits"
            found.append(Product(name, node.op_type, "fp32", reason, macs.get(name)))
    counted = (_counted(each, known or {}) for each in found)
    kinds = {node.op_type for node in facts.nodes if is_quantized(node)}
    fixed = bool(kinds & (_FIXED | {"QuantizeLinear"}))
    return Contents(tuple(counted), _style(kinds), bool(kinds & MADE_ANEW), fixed)


def _by_its_operands(product: Product, node: onnx.NodeProto, facts: Survey) -> Product:
    """A product that computes in float, or in INT8 where its operands come out of 8 bits."""
    wide = [name for name in node.input[:2] if not _is_of_bytes(name, facts)]
    if product.asked != "int8" or not wide:
        return product
    reason = f"{wide[0]} isn't quantized to 8 bits"
    return replace(product, asked="fp32", reason=reason)


def _is_of_bytes(tensor: str, facts: Survey) -> bool:
    producer = facts.producers.get(tensor)
    if producer is None:
        return False
    node = facts.nodes[producer]
    if node.op_type != "DequantizeLinear":
        return False
    return _type_of(node.input[0], facts) in _BYTES


def _type_of(tensor: str, facts: Survey) -> int | None:
    """A tensor's element type; of what a QuantizeLinear made, that of its zero point."""
    if tensor in facts.types:
        return facts.types[tensor]
    producer = facts.producers.get(tensor)
    if producer is None:
        return None
    node = facts.nodes[producer]
    if node.op_type == "QuantizeLinear":
        zero = node.input[2] if len(node.input) > 2 else ""
        return facts.types.get(zero, TensorProto.UINT8)
    # what moves integers leaves their type
    return _type_of(node.input[0], facts) if node.input else None


def _integer_macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Multiply-accumulates of a product of integers, by its shapes."""
    first, second = (_sizes(shapes, node.input[place]) for place in OPERANDS[node.op_type])
    made = _sizes(shapes, node.output[0])
    if node.op_type in {"QLinearConv", "ConvInteger"}:
        return math.prod(made) * math.prod(second[1:]) if made and second else None
    if made and first and "MatMul" in node.op_type:
        return math.prod(made) * first[-1]
    return None


def _sizes(shapes: Shapes, tensor: str) -> tuple[int, ...] | None:
    shape = shapes.get(tensor)
    sizes = tuple(size for size in shape or () if isinstance(size, int) and size >= 0)
    return sizes if shape is not None and len(sizes) == len(shape) else None


def _counted(product: Product, known: Mapping[str, int | None]) -> Product:
    if product.macs is not None:
        return product
    return replace(product, macs=known.get(product.name, known.get(plain_name(product.name))))


def plain_name(node: str) -> str:
    """A node's name in the FP32 model, as far as quantizers leave it in that of theirs."""
    return node.removesuffix(_SUFFIX)


def _style(kinds: Collection[str]) -> str:
    """How a graph is quantized, by the quantized operators in it."""
    found = {
        "dynamic quantization": any(op in MADE_ANEW for op in kinds),
        "quantized operators": any(op in _FIXED for op in kinds),
    }
    found["Q/DQ"] = "DequantizeLinear" in kinds and not any(found.values())
    return " and ".join(name for name, held in found.items() if held)
