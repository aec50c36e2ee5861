"""The plan: which tensors get a Q/DQ pair, which weights become int8, and why. A value."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.graph.survey import Slot
from calaudit.runtime.errors import Notice

Action = Literal["quantized", "float"]
Kind = Literal["activation", "weight", "node"]


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
        return tuple(activation.tensor for activation in self.activations)


def explain(plan: QdqPlan) -> list[Decision]:
    """What `calaudit build --explain` shows.

    Every Q/DQ pair, every int8 weight, then every weighted node that stays in float.
    """
    placed = [d for d in plan.decisions if d.kind != "node"]
    return placed + [
        d for d in plan.decisions if d.kind == "node" and d.weighted and d.action == "float"
    ]
