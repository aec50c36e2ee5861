"""What a model's tensors take in memory while it runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from calaudit.graph.model import Model
from calaudit.graph.names import graphs_within
from calaudit.graph.survey import sample_shapes

_BYTES: Final = 4
"""Of a number: nearly all are float32."""


def live_bytes(model: Model, samples: Mapping[str, Sequence[int | None]]) -> int | None:
    """Most bytes of one sample's tensors that are alive at a time, as nodes run in their order.

    A tensor is alive from the node that computes it to the last one that reads it. A library that
    runs the model holds a few times as much, and the weights besides.

    Parameters
    ----------
    model : Model
    samples : mapping
        Input → shape of a sample, for inputs that leave it free.

    Returns
    -------
    int or None
        None where the size of a tensor stays open, or nodes hold graphs of their own.
    """
    graph = model.proto.graph
    if any(any(True for _ in graphs_within(node)) for node in graph.node):
        return None
    weights = {tensor.name for tensor in graph.initializer}
    shapes, sizes = sample_shapes(model, samples), {"": 0, **dict.fromkeys(weights, 0)}
    last = {name: place for place, node in enumerate(graph.node) for name in node.input}
    last |= {value.name: len(graph.node) for value in graph.output}
    alive = most = 0
    for place, names in enumerate(
        ([value.name for value in graph.input], *(node.output for node in graph.node)), start=-1
    ):
        for name in names:
            if name in sizes:
                continue
            known = [size for size in shapes.get(name, (None,)) if isinstance(size, int)]
            if len(known) != len(shapes.get(name, (None,))):
                return None
            sizes[name] = _BYTES * math.prod(known)
            alive += sizes[name]
        most = max(most, alive)
        read = graph.node[place].input if place >= 0 else ()
        ended = {name for name in (*read, *names) if last.get(name, place) == place}
        alive -= sum(sizes[name] for name in ended)
    return most
