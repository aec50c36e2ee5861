"""Prepare: fold constants and BatchNormalization, so that placement sees plain weighted ops."""

import onnx

from calaudit.graph.fp16 import is_half, widen
from calaudit.graph.model import Model
from calaudit.graph.names import NewNames, node_names


def prepare(model: Model) -> Model:
    """Widen half-precision floats, inline functions, fold constants and BatchNormalization.

    The result computes the same up to rounding (1e-5 relative). Tensors that remain keep their
    names; equal input gives equal output.
    """
    from calaudit.graph.folding import fold  # slow to import

    proto = fold(widen(model.proto) if is_half(model.proto) else model.proto)
    _keep_node_names(model.proto.graph, proto.graph)
    return Model(proto, model.label, model.notices)


def _keep_node_names(before: onnx.GraphProto, after: onnx.GraphProto) -> None:
    """Give every node its name of before, folded ones their Conv's or Gemm's; none stays unnamed.

    TensorRT's layer reports name the ONNX nodes, so the names must lead back to the user's file.
    """
    makers = {_first(node): node for node in before.node}
    names = NewNames(node_names(after) - {node.name for node in after.node})
    for node in after.node:
        maker = makers.get(_first(node))
        if maker is not None and maker.op_type != node.op_type and maker.input:
            maker = makers.get(maker.input[0], maker)
        name = _first(node) if maker is None or not maker.name else maker.name
        node.name = names.make(name, otherwise=f"{name}/{_first(node)}")


def _first(node: onnx.NodeProto) -> str:
    """A node's first output that has a name: the others are optional."""
    return next(filter(None, node.output), node.op_type)
