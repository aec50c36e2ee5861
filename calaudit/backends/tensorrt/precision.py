"""Proof of precision: what an engine's layers really run in, against what the graph asked for.

A successful build doesn't mean INT8: TensorRT is free to emulate a Q/DQ pair in float, and to leave
what implicit quantization permits. Its own account of the engine says so: the builder's verbose
layer report, where no GPU is needed, or the engine inspector's JSON. What isn't told is unknown.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

from calaudit.backends.base import NodePrecision, PrecisionProof
from calaudit.backends.tensorrt.layer_names import names_within, unnamed_layers
from calaudit.graph.products import Product
from calaudit.graph.rules import AS_ASKED
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted, first_of

Source = Literal["builder's layer report", "engine inspector"]

_TYPES: Final[Mapping[str, str]] = {
    "float": "fp32", "fp32": "fp32", "half": "fp16", "fp16": "fp16", "int8": "int8", "bf16": "bf16",
    "bfloat16": "bf16", "fp8": "fp8", "int4": "int4", "fp4": "fp4", "int32": "int32",
    "int64": "int64", "bool": "bool", "uint8": "uint8",
}  # fmt: skip
_WIDTH: Final = ("int8", "fp8", "bf16", "fp16", "fp32")
"""Precisions from narrow to wide: an operation is as wide as its widest operand."""
_MOVES: Final = frozenset({
    "shape_call", "Reformat", "Shuffle", "Constant", "Cast", "NoOp", "Signal", "Wait", "Slice",
    "Concat", "Concatenation", "copy", "Identity", "Quantize", "Dequantize",
})  # fmt: skip
"""Kinds of layer that hand values on: named after a product, they don't compute it."""
_POINTWISE: Final = frozenset({
    "kgen", "PointWise", "PointWiseV2", "ElementWise", "Scale", "Reduce", "Activation", "SoftMax",
    "CudaSoftMax", "CaskPooling", "Resize",
})  # fmt: skip
"""Kinds of layer around a product, which compute it only where no other does."""
_OPAQUE: Final = "Myelin"
"""A kind of layer that holds several operations: its inputs don't say what runs within."""
_NO_RANGE: Final = re.compile(r"Missing scale and zero-point for tensor (.*), expect fall back")
"""TensorRT's warning about a tensor that it has no range for."""


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer of an engine."""

    name: str
    kind: str
    """TensorRT's word: ``correlation``, ``gemm``, ``kgen``, ``CaskConvolution``, …"""
    operands: tuple[str, ...]
    """Precision of what a product multiplies: its first input, then its weight or second input;
    empty where unknown."""
    nodes: tuple[str, ...]
    """Names of the ONNX nodes it carries out, wholly or in part; releases up to 9 don't say."""
    outputs: tuple[str, ...] = ()
    """Tensors that it makes."""


def precision_notices(proof: PrecisionProof | None, where: str) -> list[Notice]:
    """A warning when an engine runs fewer nodes narrowly than its graph asked for."""
    if proof is None:
        return [
            Notice("precision_unproven", "TensorRT gave no layer information for the engine", where)
        ]
    notices = _ignored(proof, where)
    short = proof.short_of()
    if not short:
        return notices
    shown = "; ".join(
        f"{node.op_type} {node.node} requested {node.asked}, got {node.got or 'nothing known'}"
        for node in short[:3]
    )
    more = f"; {len(short) - 3} more" if len(short) > 3 else ""
    message = (
        f"{len(short)} of {len(proof.nodes)} products don't run in the requested precision: {shown}"
    )
    return [*notices, Notice("precision_short", message + more, where)]


def _ignored(proof: PrecisionProof, where: str) -> list[Notice]:
    """A warning where products that were to stay in float run in INT8 all the same."""
    names = [f"{each.op_type} {each.node}" for each in proof.nodes if each.ignores_float]
    if not names:
        return []
    message = (
        f"{counted(len(names), 'product runs', 'products run')} in INT8 though float was asked "
        f"for: {first_of(names[:3], len(names))}"
    )
    return [Notice("precision_ignored", message, where)]


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
                    r"Dimensions: \[([^\]]*)\].*?Datatype: ([^,}]+)", parts.get(part, "")
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
    nothing: they are left out. Nor does a text that isn't JSON tell anything.
    """
    try:
        # names and separators hold control characters, which JSON forbids
        found = json.loads(text, strict=False)
    except ValueError:
        return ()
    layers = found.get("Layers") if isinstance(found, Mapping) else None
    if not isinstance(layers, list):
        return ()
    return built_layers(layer for layer in layers if isinstance(layer, Mapping))


def built_layers(layers: Iterable[Mapping[str, Any]]) -> tuple[BuiltLayer, ...]:
    """Layers of the engine inspector's JSON."""
    return tuple(map(_inspected, layers))


def asked_implicitly(
    products: Iterable[Product], float_ops: Collection[str] = ()
) -> tuple[Product, ...]:
    """The products of an FP32 graph as implicit quantization asks for them: in INT8.

    All but `float_ops`, whose layers are told to stay in float.
    """
    return tuple(
        replace(each, asked="fp32", reason=AS_ASKED)
        if each.name in float_ops
        else replace(each, asked="int8", reason="")
        for each in products
    )


def tensors_without_range(warnings: Iterable[str]) -> frozenset[str]:
    """Tensors that TensorRT says it has no range for, in its own warnings of a build."""
    return frozenset(found[1] for text in warnings if (found := _NO_RANGE.match(text)))


