"""Multiply-accumulates of one sample: what each product of a graph costs, whatever it runs in."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from calaudit.graph.model import Model
from calaudit.graph.names import graphs_within, name_of
from calaudit.graph.rules import STANDARD, is_product, is_weighted
from calaudit.graph.survey import Shapes, sample_shapes

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MacSum:
    """Multiply-accumulates of one sample, over all products of an engine."""

    all: int | None
    """Of the products that are counted; None where none is."""
    int8: int | None
    """Of these: in INT8."""
    uncounted: int
    """Products whose count is unknown."""


def sum_macs(products: Iterable[tuple[int | None, bool]]) -> MacSum:
    """Add up multiply-accumulates, given with whether they run in INT8."""
    pairs = list(products)
    known = [(macs, int8) for macs, int8 in pairs if macs is not None]
    uncounted = len(pairs) - len(known)
    if not known:
        return MacSum(None, None, uncounted)
    total = sum(macs for macs, _ in known)
    return MacSum(total, sum(macs for macs, int8 in known if int8), uncounted)


def count_macs(
    model: Model, samples: Mapping[str, Sequence[int | None]] | None = None
) -> dict[str, int | None]:
    """Multiply-accumulates per product.

    Biases, activation functions and what else a node does besides multiplying two operands aren't
    counted.

    Parameters
    ----------
    model : Model
        FP32, FP16, or with Q/DQ.
    samples : mapping, optional
        Input → shape of a sample, for models that leave it free.

    Returns
    -------
    dict
        Node → multiply-accumulates of one sample; None where the shapes don't tell, where the
        operator's cost depends on more than shapes, and for nodes that hold products in a graph of
        their own or multiply by an operator that isn't ONNX's.
    """
    shapes = sample_shapes(model, samples or {})
    constants = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    found: dict[str, int | None] = {}
    for node in model.proto.graph.node:
        if is_product(node):
            found[name_of(node)] = _macs(node, shapes)
        elif _multiplies(node, constants):
            found[name_of(node)] = None
    return found


def _multiplies(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node that is no product of ONNX's own may be one, or holds one."""
    if node.domain not in STANDARD and is_weighted(node, constants):
        return True
    return any(is_product(inner) for graph in graphs_within(node) for inner in graph.node)


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """By the shapes that the operator's count needs: others may be unknown."""
    first, second, third = (_sizes(shapes, name) for name in [*node.input, "", "", ""][:3])
    made = _sizes(shapes, node.output[0])
    macs: int | None = None
    match node.op_type:
        case "Conv" | "DeformConv" if made and second:
            macs = math.prod(made) * math.prod(second[1:])
        case "ConvTranspose" if first and second:
            macs = math.prod(first) * math.prod(second[1:])
        case "Gemm" if made and first:
            transposed = any(each.name == "transA" and each.i for each in node.attribute)
            macs = math.prod(made) * first[0 if transposed else 1]
        case "MatMul" if made is not None and first:
            macs = math.prod(made) * first[-1]
        case "LSTM" | "GRU" | "RNN" if first and second and third:
            # input weights and recurrence weights, once per step and sequence
            macs = math.prod(first[:2]) * (math.prod(second) + math.prod(third))
        case "Einsum":
            macs = _einsum_macs(node, (first, second))
    return macs


def _sizes(shapes: Shapes, tensor: str) -> Sizes | None:
    shape = shapes.get(tensor)
    if shape is None:
        return None
    sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
    return sizes if len(sizes) == len(shape) else None


def _einsum_macs(node: onnx.NodeProto, read: Sequence[Sizes | None]) -> int | None:
    """One for each combination of indices; of two operands, without an ellipsis."""
    equation = next((each.s.decode() for each in node.attribute if each.name == "equation"), "")
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if (
        len(terms) != 2
        or len(node.input) != 2
        or not all(re.fullmatch("[A-Za-z]+", term) for term in terms)
    ):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, read, strict=True):
        if shape is None or len(shape) != len(term):
            return None
        for label, size in zip(term, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values())
