"""Proof of precision: what an engine's layers really run in, against what the graph asked for.

A successful build doesn't mean INT8: TensorRT is free to emulate a Q/DQ pair in float. Its own
account of the engine says so: the builder's verbose layer report, where no GPU is needed, or the
engine inspector's JSON.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from calaudit.backends.base import NodePrecision, PrecisionProof
from calaudit.graph.products import Product
from calaudit.runtime.errors import Notice

Source = Literal["builder's layer report", "engine inspector"]

_TYPES: Final[Mapping[str, str]] = {
    "float": "fp32", "fp32": "fp32", "half": "fp16", "fp16": "fp16", "int8": "int8", "bf16": "bf16",
    "bfloat16": "bf16", "fp8": "fp8", "int4": "int4", "fp4": "fp4", "int32": "int32",
    "int64": "int64", "bool": "bool", "uint8": "uint8",
}  # fmt: skip
_WIDTH: Final = ("int8", "fp8", "bf16", "fp16", "fp32")
"""Precisions from narrow to wide: an operation is as wide as its widest operand."""
_POINTWISE: Final = frozenset({
    "kgen", "shape_call", "Reformat", "Shuffle", "PointWise", "PointWiseV2", "ElementWise",
    "Scale", "Constant", "Cast", "NoOp", "Signal", "Wait", "Reduce", "Slice", "Quantize",
    "Dequantize", "Concat", "Concatenation", "copy", "Identity", "Activation", "SoftMax",
})  # fmt: skip
"""Kinds of layer that move or scale values: around a product, but not the product itself."""


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of an engine."""

    name: str
    kind: str
    """TensorRT's word: ``correlation``, ``gemm``, ``kgen``, ``CaskConvolution``, …"""
    operands: tuple[str, ...]
    """Precision of what a product multiplies: its first input, then its weight or second input."""
    nodes: tuple[str, ...]
    """Names of the ONNX nodes it carries out, wholly or in part."""


def precision_notices(proof: PrecisionProof | None, where: str) -> list[Notice]:
    """A warning when an engine runs fewer nodes narrowly than its graph asked for."""
    if proof is None:
        return [
            Notice("precision_unproven", "TensorRT gave no layer information for the engine", where)
        ]
    short = proof.short_of()
    if not short:
        return []
    shown = "; ".join(
        f"{node.op_type} {node.node} requested {node.asked}, got {node.got or 'nothing known'}"
        for node in short[:3]
    )
    more = f"; {len(short) - 3} more" if len(short) > 3 else ""
    message = (
        f"{len(short)} of {len(proof.nodes)} products don't run in the requested precision: {shown}"
    )
    return [Notice("precision_short", message + more, where)]


def read_layer_report(text: str) -> tuple[BuiltLayer, ...]:
    """Layers from the builder's verbose message that begins with ``Layers:``."""
    found = []
    for line in text.split("\n"):  # splitlines() would also split between node names
        head = re.match(r"(?:Layers:\s*)?Name: (.*?), LayerType: (\w+)", line)
        if head is None:
            continue
        parts = dict(_sections(line))
        inputs, constants = (
            [
                (_elements(dims), kind)
                for dims, kind in re.findall(
                    r"Dimensions: \[([^\]]*)\].*?Datatype: (\w+)", parts.get(part, "")
                )
            ]
            for part in ("Inputs", "Constants")
        )
        weights = re.search(r'Weights: \{"Type": "(\w+)", "Count": (\d+)', line)
        if weights is not None:
            constants.append((int(weights[2]), weights[1]))
        nodes = _nodes(line.partition("Metadata: ")[2])
        found.append(BuiltLayer(head[1], head[2], _operands(inputs, constants), nodes))
    return tuple(found)


