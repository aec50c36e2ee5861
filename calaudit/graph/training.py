"""Ops that behave as in training: their answers depend on the batch, or on chance."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calaudit.graph.names import all_graphs, name_of
from calaudit.graph.rules import STANDARD

_RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
})  # fmt: skip
_DROPPED = 0.5
"""Ratio of a Dropout that names none."""
_SHOWN = 3


def training_problems(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    """What makes the model train instead of infer, and how to export it for inference.

    BatchNormalization in training mode normalises by the batch that happens to be there, Dropout
    in training mode drops at random: no number of an audit would mean anything.
    """
    found = [node for node in _nodes(proto) if _trains(node, _constants(proto))]
    if not found:
        return []
    return [
        (
            f"was exported in training mode ({_named(found)}): its answers depend on the batch",
            "Call model.eval() and export it again, without training= (torch.onnx.export), or with "
            "training=False (tf2onnx, keras).",
        )
    ]


def random_ops(proto: onnx.ModelProto) -> str | None:
    """What draws random numbers at run time, in words; None where nothing does."""
    found = [node for node in _nodes(proto) if node.op_type in _RANDOM]
    return _named(found) if found else None


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in all_graphs(proto.graph):
        yield from (node for node in graph.node if node.domain in STANDARD)
    for function in proto.functions:
        yield from (node for node in function.node if node.domain in STANDARD)


def _trains(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "BatchNormalization":
        # up to opset 13 more than one output means training
        return bool(attributes.get("training_mode")) or any(node.output[1:])
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    mode, ratio = (_value(constants.get(name)) for name in (node.input[2], node.input[1]))
    return bool(mode) and (_DROPPED if ratio is None and not node.input[1] else ratio) != 0


def _constants(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Scalars that are known: initializers, and the outputs of Constant nodes."""
    found: dict[str, onnx.TensorProto] = {}
    for graph in all_graphs(proto.graph):
        found |= {each.name: each for each in graph.initializer if np.prod(each.dims) <= 1}
    for node in _nodes(proto):
        if node.op_type == "Constant":
            for each in node.attribute:
                if each.name == "value":
                    found[node.output[0]] = each.t
    return found


def _value(tensor: onnx.TensorProto | None) -> float | None:
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor)
    return float(values.reshape(-1)[0]) if values.size == 1 else None


def _named(nodes: Sequence[onnx.NodeProto]) -> str:
    shown = ", ".join(f"{node.op_type} {name_of(node)}" for node in nodes[:_SHOWN])
    return shown if len(nodes) <= _SHOWN else f"{shown}, … {len(nodes)} in all"
