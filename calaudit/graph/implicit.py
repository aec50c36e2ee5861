"""Where TensorRT's implicit quantization rounds to int8: a prediction that needs no GPU.

Given an FP32 graph, the INT8 flag and a range for every tensor, TensorRT fuses layers and rounds
what a fused layer writes to memory. What lies inside a fused layer is never rounded, and what no
INT8 layer reads stays in float. The rules here were read off the engine inspector of TensorRT 8.5.3
on an H200, for a detector, a speech model and a ranker. Which kernels a GPU times fastest decides
the rest, so a real engine may run less in INT8 than predicted.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

import onnx

from calaudit.graph.contents import values_of
from calaudit.graph.exempt import within
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import (
    Decision,
    QdqPlan,
    QuantizedActivation,
    QuantizedWeight,
    apply_qdq,
    estimate_weight_scales,
)
from calaudit.graph.rules import AS_ASKED, FLOAT_REASONS, MOVES_VALUES, PRODUCTS, STANDARD
from calaudit.graph.survey import Shapes, Slot, Survey, same_shape, sized_shapes, survey

FEWEST_WEIGHTS: Final = 4096
"""Gemm and MatMul with fewer weights stay in float: seen with 960 weights and below, while 370,432
ran in INT8. Where TensorRT's timing draws the line isn't known."""
_FIRST_LAYER: Final = 4
"""Input channels up to which a convolution runs by kernels made for first layers."""

_UNARY: Final = frozenset({
    "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Selu",
    "Softplus", "Softsign", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Abs", "Neg",
    "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Gelu", "Mish", "Celu",
})  # fmt: skip
_BINARY: Final = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "PRelu"})
_POINTWISE: Final = _UNARY | _BINARY
_CLIPS: Final = frozenset({"Relu", "Clip", "LeakyRelu"})
"""Activations that every convolution takes in, whatever reads them."""
_AVERAGES: Final = frozenset({"AveragePool", "GlobalAveragePool"})
_KEEPS_SCALE: Final = MOVES_VALUES | {"MaxPool", "GlobalMaxPool"}

_SMALL: Final = f"fewer than {FEWEST_WEIGHTS} weights: TensorRT's float kernel was faster"
_NO_RANGE: Final = "its input has no range"


def implicit_graph(
    model: Model, scales: Mapping[str, float], *, float_ops: Collection[str] = ()
) -> tuple[Model, QdqPlan]:
    """The Q/DQ graph that predicts an implicitly quantized engine.

    Parameters
    ----------
    model : Model
        As given, FP32.
    scales : mapping
        Tensor → scale, as complete calibration caches have them; names that the model doesn't have
        are ignored.
    float_ops : collection of str
        Nodes of `model` whose layers are told to stay in float.

    Returns
    -------
    Model
        What TensorRT rounds to int8 goes through a Q/DQ pair.
    QdqPlan
        Where, and why some products don't run in INT8.

    Raises
    ------
    RangesError
        A scale isn't a positive, finite, normal float32.
    """
    prepared = prepare(model)
    plan = plan_implicit(prepared, scales, float_ops=within(float_ops, model, prepared))
    return apply_qdq(prepared, plan, scales), plan


def plan_implicit(
    model: Model, ranged: Collection[str], *, float_ops: Collection[str] = ()
) -> QdqPlan:
    """Predict which tensors TensorRT's implicit quantization rounds to int8.

    Parameters
    ----------
    model : Model
        As `prepare` returns it.
    ranged : collection of str
        Tensors that have a range, as a complete calibration cache names them.
    float_ops : collection of str
        Nodes whose layers are told to stay in float.

    Returns
    -------
    QdqPlan
        For `apply_qdq`. Weights get a scale per output channel, as TensorRT gives them.
    """
    sized = cache(partial(sized_shapes, model))
    facts = survey(model)
    return _Prediction(facts, model, frozenset(ranged), sized, frozenset(float_ops)).plan()


@dataclass(slots=True)
class _Prediction:
    facts: Survey
    model: Model
    ranged: frozenset[str]
    sized: Callable[[], Shapes]
    """Shapes where the inputs have no free sizes."""
    float_ops: frozenset[str]
    int8: dict[int, str] = field(default_factory=dict)
    """Products that run in INT8 → tensor that they write to memory."""
    floats: dict[int, str] = field(default_factory=dict)
    """Products that don't, and why."""
    inner: set[str] = field(default_factory=set)
    """Tensors inside fused layers."""
    taken: set[int] = field(default_factory=set)
    """Nodes that a product took in."""
    skips: set[Slot] = field(default_factory=set)
    """What a residual Add reads besides the convolution that took it in."""
    after: set[str] = field(default_factory=set)
    """Tensors with INT8 layers alone between a product and them."""
    read: set[str] = field(default_factory=set)
    """Tensors that an INT8 product reads, directly or through layers that have INT8."""

    def plan(self) -> QdqPlan:
        for position, node in enumerate(self.facts.nodes):
            if node.op_type in PRODUCTS and node.domain in STANDARD:
                self._decide(position, node)
        if not self.int8:
            # What is faster can't be told then: TensorRT may run any of them in INT8.
            small = [place for place, reason in self.floats.items() if reason == _SMALL]
            for position in small:
                self.int8[position] = self.facts.nodes[position].output[0]
                del self.floats[position]
        for position in self.int8:
            self._fuse(position)
        for position, node in enumerate(self.facts.nodes):
            if position not in self.taken and self._grows(node):
                self.inner.add(node.output[0])
        self._follow()
        weights = tuple(self._weights())
        return QdqPlan(
            fingerprint=self.model.fingerprint,
            activations=tuple(self._activations()),
            weights=weights,
            decisions=tuple(self._decisions()),
            notices=self.model.notices,
        )

    def _decide(self, position: int, node: onnx.NodeProto) -> None:
        reason = self._why_float(node)
        if name_of(node) in self.float_ops:
            reason = AS_ASKED
        if reason:
            self.floats[position] = reason
        else:
            self.int8[position] = node.output[0]

    def _why_float(self, node: onnx.NodeProto) -> str:
        constants = self.facts.constants
        if node.op_type not in {"Conv", "Gemm", "MatMul"}:
            return FLOAT_REASONS.get(node.op_type, "TensorRT doesn't run it in INT8")
        activation, weight = node.input[:2]
        if weight not in constants or activation in constants:
            return "not an activation times a constant weight"
        if not self.facts.is_float(activation) or not self.facts.is_float(weight):
            return "its operands aren't float32"
        if activation not in self.ranged:
            return _NO_RANGE
        sizes = constants[weight].dims
        if node.op_type != "Conv" and (len(sizes) != 2 or sizes[0] * sizes[1] < FEWEST_WEIGHTS):
            return _SMALL if len(sizes) == 2 else "its weight isn't a matrix"
        return ""

    def _readers(self, tensor: str) -> set[int]:
        return {slot.node for slot in self.facts.readers.get(tensor, ())}

    def _only_reader(self, tensor: str) -> int | None:
        """The one node that reads a tensor which nothing else needs."""
        if tensor in self.facts.outputs or tensor in self.facts.captured:
            return None
        readers = self._readers(tensor)
        return readers.pop() if len(readers) == 1 else None

    def _fuse(self, position: int) -> None:
        """Follow what the layer of a product takes in behind it."""
        end = self.facts.nodes[position].output[0]
        added = False
        while (reader := self._only_reader(end)) is not None:
            node = self.facts.nodes[reader]
            if node.op_type in _CLIPS or self._scales(node, end):
                self._take(reader, end)
            elif not added and self._is_residual(position, node, end):
                added = True
                at = 1 - list(node.input).index(end)
                self.skips.add(Slot(reader, at))
                self._take(reader, end)
            else:
                break
            end = node.output[0]
            if node.op_type in _CLIPS:
                self.int8[position] = end
                return
        if not added:
            end = self._activated(position, end)
        self.int8[position] = end

    def _take(self, reader: int, tensor: str) -> None:
        self.taken.add(reader)
        self.inner.add(tensor)

    def _scales(self, node: onnx.NodeProto, tensor: str) -> bool:
        """Whether a node multiplies by, or adds, a constant: that goes into weight and bias."""
        if node.op_type not in {"Add", "Sub", "Mul", "Div"} or node.input[0] != tensor:
            return False
        return node.input[1] in self.facts.constants

    def _is_residual(self, position: int, node: onnx.NodeProto, end: str) -> bool:
        """Whether a convolution and this Add become one layer: the last of two convolutions."""
        if self.facts.nodes[position].op_type != "Conv" or node.op_type not in {"Add", "Sum"}:
            return False
        others = [name for name in node.input if name != end]
        if len(node.input) != 2 or len(others) != 1 or others[0] in self.facts.constants:
            return False
        producer = self.facts.producers.get(others[0], -1)
        if producer in self.int8 and producer > position:
            return False
        return same_shape(self.facts, self.sized, end, others[0])

    def _activated(self, position: int, end: str) -> str:
        """What the layer ends with where an activation function of the product follows."""
        found = self._activation(end)
        if found is None:
            return end
        nodes, result = found
        product = self.facts.nodes[position]
        reader = self._only_reader(result)
        grows = reader is not None and self.facts.nodes[reader].op_type in _POINTWISE
        kind = self.facts.nodes[nodes[-1]].op_type
        # Seen: pointwise layers of their own behind depthwise convolutions, and behind a first
        # convolution's hard-swish, while its swish went in.
        apart = self._is_depthwise(product) or (kind == "HardSwish" and self._is_first(product))
        if grows or apart:
            return end
        self.taken.update(nodes)
        self.inner.add(end)
        self.inner.update(self.facts.nodes[node].output[0] for node in nodes[:-1])
        return result

    def _activation(self, tensor: str) -> tuple[list[int], str] | None:
        """One unary function of a tensor, or its product with its own sigmoid (swish)."""
        readers = sorted(self._readers(tensor))
        if tensor in self.facts.outputs or tensor in self.facts.captured:
            return None
        nodes = [self.facts.nodes[reader] for reader in readers]
        if len(nodes) == 1 and nodes[0].op_type in _UNARY:
            return readers, nodes[0].output[0]
        if len(nodes) == 2 and nodes[0].op_type in _UNARY and nodes[1].op_type == "Mul":
            gate = nodes[0].output[0]
            if set(nodes[1].input) == {tensor, gate} and self._only_reader(gate) == readers[1]:
                return readers, nodes[1].output[0]
        return None

    def _is_depthwise(self, node: onnx.NodeProto) -> bool:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        return bool(groups > 1 and self.facts.constants[node.input[1]].dims[1] == 1)

    def _is_first(self, node: onnx.NodeProto) -> bool:
        return bool(
            node.op_type == "Conv" and self.facts.constants[node.input[1]].dims[1] <= _FIRST_LAYER
        )

    def _grows(self, node: onnx.NodeProto) -> bool:
        """Whether a pointwise node becomes one layer with the pointwise node behind it."""
        if node.op_type not in _POINTWISE or node.domain not in STANDARD:
            return False
        reader = self._only_reader(node.output[0])
        if reader is None or reader in self.taken:
            return False
        return self.facts.nodes[reader].op_type in _POINTWISE

    def _is_rounded(self, tensor: str) -> bool:
        """Whether an INT8 product reads a tensor, or an INT8 layer that stands between two.

        Seen: what a network computes before its first product stays in float.
        """
        slots = self.facts.readers.get(tensor, ())
        if any(slot.index == 0 and slot.node in self.int8 for slot in slots):
            return True
        return tensor in self.after and tensor in self.read

    def _follow(self) -> None:
        """Find what lies behind INT8 products, and what leads to them."""
        for position, node in enumerate(self.facts.nodes):
            handed = self._hands_on(node) and not self.after.isdisjoint(node.input)
            if handed or position in self.int8 or position in self.taken:
                self.after.update(node.output)
        for position, node in reversed(list(enumerate(self.facts.nodes))):
            if position in self.int8:
                self.read.add(node.input[0])
            elif self._hands_on(node) and not self.read.isdisjoint(node.output):
                self.read.update(node.input)
            self.read.update(node.input[slot.index] for slot in self.skips if slot.node == position)

    def _hands_on(self, node: onnx.NodeProto) -> bool:
        """Whether a layer that is no product can read and write int8."""
        kinds = _POINTWISE | _AVERAGES | _KEEPS_SCALE | {"Concat"}
        return node.op_type in kinds or self._is_pooling(node)

    def _is_pooling(self, node: onnx.NodeProto) -> bool:
        """Whether a mean is taken over the spatial axes and keeps them: TensorRT pools then."""
        if node.op_type != "ReduceMean":
            return False
        given = {a.name: a for a in node.attribute}
        if "keepdims" in given and not given["keepdims"].i:
            return False
        axes = list(given["axes"].ints) if "axes" in given else []
        if len(node.input) > 1 and node.input[1] in self.facts.constants:
            axes = values_of(self.facts.constants[node.input[1]]).tolist()
        return sorted(axes) in ([2, 3], [-2, -1])

    def _activations(self) -> Iterator[QuantizedActivation]:
        """Tensors that are rounded, inputs first, then in the order they are computed."""
        rounded: set[str] = set()
        for tensor in (*self.facts.inputs, *self.facts.producers):
            if tensor in self.inner or tensor not in self.ranged or not self._is_rounded(tensor):
                continue
            if not self.facts.is_float(tensor) or self._is_rounded_already(tensor, rounded):
                continue
            rounded.add(tensor)
            slots = tuple(self.facts.readers[tensor])
            yield QuantizedActivation(tensor, slots, self._written_into(tensor))

    def _is_rounded_already(self, tensor: str, rounded: set[str]) -> bool:
        """Whether int8 values are handed on under their scale."""
        producer = self.facts.producers.get(tensor)
        if producer is None:
            return False
        node = self.facts.nodes[producer]
        if node.op_type not in _KEEPS_SCALE or node.input[0] not in rounded:
            return False
        rounded.add(tensor)
        return True

    def _written_into(self, tensor: str) -> str | None:
        """The Concat's result that a layer writes its part of, where it has no memory of its own.

        Seen: products and pointwise layers write there directly, unless anything but products
        reads the part too; others are copied, and so rounded twice.
        """
        producer = self.facts.producers.get(tensor)
        if producer is None:
            return None
        made = producer in self.taken or producer in self.int8
        if not made and self.facts.nodes[producer].op_type not in _POINTWISE:
            return None
        into = None
        for slot in self.facts.readers[tensor]:
            node = self.facts.nodes[slot.node]
            if node.op_type == "Concat":
                into = node.output[0]
            elif slot.node not in self.int8:
                return None
        return into if into in self.ranged else None

    def _weights(self) -> Iterator[QuantizedWeight]:
        for position in self.int8:
            node = self.facts.nodes[position]
            name = node.input[1]
            axis = 0
            if node.op_type == "MatMul":
                axis = 1
            elif node.op_type == "Gemm":
                axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
            scales, _ = estimate_weight_scales(values_of(self.facts.constants[name]), axis)
            yield QuantizedWeight(name, axis, scales, (Slot(position, 1),))

    def _decisions(self) -> Iterator[Decision]:
        for position, node in enumerate(self.facts.nodes):
            if position in self.int8:
                reason = f"written as {self.int8[position]}"
                yield Decision("node", name_of(node), node.op_type, "quantized", reason, True)
            elif position in self.floats:
                reason = self.floats[position]
                yield Decision("node", name_of(node), node.op_type, "float", reason, True)
