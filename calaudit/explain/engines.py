"""Engines of experiments: a cell's Q/DQ graph with other ranges, or with other products in float.

Where the backend gives the same answers to scales that are fed, one loaded graph serves every
choice of ranges of every cell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.keys import content_key
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.backends.base import DEFAULT, Backend, Engine
from calaudit.explain.runs import Feeds
from calaudit.graph.fed_scales import SCALES, with_fed_scales
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.placement import plan_qdq
from calaudit.graph.qdq import QdqPlan, apply_qdq

Scales = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Variant:
    """One engine of an experiment, made when it is first run."""

    name: str
    """Says all that its answers depend on."""
    load: Callable[[], Engine]
    more: Feeds = field(default_factory=dict)
    """What it is fed beside the samples."""


class Experiments:
    """Makes the engines of one audit's experiments, on one backend.

    Parameters
    ----------
    audit : Audit
    backend : Backend
        Runs Q/DQ graphs on this machine.
    """

    def __init__(self, audit: Audit, backend: Backend) -> None:
        self._model = audit.model
        self._folded = audit.folded
        self._plans: dict[frozenset[str], QdqPlan] = {frozenset(): audit.qdq}
        self._backend = backend
        self._loaded: dict[frozenset[str], Engine] = {}
        self.products: dict[str, str] = {
            each.subject: each.op_type
            for each in audit.qdq.decisions
            if each.kind == "node" and each.action == "quantized" and each.weighted
        }
        """Products that Q/DQ puts into INT8 → their op type, in graph order."""

    @property
    def title(self) -> str:
        """What runs the experiments, for reports."""
        return f"{self._backend.name}, {self._backend.key}"

    def fp32(self) -> Variant:
        """The reference."""
        return Variant("fp32", lambda: self._backend.load(self._model))

    def ranged(self, scales: Scales, float_ops: frozenset[str] = frozenset()) -> Variant:
        """The Q/DQ graph with these scales, and with some products in float.

        Parameters
        ----------
        scales : mapping
            Tap → scale; of every tap of the graph.
        float_ops : frozenset of str
            Names of the products.
        """
        plan = self._plan(float_ops)
        used = {tap: scales[tap] for tap in plan.taps}
        name = content_key([sorted(float_ops), used])
        if not self._backend.capabilities.feeds_scales:
            return Variant(name, lambda: self._backend.load(apply_qdq(self._folded, plan, used)))
        row = np.array([used[tap] for tap in plan.taps], np.float32)
        return Variant(name, lambda: self._fed(float_ops), {SCALES: row})

    def alone(self, op: str, scales: Scales) -> Variant:
        """Everything in float but one product."""
        return self.ranged(scales, frozenset(self.products) - {op})

    def taps(self, float_ops: frozenset[str]) -> tuple[str, ...]:
        """Taps that are left with some products in float."""
        return self._plan(float_ops).taps

    def readers(self, tap: str) -> tuple[str, ...]:
        """Products that read a tap, in graph order."""
        nodes = self._folded.proto.graph.node
        slots = {
            slot.node
            for each in self._plans[frozenset()].activations
            if (each.scale_of or each.tensor) == tap
            for slot in each.slots
        }
        names = (name_of(nodes[place]) for place in sorted(slots))
        return tuple(name for name in names if name in self.products)

    def _plan(self, float_ops: frozenset[str]) -> QdqPlan:
        if float_ops not in self._plans:
            self._plans[float_ops] = plan_qdq(self._folded, float_ops=float_ops)
        return self._plans[float_ops]

    def _fed(self, float_ops: frozenset[str]) -> Engine:
        """The graph that takes its scales.

        Only the one that is used most and the last other are kept, since weights may be large.
        """
        if float_ops not in self._loaded:
            for other in [each for each in self._loaded if each]:
                self._loaded.pop(other).close()
            graph: Model = with_fed_scales(self._folded, self._plan(float_ops))
            self._loaded[float_ops] = self._backend.load(graph)
        return self._loaded[float_ops]


def experiments_backend(audit: Audit, cell: PlannedCell) -> Backend:
    """What runs a cell's experiments: its own backend where that takes any Q/DQ graph here."""
    own = audit.backends[cell.backend]
    if isinstance(own, RemoteBackend) or own.name != DEFAULT:
        return audit.backend
    return own
