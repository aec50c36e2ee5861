"""Times of an engine's layers, with the nodes of the graph that each carries out."""

from collections.abc import Mapping, Sequence

from calaudit.backends.tensorrt.layer_names import names_within, unnamed_layers
from calaudit.backends.tensorrt.precision import BuiltLayer, computes_in
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.products import products
from calaudit.results.bench import LayerTime

_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Nodes that an INT8 graph has and the FP32 model hasn't."""


def layer_times(
    times: Mapping[str, float], built: Sequence[BuiltLayer], model: Model
) -> tuple[LayerTime, ...]:
    """Layers with their times and nodes.

    Parameters
    ----------
    times : mapping
        Layer → mean milliseconds per run, in the order they run.
    built : sequence of BuiltLayer
        What the inspector tells of the engine's layers; those that aren't there go by their name.
    model : Model
        The graph that the engine was built from.
    """
    known = {layer.name: layer for layer in built}
    layers = [known.get(name, BuiltLayer(name, "", (), ())) for name in times]
    nodes = _nodes(layers, model)
    whole = sum(times.values())
    return tuple(
        LayerTime(
            name=layer.name,
            ms=ms,
            share=ms / whole if whole else 0.0,
            nodes=names,
            kind=layer.kind,
            precision=computes_in(layer) or None,
        )
        for layer, ms, names in zip(layers, times.values(), nodes, strict=True)
    )


def _nodes(layers: Sequence[BuiltLayer], model: Model) -> list[tuple[str, ...]]:
    """Nodes of each layer: by its metadata, else by its name, else by what it makes."""
    graph = model.proto.graph
    mine = {name_of(each): each for each in graph.node if each.op_type not in _ROUNDING}
    makers = {output: name for name, each in mine.items() for output in each.output}
    bare = [product for product in products(model) if product.name in product.tensors]
    unnamed: dict[str, list[str]] = {}
    for node, layer_name in unnamed_layers([each.name for each in layers], bare).items():
        unnamed.setdefault(layer_name, []).append(node)
    found = []
    for layer, within in zip(layers, names_within([e.name for e in layers], mine), strict=True):
        told = [name for name in layer.nodes if name in mine]
        names = told or [*within, *unnamed.get(layer.name, ())]
        made = [makers[each] for each in layer.outputs if each in makers]
        found.append(tuple(dict.fromkeys(names or made)))
    return found
