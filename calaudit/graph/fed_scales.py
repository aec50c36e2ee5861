"""A Q/DQ graph that takes its scales from an input: one loaded engine for any ranges.

The input has one row of scales per sample, of which the first counts, since engines are fed
batches.
"""

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.graph.model import Model
from calaudit.graph.names import NewNames, node_names, tensor_names
from calaudit.graph.qdq import QdqPlan, apply_qdq
from calaudit.runtime.errors import ModelError

SCALES: Final = "calaudit_scales"
"""The input, float32 (batch, number of the plan's taps)."""


def with_fed_scales(model: Model, plan: QdqPlan) -> Model:
    """Carry out a plan with scales that are fed, in the order of `QdqPlan.taps`.

    Its outputs are those of `apply_qdq` with the same scales, to the bit, wherever Q/DQ is
    emulated.

    Parameters
    ----------
    model : Model
        The prepared model that `plan` was made for.
    plan : QdqPlan

    Raises
    ------
    ModelError
        The model has a tensor that is called like the input.
    """
    made = apply_qdq(model, plan, dict.fromkeys(plan.taps, 1.0))
    graph = made.proto.graph
    if SCALES in tensor_names(graph):
        raise ModelError(
            f"a tensor is called {SCALES}, which experiments need for an input of their own",
            where=model.label,
            next_step="Rename it in the model.",
        )
    _feed(graph, plan)
    return Model(made.proto, model.label)


def _feed(graph: onnx.GraphProto, plan: QdqPlan) -> None:
    """Replace the scales of activations, which lie in the graph, by parts of an input."""
    tensors, nodes = NewNames(tensor_names(graph)), NewNames(node_names(graph))

    def gather(source: str, place: int, target: str) -> onnx.NodeProto:
        at = tensors.make(f"{SCALES}_at_{place}")
        graph.initializer.append(numpy_helper.from_array(np.asarray(np.int64(place)), at))
        name = nodes.make(f"{target}/fed")
        return helper.make_node("Gather", [source, at], [target], name=name)

    row = tensors.make(f"{SCALES}_row")
    head = [gather(SCALES, 0, row)]
    fed: dict[str, str] = {}
    for place, tap in enumerate(plan.taps):
        fed[tap] = tensors.make(f"{SCALES}_{place}")
        head.append(gather(row, place, fed[tap]))
    scale_of = {each.tensor: each.scale_of or each.tensor for each in plan.activations}
    rounded: dict[str, str] = {}
    replaced: set[str] = set()
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in scale_of:
            rounded[node.output[0]] = fed[scale_of[node.input[0]]]
            replaced.add(node.input[1])
            node.input[1] = rounded[node.output[0]]
        elif node.op_type == "DequantizeLinear" and node.input[0] in rounded:
            node.input[1] = rounded[node.input[0]]
    body = list(graph.node)
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*head, *body])
    graph.initializer.extend(kept)
    size: list[str | int | None] = ["calaudit_batch", len(plan.taps)]
    graph.input.append(helper.make_tensor_value_info(SCALES, TensorProto.FLOAT, size))
