"""What a runtime's own graph computes of a model's nodes, and how large a model's weights are."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from calaudit.graph.model import Model
from calaudit.graph.names import name_of

_STEPS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_MADE_FROM: Final = re.compile(r"(_token_\d+|/duplicated.*|_nchwc|_quant|_transformed)$")
"""What optimisers put behind the name of the node, or tensor, that they made something from."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of an optimised graph."""

    name: str
    """Empty where it has none."""
    kind: str
    """Its op type."""
    nodes: tuple[str, ...]
    """Nodes of the model that it computes, or part of it; Q/DQ isn't told."""


def read_layers(optimised: Path, model: Model) -> list[Layer]:
    """Nodes of a graph that an optimiser made of a model, in its order.

    A node of the model belongs to the layer with its name or that computes its output; one that
    none has was fused into the layer of what it reads, or of what reads it.

    Parameters
    ----------
    optimised : Path
        An ONNX file.
    model : Model
        What was optimised.
    """
    graph = onnx.load(str(optimised), load_external_data=False).graph
    own = {name_of(node): node for node in model.proto.graph.node if node.op_type not in _STEPS}
    maker = {output: name for name, node in own.items() for output in node.output if output}
    layer_of: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in _origins(node, own, maker):
            layer_of.setdefault(name, place)
    readers = _readers(own)
    for name in [*own, *reversed(own)]:  # what is fused lies behind its product, or before it
        if name in layer_of:
            continue
        before = [maker[each] for each in own[name].input if each in maker]
        known = [layer_of[each] for each in (*before, *readers[name]) if each in layer_of]
        if known:
            layer_of[name] = known[0]
    return [
        Layer(node.name, node.op_type, tuple(n for n in own if layer_of.get(n) == place))
        for place, node in enumerate(graph.node)
    ]


def _origins(
    node: onnx.NodeProto, own: Mapping[str, onnx.NodeProto], maker: Mapping[str, str]
) -> list[str]:
    """Nodes of the model that a node bears the name of, or computes the output of."""
    found = [maker[output] for output in node.output if output in maker]
    stem = node.name
    while stem:
        if stem in own or stem in maker:
            found.append(stem if stem in own else maker[stem])
            break
        shorter = _MADE_FROM.sub("", stem)
        if shorter == stem:
            break
        stem = shorter
    return found


def _readers(own: Mapping[str, onnx.NodeProto]) -> Mapping[str, Sequence[str]]:
    """Node → nodes that read what it computes."""
    found: dict[str, list[str]] = {name: [] for name in own}
    maker = {output: name for name, node in own.items() for output in node.output if output}
    for name, node in own.items():
        for each in node.input:
            if each in maker:
                found[maker[each]].append(name)
    return found


def weight_bytes(model: Model) -> int:
    """Bytes of a model's constants; of types below a byte, one for each value."""
    return sum(
        math.prod(each.dims) * onnx.helper.tensor_dtype_to_np_dtype(each.data_type).itemsize
        for each in model.proto.graph.initializer
    )
