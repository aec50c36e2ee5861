"""Ranges that a quantized file holds, read onto the tensors where calaudit would quantize."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from calaudit.calibration.methods import N_STEPS
from calaudit.graph.contents import values_of
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.quantized import plain_name

_READ_BY: Final[Mapping[str, Mapping[int, int]]] = {
    "QLinearConv": {0: 0, 1: 3},
    "QLinearMatMul": {0: 0, 1: 3},
    "QGemm": {0: 0, 1: 3},
}
"""Quantized operator → place of an operand in the float one → its place here; scale and zero point
are the two inputs behind it."""
_ONE_STEP: Final = 1.5
"""Steps by which the sides of a symmetric range may differ."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """What one tensor can hold in 8 bits, in the tensor's unit."""

    amax: float
    """Of the symmetric range, one for all channels, that covers it."""
    step: float
    """Between neighbouring values; of channels with steps of their own the root mean square."""
    uneven: bool
    """Whether it reaches further on one side of 0, by more than the one step of −128."""
    per_channel: bool
    """Whether channels have ranges of their own."""

    @property
    def finer(self) -> float:
        """Its step over that of the symmetric range that covers it."""
        return N_STEPS * self.step / self.amax


def ranges_in_file(plan: QdqPlan, folded: Model, engine: Model) -> dict[str, FileRange]:
    """Tap → the range that a file has of it.

    A tap's range is that of what the products of the same name read; else that of a QuantizeLinear
    that reads a tensor of the tap's name.

    Parameters
    ----------
    plan : QdqPlan
        Where calaudit quantizes.
    folded : Model
        The FP32 model that it is for.
    engine : Model
        Q/DQ, or quantized operators, of the same model. Its own Q/DQ may lie elsewhere.
    """
    file = _File(engine)
    found: dict[str, FileRange] = {}
    for each in plan.activations:
        tap = each.scale_of or each.tensor
        slots = ((name_of(folded.proto.graph.node[s.node]), s.index) for s in each.slots)
        read = [file.read_by(node, place) for node, place in slots]
        known = next((one for one in read if one is not None), file.of_tensor(each.tensor))
        if known is not None and tap not in found:
            found[tap] = known
    return found


class _File:
    """A quantized file's nodes by name, and its constants."""

    def __init__(self, engine: Model) -> None:
        graph = engine.proto.graph
        self._constants = {each.name: each for each in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for each in node.attribute:
                    if each.name == "value":
                        self._constants[node.output[0]] = each.t
        self._makers = {name: node for node in graph.node for name in node.output}
        self._nodes = {plain_name(name_of(node)): node for node in graph.node}
        self._rounded = {
            node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"
        }

    def read_by(self, name: str, place: int) -> FileRange | None:
        """The range of what a product reads at a place among its inputs."""
        node = self._nodes.get(name)
        if node is None:
            return None
        if node.op_type in _READ_BY:
            own = _READ_BY[node.op_type].get(place)
            return None if own is None else self._range(node, own)
        if place >= len(node.input):
            return None
        maker = self._makers.get(node.input[place])
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        return self._range(maker, 0)

    def of_tensor(self, tensor: str) -> FileRange | None:
        """The range that a tensor is rounded to."""
        node = self._rounded.get(tensor)
        return None if node is None else self._range(node, 0)

    def _range(self, node: onnx.NodeProto, place: int) -> FileRange | None:
        """By the scale and the zero point behind an input; None where they aren't constants."""
        scale, zero = self._constant(node, place + 1), self._constant(node, place + 2)
        if scale is None:
            return None
        steps = scale.reshape(-1).astype(np.float64)
        kind = np.dtype(np.uint8) if zero is None else zero.dtype
        if kind not in {np.dtype(np.uint8), np.dtype(np.int8)} or not steps.size:
            return None
        if not (np.isfinite(steps) & (steps > 0)).all():
            return None
        info, point = np.iinfo(kind), np.zeros(1) if zero is None else zero.reshape(-1)
        below = (point.astype(np.float64) - info.min) * steps
        above = (info.max - point.astype(np.float64)) * steps
        uneven = bool((np.abs(above - below) > _ONE_STEP * steps).any())
        amax = np.maximum(above, below) if uneven else N_STEPS * steps
        return FileRange(
            float(amax.max()), float(np.sqrt(np.mean(steps**2))), uneven, steps.size > 1
        )

    def _constant(self, node: onnx.NodeProto, place: int) -> NDArray[Any] | None:
        name = node.input[place] if place < len(node.input) else ""
        return values_of(self._constants[name]) if name in self._constants else None


def left_in_float(plan: QdqPlan, in_int8: frozenset[str]) -> Iterator[str]:
    """Products that calaudit puts into INT8 and a file doesn't, in graph order.

    Parameters
    ----------
    plan : QdqPlan
    in_int8 : frozenset of str
        Names of the file's products in INT8, as the FP32 model has them.
    """
    return (name for name in plan.int8_ops if name not in in_int8)
