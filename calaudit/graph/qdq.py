"""The Q/DQ plan, a value: which tensors get a pair, which weights become int8, why; carried out.

Weights become int8 with the scales of one scale table: symmetric, one scale per output channel,
rounded half to even, within ±127.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from calaudit.graph.contents import copy_tensor, values_of
from calaudit.graph.model import Model, without_weights
from calaudit.graph.names import NewNames, names_read, node_names, tensor_names
from calaudit.graph.survey import Slot
from calaudit.runtime.errors import Notice, Problem, RangesError, near

Action = Literal["quantized", "float"]
Kind = Literal["activation", "weight", "node"]

LIMIT = 127
"""Weights use -127…127, so that the scale is amax / 127 on both sides."""
_SMALLEST = np.finfo(np.float32).tiny
"""Scales below the smallest normal float32 are refused or flushed to zero by kernels."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one tensor or node, and why."""

    kind: Kind
    subject: str
    """The tensor's name, or the node's (its first output where it has no name)."""
    op_type: str
    """The node's operator; for an activation the one that computes it ("input" for a model input);
    for a weight the one that uses it."""
    action: Action
    reason: str
    weighted: bool = False
    """The node holds weights or multiplies matrices, so that INT8 would matter."""


@dataclass(frozen=True, slots=True)
class QuantizedActivation:
    """One activation, its Q/DQ pair, and the inputs that read the dequantized value."""

    tensor: str
    slots: tuple[Slot, ...]
    scale_of: str | None = None
    """The tensor whose scale it takes, where that isn't its own."""


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """One constant, rounded to int8, and the inputs that read it."""

    tensor: str
    axis: int | None
    """Output-channel axis the scales run along; None for one scale per tensor."""
    scales: NDArray[np.float32]
    """(channels,), or () for one scale per tensor: amax / 127, positive and finite."""
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class QdqPlan:
    """Where Q/DQ goes in one prepared model."""

    fingerprint: str
    """Of the model the plan is for."""
    activations: tuple[QuantizedActivation, ...]
    weights: tuple[QuantizedWeight, ...]
    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]

    @property
    def taps(self) -> tuple[str, ...]:
        """Tensors whose ranges are needed: inputs first, then in the order they are computed."""
        return tuple(dict.fromkeys(each.scale_of or each.tensor for each in self.activations))

    @property
    def int8_ops(self) -> tuple[str, ...]:
        """Products in INT8, in graph order: what can be left in float."""
        return tuple(
            each.subject
            for each in self.decisions
            if each.kind == "node" and each.weighted and each.action == "quantized"
        )


def explain(plan: QdqPlan) -> list[Decision]:
    """What `calaudit build --explain` shows.

    Every Q/DQ pair, every int8 weight, then every weighted node that stays in float.
    """
    placed = [d for d in plan.decisions if d.kind != "node"]
    return placed + [
        d for d in plan.decisions if d.kind == "node" and d.weighted and d.action == "float"
    ]


