"""What leaving ops in float costs in time, by two engines' layers.

Engines fuse differently, so that an op's own time isn't known where it shares a layer with others.
What is compared are the smallest sets of nodes that are whole layers in both engines.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from calaudit.results.bench import BenchedEngine, BenchRecord, LayerTime


@dataclass(frozen=True, slots=True)
class FloatCost:
    """Time of the layers that some ops are in, in INT8 and in float."""

    ops: tuple[str, ...]
    """Of those asked for, the ones that layers are known of."""
    beside: tuple[str, ...]
    """Other nodes of these layers: what they take is in it, too."""
    int8_ms: float
    """Milliseconds per run of the INT8 engine's layers."""
    float_ms: float
    """The same of the float engine's."""
    whole_ms: float
    """Of all layers of the INT8 engine."""
    batch: int | None
    """Samples of a run."""

    @property
    def added_ms(self) -> float:
        """What float adds to a run; below 0 where it is the faster."""
        return self.float_ms - self.int8_ms

    @property
    def added(self) -> float:
        """The same as a share of the INT8 engine's layers."""
        return self.added_ms / self.whole_ms


def float_cost(
    ops: Collection[str], int8: BenchedEngine, single: BenchedEngine
) -> FloatCost | None:
    """What it costs to leave ops of an INT8 engine in float.

    Layers that convert between types stand between ops and belong to none: they aren't counted,
    though float adds some and saves others.

    Parameters
    ----------
    ops : collection of str
        Nodes of the FP32 model.
    int8 : BenchedEngine
        That computes them in INT8.
    single : BenchedEngine
        In float, on the same target, its layers timed at the same batch.

    Returns
    -------
    FloatCost or None
        None where no layers were timed, or none of the ops is known in both engines.
    """
    if not int8.layers or not single.layers or int8.layers_batch != single.layers_batch:
        return None
    known = _nodes(int8.layers) & _nodes(single.layers)
    asked = tuple(op for op in dict.fromkeys(ops) if op in known)
    if not asked:
        return None
    within, before = set(asked), set[str]()
    while within != before:  # a layer of either engine brings all that it holds
        before = set(within)
        for layer in (*int8.layers, *single.layers):
            if within.intersection(layer.nodes):
                within.update(layer.nodes)
    return FloatCost(
        ops=asked,
        beside=tuple(sorted(within.difference(asked))),
        int8_ms=sum(_times(int8.layers, within)),
        float_ms=sum(_times(single.layers, within)),
        whole_ms=sum(layer.ms for layer in int8.layers),
        batch=int8.layers_batch,
    )


def float_twin(bench: BenchRecord, engine: BenchedEngine) -> BenchedEngine | None:
    """FP32 of the same target and variant, as the same bench measured it."""
    alike = (
        each
        for each in bench.engines
        if (each.backend, each.variant, each.precision) == (engine.backend, engine.variant, "fp32")
    )
    return next(alike, None)


def _nodes(layers: Sequence[LayerTime]) -> set[str]:
    return {name for layer in layers for name in layer.nodes}


def _times(layers: Sequence[LayerTime], within: Collection[str]) -> Iterator[float]:
    return (layer.ms for layer in layers if not set(layer.nodes).isdisjoint(within))