def prove(
    nodes: Iterable[Product],
    layers: Sequence[BuiltLayer],
    source: Source,
    *,
    without_range: Collection[str] = (),
) -> PrecisionProof:
    """Look up every product of a graph among the layers of the engine built from it.

    Parameters
    ----------
    nodes : iterable of Product
        With the precision that is asked for.
    layers : sequence of BuiltLayer
    source : str
        Who told of the layers.
    without_range : collection of str
        Tensors that TensorRT has no range for: what reads or makes them stays float.
    """
    products = tuple(nodes)
    carrying = _carriers(products, layers)
    foreign = [layer.name for layer in layers if layer.kind == _OPAQUE]
    return PrecisionProof(
        source,
        tuple(_proved(each, carrying[each.name], foreign, without_range) for each in products),
    )


def _carriers(
    products: Sequence[Product], layers: Sequence[BuiltLayer]
) -> dict[str, list[BuiltLayer]]:
    """Product → the layers that carry it out: by their metadata, names, or what they make."""
    computing = [layer for layer in layers if layer.kind not in _MOVES]
    found: dict[str, list[BuiltLayer]] = {each.name: [] for each in products}
    for layer in computing:
        for name in found.keys() & set(layer.nodes):
            found[name].append(layer)
    lost = [each for each in products if not found[each.name]]
    within = names_within([layer.name for layer in computing], [each.name for each in lost])
    for layer, names in zip(computing, within, strict=True):
        for name in names:
            found[name].append(layer)
    makers = {name: layer for layer in computing for name in layer.outputs}
    for each in lost:
        if not found[each.name] and each.tensors and each.tensors[-1] in makers:
            found[each.name].append(makers[each.tensors[-1]])
    still = [each for each in lost if not found[each.name] and each.name in each.tensors]
    by_name = {layer.name: layer for layer in computing}
    for name, layer_name in unnamed_layers(by_name, still).items():
        found[name].append(by_name[layer_name])
    return found


def _proved(
    node: Product,
    carriers: Sequence[BuiltLayer],
    foreign: Sequence[str],
    without_range: Collection[str],
) -> NodePrecision:
    candidates = [layer for layer in carriers if layer.kind not in _POINTWISE] or carriers
    unknown = next((layer for layer in candidates if not computes_in(layer)), None)
    got: str | None = None
    if not candidates:
        reason = "no engine layer names it: folded, or fused into another layer"
        if foreign:
            reason += f", such as {foreign[0]}, which doesn't tell what runs within"
    elif unknown is not None:
        reason = f"TensorRT doesn't tell what its {unknown.kind} layer {unknown.name} computes in"
    else:
        widest = max(candidates, key=lambda layer: _width(computes_in(layer)))
        got = computes_in(widest)
        reason = "" if got == "int8" else _why_not(node, widest, without_range)
    return NodePrecision(node.name, node.op_type, node.asked, got, reason, node.macs)


def _why_not(node: Product, layer: BuiltLayer, without_range: Collection[str]) -> str:
    """Why a product doesn't run in INT8, as far as graph and engine tell."""
    reads = f"TensorRT's {layer.kind} layer {layer.name} reads {' × '.join(layer.operands)}"
    if node.reason:
        return node.reason
    bare = [name for name in node.tensors if name in without_range]
    if bare:
        return f"TensorRT has no range for {' and '.join(bare)}; {reads}"
    groups = f"in {node.groups} groups; " if node.groups > 1 else ""
    return f"{groups}{reads}: an INT8 kernel is missing, or a float one timed faster"


def computes_in(layer: BuiltLayer) -> str:
    """The precision of a layer: the wider of what it multiplies; empty where either is unknown."""
    if layer.kind == _OPAQUE or not layer.operands or "" in layer.operands:
        return ""
    return max(layer.operands, key=_width)


def _width(precision: str) -> int:
    return _WIDTH.index(precision) if precision in _WIDTH else -1


def _sections(line: str) -> Iterator[tuple[str, str]]:
    marks = list(re.finditer(r", (Inputs|Constants|Outputs): \[| *, TacticName:|, StreamId:", line))
    for mark, following in pairwise([*marks, None]):
        if mark is not None and mark[1]:
            yield mark[1], line[mark.end() : None if following is None else following.start()]


def _inspected(layer: Mapping[str, Any]) -> BuiltLayer:
    inputs, constants = (
        [
            (
                _elements(str(tensor.get("Dimensions", ""))),
                str(tensor.get("Datatype") or tensor.get("Format/Datatype", "")),
            )
            for tensor in _tensors(layer, part)
        ]
        for part in ("Inputs", "Constants")
    )
    weights = layer.get("Weights")
    if isinstance(weights, Mapping) and "Type" in weights:
        constants.append((_elements(str(weights.get("Count", 0))), str(weights["Type"])))
    return BuiltLayer(
        str(layer.get("Name", "")),
        str(layer.get("LayerType", "")),
        _operands(inputs, constants),
        _nodes(str(layer.get("Metadata", ""))),
        tuple(str(tensor.get("Name", "")) for tensor in _tensors(layer, "Outputs")),
    )


def _tensors(layer: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    found = layer.get(part)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


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
    """TensorRT's type, alone or within the description of a format, in our words.

    Empty where it names none, as ``"N/A due to dynamic shapes"``.
    """
    words = re.findall(r"\w+", kind.lower())
    return next((_TYPES[word] for word in words if word in _TYPES), "")


def _elements(dims: str) -> int:
    return math.prod(max(int(size), 1) for size in re.findall(r"-?\d+", dims))
