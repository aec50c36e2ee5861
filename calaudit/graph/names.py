"""Names in a graph, those of the graphs inside its nodes included, and new ones that none has."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count

import onnx
from onnx import AttributeProto


def graphs_within(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes, and those in their nodes."""
    for attribute in node.attribute:
        inner = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
        for graph in inner:
            yield from all_graphs(graph)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        yield from graphs_within(node)


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a tensor, whether anything reads it or not."""
    names: set[str] = set()
    for each in all_graphs(graph):
        names.update(value.name for value in (*each.input, *each.output, *each.value_info))
        names.update(tensor.name for tensor in each.initializer)
        names.update(tensor.values.name for tensor in each.sparse_initializer)
        for node in each.node:
            names.update((*node.input, *node.output))
    return names - {""}


def node_names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a node."""
    return {node.name for each in all_graphs(graph) for node in each.node} - {""}


def tell_nodes_apart(graph: onnx.GraphProto) -> None:
    """Number nodes that have an earlier one's name in their graph: onnxruntime refuses them."""
    names = NewNames(node_names(graph))
    for each in all_graphs(graph):
        seen: set[str] = set()
        for node in each.node:
            if node.name in seen:
                node.name = names.make(node.name)
            elif node.name:
                seen.add(node.name)


def rename(graph: onnx.GraphProto, tensors: Mapping[str, str], nodes: Mapping[str, str]) -> None:
    """Give tensors and nodes other names, all at once, here and in the graphs inside."""
    for each in all_graphs(graph):
        for named in (*each.input, *each.output, *each.value_info, *each.initializer):
            named.name = tensors.get(named.name, named.name)
        for node in each.node:
            node.name = nodes.get(node.name, node.name)
            node.input[:] = [tensors.get(name, name) for name in node.input]
            node.output[:] = [tensors.get(name, name) for name in node.output]


def tell_scopes_apart(graph: onnx.GraphProto) -> None:
    """Rename what graphs inside define under a name that another graph, seen before, defines."""
    inner = all_graphs(graph)
    names = NewNames(tensor_names(graph))
    seen = _defined(next(inner))
    for each in inner:
        clashing = {name: names.make(name) for name in sorted(_defined(each) & seen)}
        rename(each, clashing, {})
        seen |= _defined(each)


def _defined(graph: onnx.GraphProto) -> set[str]:
    computed = {name for node in graph.node for name in node.output}
    return (computed | {named.name for named in (*graph.input, *graph.initializer)}) - {""}


def names_read(graph: onnx.GraphProto) -> set[str]:
    """Tensors that nodes read, or that are outputs, here and in the graphs inside."""
    names: set[str] = set()
    for each in all_graphs(graph):
        names.update(value.name for value in each.output)
        for node in each.node:
            names.update(node.input)
    return names - {""}


def name_of(node: onnx.NodeProto) -> str:
    """What messages call a node: its name, or that of its first output."""
    return node.name or next(filter(None, node.output), node.op_type)


class NewNames:
    """Gives names that nothing has yet.

    Parameters
    ----------
    taken : iterable of str
        Names in use.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def make(self, wanted: str, *, otherwise: str | None = None) -> str:
        """`wanted`, or `otherwise`, or the latter with a number behind it where both are taken."""
        base = wanted if otherwise is None else otherwise
        ways = chain((wanted, base), (f"{base}_{n}" for n in count(2)))
        name = next(way for way in ways if way not in self._taken)
        self._taken.add(name)
        return name
