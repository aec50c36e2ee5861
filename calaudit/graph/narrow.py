"""Which types narrower than FP32 a graph computes in, as far as a weakly typed network must know.

Nothing is inferred: a graph that nobody can run has its types, too.
"""

from typing import Literal

from onnx import TensorProto

from calaudit.graph.model import Model

_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})


def narrow_types(model: Model) -> frozenset[Literal["int8", "fp16"]]:
    """``"int8"`` where there is Q/DQ, ``"fp16"`` where weights, inputs, outputs or casts are."""
    graph = model.proto.graph
    found: set[Literal["int8", "fp16"]] = set()
    if any(node.op_type in _ROUNDING for node in graph.node):
        found.add("int8")
    casts = (node for node in graph.node if node.op_type == "Cast")
    types = [tensor.data_type for tensor in graph.initializer]
    types += [each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)]
    types += [each.i for node in casts for each in node.attribute if each.name == "to"]
    if TensorProto.FLOAT16 in types:
        found.add("fp16")
    return frozenset(found)