def read_inspector(text: str) -> tuple[BuiltLayer, ...]:
    """Layers from ``IEngineInspector.get_engine_information(JSON)``.

    Layers that the engine was built without detailed verbosity for come as bare names and tell
    nothing: they are left out.
    """
    layers: Sequence[Any] = json.loads(text).get("Layers", ())
    return tuple(_inspected(layer) for layer in layers if isinstance(layer, Mapping))


def asked_implicitly(products: Iterable[Product]) -> tuple[Product, ...]:
    """The products of an FP32 graph as implicit quantization asks for them: all in INT8."""
    return tuple(replace(each, asked="int8", reason="") for each in products)


def prove(nodes: Iterable[Product], layers: Sequence[BuiltLayer], source: Source) -> PrecisionProof:
    """Look up every product of a graph among the layers of the engine built from it."""
    return PrecisionProof(source, tuple(_proved(node, layers) for node in nodes))


def _proved(node: Product, layers: Sequence[BuiltLayer]) -> NodePrecision:
    named = [layer for layer in layers if node.name in layer.nodes]
    candidates = [layer for layer in named if layer.kind not in _POINTWISE] or named
    if not candidates:
        why = "no engine layer names it: folded, or fused into another layer"
        return NodePrecision(node.name, node.op_type, node.asked, None, why, node.macs)
    widest = max(candidates, key=lambda layer: _width(_computes_in(layer)))
    got = _computes_in(widest)
    reason = ""
    if got != "int8":
        operands = " × ".join(widest.operands) or "nothing known"
        reason = node.reason or f"TensorRT's {widest.kind} layer {widest.name} reads {operands}"
    return NodePrecision(node.name, node.op_type, node.asked, got, reason, node.macs)


def _computes_in(layer: BuiltLayer) -> str:
    return max(layer.operands, key=_width, default="fp32")


def _width(precision: str) -> int:
    return _WIDTH.index(precision) if precision in _WIDTH else -1


def _sections(line: str) -> Iterator[tuple[str, str]]:
    marks = list(re.finditer(r", (Inputs|Constants|Outputs): \[| *, TacticName:|, StreamId:", line))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        if mark[1]:
            yield mark[1], line[mark.end() : None if following is None else following.start()]


def _inspected(layer: Mapping[str, Any]) -> BuiltLayer:
    inputs, constants = (
        [
            (
                _elements(",".join(map(str, tensor.get("Dimensions", ())))),
                str(tensor.get("Datatype") or tensor.get("Format/Datatype", "")),
            )
            for tensor in layer.get(part, ())
        ]
        for part in ("Inputs", "Constants")
    )
    weights = layer.get("Weights")
    if isinstance(weights, Mapping) and "Type" in weights:
        constants.append((int(weights.get("Count", 0)), str(weights["Type"])))
    return BuiltLayer(
        str(layer.get("Name", "")),
        str(layer.get("LayerType", "")),
        _operands(inputs, constants),
        _nodes(str(layer.get("Metadata", ""))),
    )


def _operands(
    inputs: Sequence[tuple[int, str]], constants: Sequence[tuple[int, str]]
) -> tuple[str, ...]:
    """The first input and the weight: the largest constant, where one is no mere scale or bias.

    Each is given with its number of elements, free axes counting as one.
    """
    weight = max(constants, default=(0, ""))
    second = [weight] if weight[0] > 1 else inputs[1:2]
    return tuple(_precision(kind) for _, kind in (*inputs[:1], *second))


def _nodes(metadata: str) -> tuple[str, ...]:
    """Behind a name may stand what TensorRT made of the node, and a separator."""
    parts = metadata.split("[ONNX Layer: ")[1:]
    return tuple(part.rpartition("]")[0] for part in parts)


def _precision(kind: str) -> str:
    """TensorRT's type, alone or within the description of a format, in our words."""
    words = re.findall(r"\w+", kind.lower())
    return next((_TYPES[word] for word in words if word in _TYPES), kind.lower())


def _elements(dims: str) -> int:
    return math.prod(max(int(size), 1) for size in re.findall(r"-?\d+", dims))
