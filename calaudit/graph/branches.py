"""Branches that are always taken: If nodes whose condition the shapes decide.

An exporter that doesn't know a tensor's shape writes ``squeeze`` as an If on one of its sizes.
Where inference knows that size, it becomes a constant, and onnxscript's folder takes the branch.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from calaudit.graph.rules import STANDARD

Ints = NDArray[np.int64]
Sizes = NDArray[Any]
"""Sizes as a tensor of objects: an integer, or None where a size is free."""


def fold_branches(model: onnx_ir.Model, fold: Callable[[onnx_ir.Model], object]) -> None:
    """Take every branch that is known, until none is left.

    Parameters
    ----------
    model : onnx_ir.Model
        Changed in place; its constants are folded already.
    fold : callable
        Folds constants, and If nodes on constants.
    """
    left = _count(model)
    while left:
        passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
        _put_sizes(model.graph)
        fold(model)
        before, left = left, _count(model)
        if left == before:
            return


def _count(model: onnx_ir.Model) -> int:
    return sum(node.op_type == "If" for node in model.graph)


def _put_sizes(graph: onnx_ir.Graph) -> None:
    """Replace what reads sizes, and comes to known ones alone, by a constant."""
    known: dict[onnx_ir.Value, Sizes] = {}
    for node in list(graph):
        found = _sizes(node, known)
        if found is None:
            continue
        output = node.outputs[0]
        known[output] = found
        if None in found.ravel().tolist() or output.is_graph_output():
            continue
        tensor = onnx_ir.Tensor(found.astype(np.int64), name=output.name)
        value = onnx_ir.Value(
            name=output.name, const_value=tensor, type=output.type, shape=tensor.shape
        )
        known[value] = found
        onnx_ir.convenience.replace_all_uses_with(output, value)
        graph.remove(node, safe=True)
        graph.register_initializer(value)


def _sizes(node: onnx_ir.Node, known: dict[onnx_ir.Value, Sizes]) -> Sizes | None:
    """The sizes that a node passes on; None where it does something else."""
    source = node.inputs[0] if node.inputs else None
    if node.domain not in STANDARD or source is None:
        return None
    if node.op_type == "Shape":
        return _shape(node, source)
    held, pass_on = known.get(source), _PASSING_ON.get(node.op_type)
    rest = [None if value is None else value.const_value for value in node.inputs[1:]]
    if held is None or pass_on is None or None in rest:
        return None
    given = [np.asarray(tensor.numpy()) for tensor in rest if tensor is not None]
    return np.asarray(pass_on(held, *given), dtype=object)


def _gathered(held: Sizes, at: Ints) -> Sizes:
    inside = at.size == 0 or (at.min() >= -len(held) and at.max() < len(held))
    return held[at] if inside else np.full(at.shape, None)


def _squeezed(held: Sizes, axes: Ints | None = None) -> Sizes:
    return np.squeeze(held, None if axes is None else tuple(axes.ravel().tolist()))


def _sliced(held: Sizes, first: Ints, last: Ints, *axes_and_steps: Ints) -> Sizes:
    ends = [*(int(given.item()) for given in (first, last, *axes_and_steps[1:]))]
    return held[slice(*ends)]


_PASSING_ON: Final[dict[str, Callable[..., Sizes]]] = {
    "Identity": lambda held: held,
    "Gather": _gathered,
    "Squeeze": _squeezed,
    "Unsqueeze": lambda held, axes: np.expand_dims(held, tuple(axes.ravel().tolist())),
    "Slice": _sliced,
}
"""Operator → what it makes of a vector of sizes and its other, constant inputs."""


def _shape(node: onnx_ir.Node, source: onnx_ir.Value) -> Sizes | None:
    if source.shape is None:
        return None
    sizes = [size if isinstance(size, int) else None for size in source.shape]
    ends = (node.attributes.get(name) for name in ("start", "end"))
    chosen = slice(*(None if end is None else end.as_int() for end in ends))
    return np.array(sizes[chosen], dtype=object)
