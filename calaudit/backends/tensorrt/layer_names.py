"""Which nodes of a graph an engine layer's name stands for.

Up to 9 the engine inspector doesn't say which ONNX nodes a layer carries out. Its layers are named
after them: ``/f/f.0/Conv + PWN(/f/f.2/HardSwish)`` where they are fused, ``a || b`` where they run
side by side, ``{ForeignNode[a...b]}`` where Myelin compiled all from one to the other.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from calaudit.graph.products import Product

_BEFORE: Final = r"(?:^|(?<= \+ )|(?<= \|\| )|(?<=, )|(?<=[(\[])|(?<=\.\.\.))"
_AFTER: Final = r"(?=\Z| \+ | \|\| |, |[)\]]|\.\.\.)"
_UNNAMED: Final = re.compile(r"\(Unnamed Layer\* (\d+)\) \[([^\]]*)\]")
"""What TensorRT calls the layer of a node without a name: its place in the network, its kind."""
_KINDS: Final = {
    "Conv": "Convolution", "ConvTranspose": "Deconvolution", "Gemm": "Matrix Multiply",
    "MatMul": "Matrix Multiply",
}  # fmt: skip
"""ONNX op type → kind of the layer that TensorRT's parser makes of it."""


def names_within(layers: Iterable[str], nodes: Collection[str]) -> list[tuple[str, ...]]:
    """The nodes that each layer's name holds, whole and between separators, the longest at a place.

    Parameters
    ----------
    layers : iterable of str
        Names of engine layers.
    nodes : collection of str
        Names of nodes; one may begin with another.
    """
    longest_first = sorted(filter(None, nodes), key=len, reverse=True)
    if not longest_first:
        return [() for _ in layers]
    pattern = re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, longest_first))}){_AFTER}")
    return [tuple(dict.fromkeys(pattern.findall(name))) for name in layers]


def unnamed_layers(layers: Iterable[str], products: Sequence[Product]) -> dict[str, str]:
    """Layer names that stand for nodes without a name, by their order in the network.

    Parameters
    ----------
    layers : iterable of str
        Names of engine layers.
    products : sequence of Product
        Those without a name, in graph order: they are called as what they make.

    Returns
    -------
    dict
        Product → layer name. Of a kind of layer there must be as many as products: else TensorRT
        made more, or dropped some, and which is which isn't known.
    """
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for name in layers:
        for place, kind in _UNNAMED.findall(name):
            numbered[kind][int(place)] = name
    wanted: dict[str, list[str]] = defaultdict(list)
    for each in products:
        wanted[_KINDS.get(each.op_type, "")].append(each.name)
    found: dict[str, str] = {}
    for kind, names in wanted.items():
        places = numbered.get(kind, {})
        if len(places) == len(names):
            found |= dict(zip(names, (places[place] for place in sorted(places)), strict=True))
    return found
