"""What a model's tensors are called, and what their names and makers tell about their ranges."""

import re
from dataclasses import dataclass
from typing import Final

import onnx

from calaudit.graph.model import Model
from calaudit.graph.names import tensor_names
from calaudit.graph.rules import MOVES_VALUES
from calaudit.graph.survey import Survey, survey

_IMPORTER_MADE = re.compile(r"\(Unnamed Layer\* [0-9]+\) \[[^\]]*\]_output.*")
_KEEPS_ONE: Final = MOVES_VALUES | {"Relu", "Abs", "Neg", "Cast", "Concat", "Where"}
"""Operators whose output can only end at exactly 1 because an input does."""
_BY_CONSTANT: Final = frozenset({"Add", "Sub", "Mul", "Div"})
_ENDS_AT_ONE: Final = frozenset({
    "Clip", "Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Softsign", "Erf", "Sin", "Cos", "Sign",
    "LpNormalization", "OneHot", "Equal", "Less", "Greater", "And", "Or", "Not",
})  # fmt: skip
"""Operators whose output is bounded, so that a magnitude of exactly 1 says nothing."""


@dataclass(frozen=True, slots=True)
class TensorNames:
    """The tensors of one model, as its file names them."""

    all: frozenset[str]
    """Inputs, weights, and everything a node computes, graphs inside nodes included."""
    not_float: frozenset[str]
    """Tensors of integers, truth values or text; no scale means anything for them."""
    ends_at_one: frozenset[str]
    """Tensors whose largest magnitude is naturally 1: inputs (images are often scaled to [0, 1]),
    outputs of Sigmoid, Softmax, Tanh, Clip and the like, and what only moves their values."""
    constants: frozenset[str]
    """Weights, and outputs of Constant nodes."""

    def has(self, name: str) -> bool:
        """Whether a calibration cache of this model may hold the name.

        TensorRT's importer makes names of its own: ``(Unnamed Layer* 12) [Constant]_output`` and
        ``<weight>_output``.
        """
        return (
            name in self.all
            or _IMPORTER_MADE.fullmatch(name) is not None
            or (name.endswith("_output") and name.removesuffix("_output") in self.constants)
        )


def name_tensors(model: Model) -> TensorNames:
    """Names and makers of all tensors of a model, prepared or not."""
    facts = survey(model)
    computed = set(facts.producers)
    every = tensor_names(model.proto.graph)
    constants = set(facts.constants) | {
        name for name in computed if _maker(facts, name).op_type == "Constant"
    }
    ends: set[str] = set(facts.inputs)
    for node in facts.nodes:
        if _ends_at_one(node, ends, constants):
            ends.update(name for name in node.output if name)
    return TensorNames(
        all=frozenset(every),
        not_float=frozenset(name for name in every if not _may_be_float(facts, name)),
        ends_at_one=frozenset(ends),
        constants=frozenset(constants),
    )


def _maker(facts: Survey, name: str) -> onnx.NodeProto:
    return facts.nodes[facts.producers[name]]


def _ends_at_one(node: onnx.NodeProto, ends: set[str], constants: set[str]) -> bool:
    if node.op_type in _ENDS_AT_ONE:
        return True
    reads_one = any(name in ends for name in node.input)
    if node.op_type in _BY_CONSTANT:
        return reads_one and any(name in constants for name in node.input)
    return node.op_type in _KEEPS_ONE and reads_one


def _may_be_float(facts: Survey, name: str) -> bool:
    kind = facts.types.get(name)
    return kind is None or kind in {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
