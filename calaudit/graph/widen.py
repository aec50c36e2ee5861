"""Widen: a model of half-precision floats computes in FP32 before ranges are taken.

Q/DQ placement knows FP32 operands only. Weights keep their values; what an FP16 model would round
between its layers isn't rounded, so the result is the model that was trained rather than its FP16
copy. Inputs and outputs keep their types: casts stand at the edges.
"""

from collections.abc import Iterable

import onnx
from onnx import AttributeProto, TensorProto, helper

from calaudit.graph.contents import values_of
from calaudit.graph.model import copy_of
from calaudit.graph.names import NewNames, all_graphs, node_names, tensor_names

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_TYPE_ATTRIBUTES = frozenset({"to", "dtype"})
"""Attributes that name an element type: of Cast, of random and filled tensors."""


def is_half(proto: onnx.ModelProto) -> bool:
    """Whether any weight, input or output is FP16 or BF16."""
    graph = proto.graph
    if any(value.type.tensor_type.elem_type in _HALF for value in (*graph.input, *graph.output)):
        return True
    return any(
        tensor.data_type in _HALF for each in all_graphs(graph) for tensor in each.initializer
    )


def widen(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in FP32, with the same inputs, outputs and names between."""
    copy = copy_of(proto)
    inputs, outputs = _half_edges(copy.graph.input), _half_edges(copy.graph.output)
    for graph in all_graphs(copy.graph):
        _widen_graph(graph)
    for function in copy.functions:
        _widen_nodes(function.node)
    _cast_edges(copy.graph, inputs, outputs)
    return copy


def _half_edges(values: Iterable[onnx.ValueInfoProto]) -> dict[str, int]:
    """Inputs or outputs of half precision: name → type."""
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in _HALF}


def _cast_edges(graph: onnx.GraphProto, inputs: dict[str, int], outputs: dict[str, int]) -> None:
    tensors, nodes = NewNames(tensor_names(graph)), NewNames(node_names(graph))
    renamed = {name: tensors.make(f"{name}/float") for name in (*inputs, *outputs)}
    for each in all_graphs(graph):
        for node in each.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        kind = inputs.get(value.name) or outputs.get(value.name)
        if kind is not None:
            value.type.tensor_type.elem_type = kind
    first = [
        helper.make_node(
            "Cast", [name], [renamed[name]], nodes.make(renamed[name]), to=TensorProto.FLOAT
        )
        for name in inputs
    ]
    last = [
        helper.make_node("Cast", [renamed[name]], [name], nodes.make(f"{name}/half"), to=kind)
        for name, kind in outputs.items()
    ]
    every = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(every)


def _widen_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _HALF:
        content = values_of(tensor).astype("<f4").tobytes()
        name, dims = tensor.name, list(tensor.dims)
        tensor.Clear()
        tensor.name, tensor.data_type = name, TensorProto.FLOAT
        tensor.dims.extend(dims)
        tensor.raw_data = content
