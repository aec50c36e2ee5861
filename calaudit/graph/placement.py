"""Placement: decide where Q/DQ goes in a prepared model, by TensorRT's rules.

Inputs and constant weights of Conv, Gemm and MatMul are quantized, and the skip input of an Add
that a convolution fuses with. One activation gets one pair, however many ops read it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from calaudit.graph.contents import values_of
from calaudit.graph.model import Model
from calaudit.graph.names import graphs_within, name_of
from calaudit.graph.qdq import (
    Decision,
    QdqPlan,
    QuantizedActivation,
    QuantizedWeight,
    estimate_weight_scales,
)
from calaudit.graph.rules import (
    AS_ASKED,
    FLOAT_REASONS,
    MOVES_VALUES,
    MOVES_WEIGHTS,
    ONNXRUNTIMES,
    STANDARD,
    UNKNOWN,
    is_weighted,
)
from calaudit.graph.survey import Shapes, Slot, Survey, same_shape, sized_shapes, survey
from calaudit.runtime.errors import ModelError, Notice, Problem

Key = TypeVar("Key")

_GIVE_UNFUSED = (
    "stay float in every engine: onnxruntime's optimiser made them. Give the model as it was "
    "exported, or as ORT_ENABLE_BASIC leaves it"
)
_EXPORT_STANDARD = "stay float in every engine. Export the model with ONNX's own operators"
_EXPORT_STRAIGHT = (
    "hold weights inside, which stay float in every engine. Trace the model with fixed sizes "
    "instead of scripting it, so that its graph is straight"
)


def plan_qdq(model: Model, *, float_ops: Collection[str] = ()) -> QdqPlan:
    """Decide where Q/DQ goes.

    Parameters
    ----------
    model : Model
        As `prepare` returns it.
    float_ops : collection of str
        Names of nodes (`name_of`) to leave in float: nothing they read gets Q/DQ for their sake,
        nor does what is added to a convolution among them. The plan's taps are among those of the
        plan without exemptions, so that its ranges serve.

    Raises
    ------
    ModelError
        Weights that hold NaN or infinity.
    ValueError
        `float_ops` names a node that the model doesn't have.
    """
    placement = _Placement(survey(model), model.label, cache(partial(sized_shapes, model)))
    for position in range(len(placement.facts.nodes)):
        placement.decide(position)
    placement.quantize_skip_inputs()
    placement.leave_as_asked(float_ops)
    placement.notice_what_stays_float()
    weights = placement.quantized_weights()
    activations = placement.quantized_activations()
    if not activations:
        message = "no op of this model is quantized: every engine computes what FP32 does"
        placement.notices.append(Notice("nothing_quantized", message, model.label))
    return QdqPlan(
        fingerprint=model.fingerprint,
        activations=activations,
        weights=weights,
        decisions=placement.decisions(activations, weights),
        notices=(*model.notices, *placement.notices),
    )


@dataclass(slots=True)
class _Placement:
    facts: Survey
    label: str
    sized: Callable[[], Shapes]
    """Shapes where the inputs have no free sizes."""
    verdicts: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    """Node → (why it stays in float or None, what was quantized)."""
    acts: dict[str, list[Slot]] = field(default_factory=dict)
    consts: dict[tuple[str, int | None], list[Slot]] = field(default_factory=dict)
    skips: dict[Slot, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def decide(self, position: int) -> None:
        """Quantize the inputs of one node, or note why not."""
        node = self.facts.nodes[position]
        inner = [f"{n.op_type} {name_of(n)}" for n in self._weighted_within(node)]
        if inner:
            self._leave(position, f"holds {_few(inner)}, where no activation can be observed")
        elif node.domain.startswith(ONNXRUNTIMES):
            self._leave(position, f"onnxruntime's own ({node.domain}): TensorRT doesn't know it")
        elif node.domain not in STANDARD:
            self._leave(position, f"from the domain {node.domain}, which TensorRT doesn't know")
        elif node.op_type == "Conv":
            self._weighted(position, act=0, const=1, axis=0)
        elif node.op_type == "Gemm":
            self._gemm(position, node)
        elif node.op_type == "MatMul":
            self._matmul(position, node)
        elif node.op_type in MOVES_VALUES and is_weighted(node, self.facts.constants):
            self._leave(position, MOVES_WEIGHTS)
        else:
            self._leave(position, FLOAT_REASONS.get(node.op_type, UNKNOWN))

    def _weighted_within(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Weighted nodes of the graphs inside a node."""
        graphs = list(graphs_within(node))
        if not graphs:
            return []
        constants = dict(self.facts.constants)
        constants.update((tensor.name, tensor) for each in graphs for tensor in each.initializer)
        return [inner for each in graphs for inner in each.node if is_weighted(inner, constants)]

    def _is_weighted(self, position: int) -> bool:
        node = self.facts.nodes[position]
        return is_weighted(node, self.facts.constants) or bool(self._weighted_within(node))

    def notice_what_stays_float(self) -> None:
        """Tell of weights that only another export of the model could bring to INT8."""
        fused: Counter[str] = Counter()
        foreign: Counter[str] = Counter()
        nested: Counter[str] = Counter()
        for position, node in enumerate(self.facts.nodes):
            if self.verdicts[position][0] is None or not self._is_weighted(position):
                continue
            if node.domain.startswith(ONNXRUNTIMES):
                fused[node.op_type] += 1
            elif node.domain not in STANDARD:
                foreign[f"{node.domain}.{node.op_type}"] += 1
            elif self._weighted_within(node):
                nested[node.op_type] += 1
        for code, ops, way_out in (
            ("onnxruntime_ops", fused, _GIVE_UNFUSED),
            ("foreign_ops", foreign, _EXPORT_STANDARD),
            ("weights_in_subgraphs", nested, _EXPORT_STRAIGHT),
        ):
            if ops:
                told = _few([f"{n} {name}" for name, n in sorted(ops.items())])
                self.notices.append(Notice(code, f"{told} {way_out}", self.label))

    def _leave(self, position: int, reason: str) -> None:
        self.verdicts[position] = (reason, "")

    def _gemm(self, position: int, node: onnx.NodeProto) -> None:
        left, right = (name in self.facts.constants for name in node.input[:2])
        if right:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            self._weighted(position, act=0, const=1, axis=0 if transposed else 1)
        elif left:
            self._weighted(position, act=1, const=0, axis=None)
        else:
            self._both_activations(position, node)

    def _matmul(self, position: int, node: onnx.NodeProto) -> None:
        left, right = (name in self.facts.constants for name in node.input)
        if right:
            rank = len(self.facts.constants[node.input[1]].dims)
            self._weighted(position, act=0, const=1, axis=1 if rank == 2 else None)
        elif left:
            self._weighted(position, act=1, const=0, axis=None)
        else:
            self._both_activations(position, node)

    def _both_activations(self, position: int, node: onnx.NodeProto) -> None:
        for name in node.input[:2]:
            if not self.facts.is_float(name):
                self._leave(position, f"its input {name} isn't float32")
                return
        for index, name in enumerate(node.input[:2]):
            self.acts.setdefault(name, []).append(Slot(position, index))
        self.verdicts[position] = (None, "both inputs")

    def _weighted(self, position: int, *, act: int, const: int, axis: int | None) -> None:
        node = self.facts.nodes[position]
        activation, weight = node.input[act], node.input[const]
        if weight not in self.facts.constants:
            self._leave(position, f"its weight {weight} isn't constant, so it has no fixed scales")
        elif activation in self.facts.constants:
            self._leave(position, f"its input {activation} is a constant")
        elif self.facts.types.get(weight) != TensorProto.FLOAT:
            kind = TensorProto.DataType.Name(self.facts.constants[weight].data_type)
            self._leave(position, f"its weight {weight} is {kind.lower()}, not float32")
        elif not self.facts.is_float(activation):
            self._leave(position, f"its input {activation} isn't float32")
        else:
            self.acts.setdefault(activation, []).append(Slot(position, act))
            self.consts.setdefault((weight, axis), []).append(Slot(position, const))
            self.verdicts[position] = (None, "input and weight")

    def quantize_skip_inputs(self) -> None:
        """On each residual Add, quantize the input that isn't the convolution it fuses with."""
        for position, node in enumerate(self.facts.nodes):
            if node.op_type not in {"Add", "Sum"} or node.domain not in STANDARD:
                continue
            if len(node.input) != 2 or any(name in self.facts.constants for name in node.input):
                continue
            fusing = [name for name in node.input if self._fuses_with_add(name)]
            if not fusing:
                continue
            main = max(fusing, key=lambda name: self.facts.producers[name])
            skip = 1 - list(node.input).index(main)
            tensor = node.input[skip]
            if not self.facts.is_float(tensor) or not same_shape(
                self.facts, self.sized, main, tensor
            ):
                continue
            slot = Slot(position, skip)
            self.acts.setdefault(tensor, []).append(slot)
            self.skips[slot] = main
            self.verdicts[position] = (None, f"skip input only: {main} and this Add fuse")

    def leave_as_asked(self, float_ops: Collection[str]) -> None:
        """Take Q/DQ away from these nodes, and from sums that one of them would fuse with."""
        places = {name_of(node): place for place, node in enumerate(self.facts.nodes)}
        unknown = sorted(set(float_ops) - places.keys())
        if unknown:
            raise ValueError(f"{self.label} has no node {unknown[0]!r}")
        left = {places[name] for name in float_ops}
        unfused = {s for s, main in self.skips.items() if self.facts.producers[main] in left}
        for place in left | {slot.node for slot in unfused}:
            if self.verdicts[place][0] is None:
                asked = place in left
                self._leave(place, AS_ASKED if asked else "its convolution is left in float")
        self.acts = _without(self.acts, left, unfused)
        self.consts = _without(self.consts, left, unfused)

    def _fuses_with_add(self, tensor: str) -> bool:
        """Whether a quantized Conv computes `tensor` for one reader alone."""
        producer = self.facts.producers.get(tensor)
        return (
            producer is not None
            and self.facts.nodes[producer].op_type == "Conv"
            and self.verdicts[producer][0] is None
            and len(self.facts.readers[tensor]) == 1
            and tensor not in self.facts.outputs
            and tensor not in self.facts.captured
        )

    def quantized_activations(self) -> tuple[QuantizedActivation, ...]:
        """One per tensor, inputs first, then in the order they are computed."""
        order = {name: place for place, name in enumerate(self.facts.inputs)}
        first = len(order)
        order.update((name, first + place) for place, name in enumerate(self.facts.producers))
        return tuple(
            QuantizedActivation(name, tuple(self.acts[name]))
            for name in sorted(self.acts, key=lambda name: order[name])
        )

    def quantized_weights(self) -> tuple[QuantizedWeight, ...]:
        """Scales of every constant to quantize, once per axis it is used along."""
        made: list[QuantizedWeight] = []
        problems: list[Problem] = []
        for (name, axis), slots in self.consts.items():
            values: NDArray[np.float32] = values_of(self.facts.constants[name])
            if not np.isfinite(values).all():
                problems.append(
                    Problem(
                        f"weight {name} holds NaN or infinity",
                        self.label,
                        "Export a trained model whose weights are finite.",
                    )
                )
                continue
            scales, dead = estimate_weight_scales(values, axis)
            if dead.size:
                self.notices.append(_dead_channels(name, axis, dead, scales.size, self.label))
            made.append(QuantizedWeight(name, axis, scales, tuple(slots)))
        if problems:
            raise ModelError.of(problems)
        return tuple(made)

    def decisions(
        self,
        activations: tuple[QuantizedActivation, ...],
        weights: tuple[QuantizedWeight, ...],
    ) -> tuple[Decision, ...]:
        """Rows for tensors, then weights, then nodes, each in graph order."""
        rows = [
            Decision("activation", a.tensor, self._maker(a.tensor), "quantized", self._why(a))
            for a in activations
        ]
        for weight in weights:
            users = ", ".join(self._node_name(slot.node) for slot in weight.slots)
            how = (
                "one scale per tensor"
                if weight.axis is None
                else f"{weight.scales.size} scales along output axis {weight.axis}"
            )
            op_type = self.facts.nodes[weight.slots[0].node].op_type
            reason = f"weight of {users}: {how}"
            rows.append(Decision("weight", weight.tensor, op_type, "quantized", reason))
        for position, (float_reason, what) in self.verdicts.items():
            node = self.facts.nodes[position]
            weighted = self._is_weighted(position)
            name = name_of(node)
            if float_reason is None:
                rows.append(Decision("node", name, node.op_type, "quantized", what, weighted))
            else:
                rows.append(Decision("node", name, node.op_type, "float", float_reason, weighted))
        return tuple(rows)

    def _why(self, activation: QuantizedActivation) -> str:
        reasons = []
        for slot in activation.slots:
            name = self._node_name(slot.node)
            if slot in self.skips:
                reasons.append(f"skip input of {name}, which fuses with {self.skips[slot]}")
            else:
                reasons.append(f"input of {name}")
        return "; ".join(reasons)

    def _maker(self, tensor: str) -> str:
        producer = self.facts.producers.get(tensor)
        return "input" if producer is None else self.facts.nodes[producer].op_type

    def _node_name(self, position: int) -> str:
        node = self.facts.nodes[position]
        return f"{node.op_type} {name_of(node)}"


def _without(
    read: Mapping[Key, list[Slot]], nodes: Collection[int], slots: Collection[Slot]
) -> dict[Key, list[Slot]]:
    """What is still quantized once these nodes and slots read it in float."""
    kept = {
        key: [each for each in readers if each.node not in nodes and each not in slots]
        for key, readers in read.items()
    }
    return {key: readers for key, readers in kept.items() if readers}


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, … {len(names)} in all"


def _dead_channels(
    name: str, axis: int | None, dead: NDArray[np.int64], n: int, label: str
) -> Notice:
    if axis is None or dead.size == n:
        message = f"weight {name} is all zeros: scale 1/127 is used"
    else:
        shown = ", ".join(map(str, dead[:5])) + (", …" if dead.size > 5 else "")
        message = (
            f"weight {name} has {dead.size} of {n} channels that are all zeros ({shown}): "
            "the largest scale among its channels is used"
        )
    return Notice("zero_weight_channel", message, label)