def estimate_weight_scales(
    values: NDArray[np.float32], axis: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scale per output channel, amax / 127.

    Parameters
    ----------
    values : float32 array
        Finite weights.
    axis : int or None
        Output-channel axis; None for one scale.

    Returns
    -------
    scales : float32 (channels,) or ()
        Positive. A channel of zeros takes the largest scale among the channels (1 / 127 when all
        are zero): TensorRT refuses scales of zero, and zeros stay zeros under any scale.
    dead : int64 (n,)
        Channels that took the fallback.
    """
    others = None if axis is None else tuple(d for d in range(values.ndim) if d != axis)
    amax = np.max(np.abs(values), axis=others, initial=0)
    scales = np.asarray(amax / np.float32(LIMIT), dtype=np.float32)
    dead = scales < _SMALLEST
    if dead.any():
        fallback = scales.max() if not dead.all() else np.float32(1 / LIMIT)
        scales = np.where(dead, fallback, scales).astype(np.float32)
    return scales, np.flatnonzero(dead)


def quantize_weight(
    values: NDArray[np.float32], scales: NDArray[np.float32], axis: int | None
) -> NDArray[np.int8]:
    """``clip(round_half_even(values / scale), ±127)``, shaped like `values`."""
    if axis is not None:
        shape = [1] * values.ndim
        shape[axis] = -1
        scales = scales.reshape(shape)
    levels: NDArray[np.float32] = np.clip(np.rint(values / scales), -LIMIT, LIMIT)
    return levels.astype(np.int8)


def apply_qdq(model: Model, plan: QdqPlan, scales: Mapping[str, float]) -> Model:
    """Insert the plan's Q/DQ.

    Activations get one QuantizeLinear → DequantizeLinear pair per tensor, with a 0-D float32 scale
    and an int8 zero point of 0 that is always written. Weights become int8 initializers with a
    DequantizeLinear for each op that reads them. Biases stay float. Equal arguments give equal
    models.

    Parameters
    ----------
    model : Model
        The prepared model that `plan` was made for.
    plan : QdqPlan
        From `plan_qdq`.
    scales : mapping
        Tap name → scale (amax / 127). Names that aren't taps are ignored.

    Raises
    ------
    ValueError
        The plan was made for another model.
    RangesError
        A tap without a scale, or a scale that isn't a positive, finite, normal float32. All at
        once.
    """
    if plan.fingerprint != model.fingerprint:
        raise ValueError("the plan was made for another model")
    _check(plan, scales, model.label)
    return Model(_Insertion(model.proto, plan).carry_out(scales), model.label)


def _check(plan: QdqPlan, scales: Mapping[str, float], label: str) -> None:
    problems: list[Problem] = []
    smallest, largest = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    for tap in plan.taps:
        if tap not in scales:
            step = f"Calibrate this model again. {near(tap, scales)}"
            problems.append(Problem(f"the scale table has no scale for {tap}", label, step))
        elif not smallest <= scales[tap] <= largest:
            problems.append(
                Problem(
                    f"the scale of {tap} is {scales[tap]!r}, not a positive, finite float32",
                    label,
                    "Calibrate on samples that make this tensor vary.",
                )
            )
    if problems:
        raise RangesError.of(problems)


class _Insertion:
    def __init__(self, proto: onnx.ModelProto, plan: QdqPlan) -> None:
        self._source = proto
        self._plan = plan
        self._tensors = NewNames(tensor_names(proto.graph))
        self._nodes = NewNames(node_names(proto.graph))
        self._made: list[onnx.TensorProto] = []

    def carry_out(self, scales: Mapping[str, float]) -> onnx.ModelProto:
        """The quantized copy of the source model."""
        nodes = [onnx.NodeProto() for _ in self._source.graph.node]
        for copy, node in zip(nodes, self._source.graph.node, strict=True):
            copy.CopyFrom(node)
        after = self._activation_pairs(scales, nodes)
        before = self._weight_dequantizers(nodes)
        result = without_weights(self._source)
        del result.graph.node[:]
        result.graph.node.extend(after[None])
        for position, node in enumerate(nodes):
            result.graph.node.extend(before[position])
            result.graph.node.append(node)
            for name in node.output:
                result.graph.node.extend(after[name])
        used = names_read(result.graph)
        for tensor in self._source.graph.initializer:
            if tensor.name in used:
                copy_tensor(result.graph.initializer.add(), tensor)
        result.graph.initializer.extend(self._made)
        return result

    def _activation_pairs(
        self, scales: Mapping[str, float], nodes: list[onnx.NodeProto]
    ) -> defaultdict[str | None, list[onnx.NodeProto]]:
        """Pairs keyed by the tensor they follow; None for those that follow a model input."""
        pairs: defaultdict[str | None, list[onnx.NodeProto]] = defaultdict(list)
        inputs = {value.name for value in self._source.graph.input}
        for activation in self._plan.activations:
            name = activation.tensor
            scale = self._constant(f"{name}_scale", np.float32(scales[activation.scale_of or name]))
            zero = self._constant(f"{name}_zero_point", np.int8(0))
            rounded = self._tensors.make(f"{name}_quantized")
            back = self._tensors.make(f"{name}_dequantized")
            q, dq = self._nodes.make(f"{rounded}/Q"), self._nodes.make(f"{back}/DQ")
            pairs[None if name in inputs else name] += [
                helper.make_node("QuantizeLinear", [name, scale, zero], [rounded], name=q),
                helper.make_node("DequantizeLinear", [rounded, scale, zero], [back], name=dq),
            ]
            for slot in activation.slots:
                nodes[slot.node].input[slot.index] = back
        return pairs

    def _weight_dequantizers(
        self, nodes: list[onnx.NodeProto]
    ) -> defaultdict[int, list[onnx.NodeProto]]:
        """Dequantizers keyed by the node that reads them, one per reader."""
        found: defaultdict[int, list[onnx.NodeProto]] = defaultdict(list)
        floats = {tensor.name: tensor for tensor in self._source.graph.initializer}
        for weight in self._plan.weights:
            values: NDArray[np.float32] = values_of(floats[weight.tensor])
            base = weight.tensor
            stored = self._constant(
                f"{base}_int8", quantize_weight(values, weight.scales, weight.axis)
            )
            scale = self._constant(f"{base}_scale", weight.scales)
            zero = self._constant(f"{base}_zero_point", np.zeros(weight.scales.shape, np.int8))
            for slot, back in self._dequantized(weight):
                dq = self._nodes.make(f"{back}/DQ")
                node = helper.make_node("DequantizeLinear", [stored, scale, zero], [back], name=dq)
                if weight.axis is not None:
                    node.attribute.append(helper.make_attribute("axis", weight.axis))
                found[slot.node].append(node)
                nodes[slot.node].input[slot.index] = back
                _say_kernel(nodes[slot.node], values.shape)
        return found

    def _dequantized(self, weight: QuantizedWeight) -> Iterator[tuple[Slot, str]]:
        for slot in weight.slots:
            yield slot, self._tensors.make(f"{weight.tensor}_dequantized")

    def _constant(self, wanted: str, values: NDArray[np.generic] | np.generic) -> str:
        name = self._tensors.make(wanted)
        self._made.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _say_kernel(node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
    """Give a Conv its kernel's size: TensorRT 8 doesn't see it behind a DequantizeLinear."""
    if node.op_type == "Conv" and all(a.name != "kernel_shape" for a in node.attribute):
        node.attribute.append(helper.make_attribute("kernel_shape", shape[2:]))
