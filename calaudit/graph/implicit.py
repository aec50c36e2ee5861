"""Implicit quantization, predicted: the Q/DQ graph that computes as TensorRT up to 10 would.

TensorRT quantizes what lies between its kernels: a tensor with a range that one kernel writes and
another reads. Weights have one scale per output channel.
"""

from collections.abc import Iterator, Mapping

from onnx import NodeProto

from calaudit.graph.contents import values_of
from calaudit.graph.model import Model
from calaudit.graph.qdq import (
    QdqPlan,
    QuantizedActivation,
    QuantizedWeight,
    apply_qdq,
    estimate_weight_scales,
)
from calaudit.graph.rules import STANDARD
from calaudit.graph.survey import Slot, Survey, survey


def implicit_graph(model: Model, scales: Mapping[str, float]) -> Model:
    """The graph that predicts an implicitly quantized engine.

    Parameters
    ----------
    model : Model
        As given, FP32.
    scales : mapping
        Tensor → scale, as complete calibration caches have them; names that the model doesn't have
        are ignored.

    Raises
    ------
    RangesError
        A scale isn't a positive, finite, normal float32.
    """
    return apply_qdq(model, plan_implicit(model, scales), scales)


def plan_implicit(model: Model, scales: Mapping[str, float]) -> QdqPlan:
    """Where TensorRT would quantize, of the tensors that `scales` has."""
    facts = survey(model)
    activations = tuple(
        QuantizedActivation(name, tuple(facts.readers[name]))
        for name in (*facts.inputs, *facts.producers)
        if name in scales and name in facts.readers and facts.is_float(name)
    )
    return QdqPlan(model.fingerprint, activations, tuple(_weights(facts)), (), ())


def _weights(facts: Survey) -> Iterator[QuantizedWeight]:
    for position, node in enumerate(facts.nodes):
        found = _weight(node, facts)
        if found is not None:
            name, axis = found
            scales, _ = estimate_weight_scales(values_of(facts.constants[name]), axis)
            yield QuantizedWeight(name, axis, scales, (Slot(position, 1),))


def _weight(node: NodeProto, facts: Survey) -> tuple[str, int | None] | None:
    if node.domain not in STANDARD or node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return None
    name = node.input[1]
    if name not in facts.constants:
        return None
    if node.op_type == "Conv":
        return name, 0
    if node.op_type == "Gemm":
        return name, 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return name, 1 if len(facts.constants[name].dims) == 2 else None
