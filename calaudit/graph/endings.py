"""What a model ends in: whether an output holds logits or probabilities."""

from calaudit.graph.model import Model
from calaudit.graph.rules import STANDARD

_PASSES = frozenset({
    "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Ops that hand on their first input's values."""


def closing_op(model: Model, output: str) -> str | None:
    """ONNX op type that computes an output's values; None where none of ONNX's own does.

    Ops that only reshape, cast or hand values on are looked through.
    """
    producers = {name: node for node in model.proto.graph.node for name in node.output}
    while (node := producers.get(output)) is not None:
        if node.domain not in STANDARD:
            return None
        if node.op_type not in _PASSES:
            return str(node.op_type)
        output = node.input[0]
    return None
