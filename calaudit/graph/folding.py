"""What onnx_ir and onnxscript do to a graph; nothing else imports them, since that takes long.

onnxscript does the folding: its constant folder and its three BatchNormalization rules can be run
alone, which leaves every other node and tensor name as it was. They fold into Conv (grouped and
depthwise too), ConvTranspose and Gemm, and refuse when the unfolded tensor is a model output or the
weight is shared.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

from calaudit.graph.names import NewNames
from calaudit.graph.rules import STANDARD

Ints = NDArray[np.int64]
Sizes = NDArray[Any]
"""Sizes as a tensor of objects: an integer, or None where a size is free."""


_FOLD_LIMIT = 2**40
"""Elements: weights that an exporter transposes at run time are folded whatever their size."""

_FOLDED_INTO = frozenset({"Conv", "ConvTranspose", "Gemm"})
_BATCH_NORM_RULES = (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)


def fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Inline functions; fold constants, branches that are known, and BatchNormalization.

    Nodes may lose their names.
    """
    graph = onnx_ir.serde.deserialize_model(proto)
    passes.InlinePass()(graph)
    _own([value for each in graph.graph.subgraphs() for value in each.initializers.values()])
    _fold_constants(graph)
    _fold_branches(graph)
    # Branches of several If may use one name, which folding brings into one graph.
    passes.NameFixPass()(graph)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    _spare_bias_names(graph.graph)
    rewriter.rewrite(graph, _BATCH_NORM_RULES)
    passes.RemoveUnusedNodesPass()(graph)
    folded = onnx_ir.serde.serialize_model(graph)
    for value in graph.graph.initializers.values():
        # onnxscript's rules remember the last graph: not its weights, too.
        value.const_value = None
    return folded


def sort_nodes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every node behind those it reads."""
    graph = onnx_ir.serde.deserialize_model(proto)
    passes.TopologicalSortPass()(graph)
    return onnx_ir.serde.serialize_model(graph)


def _fold_constants(model: onnx_ir.Model) -> None:
    optimizer.fold_constants_ir(model, input_size_limit=_FOLD_LIMIT, output_size_limit=_FOLD_LIMIT)


def _own(weights: Iterable[onnx_ir.Value]) -> None:
    """Copy weights that may be renamed: a name given to one is written into the source model."""
    for value in weights:
        held = value.const_value
        if held is not None:
            value.const_value = onnx_ir.Tensor(held.numpy(), dtype=held.dtype, name=value.name)


def _spare_bias_names(graph: onnx_ir.Graph) -> None:
    """Rename weights whose product has no bias, where the name of the bias to come is taken.

    The rules call it ``<weight>_bias``, and would put it in place of an initializer of that name.
    """
    computed = {value.name for node in graph for value in node.outputs}
    taken = {*computed, *graph.initializers, *(value.name for value in graph.inputs)}
    names = NewNames(filter(None, taken))
    for node in graph:
        if node.op_type not in _FOLDED_INTO or len(node.inputs) > 2:
            continue
        weight = node.inputs[1]
        if weight is not None and f"{weight.name}_bias" in graph.initializers:
            _own([weight])
            weight.name = names.make(f"{weight.name}/folded")


def _fold_branches(model: onnx_ir.Model) -> None:
    """Take every branch that is known, until none is left.

    An exporter that doesn't know a tensor's shape writes ``squeeze`` as an If on one of its sizes.
    Where inference knows that size, it becomes a constant, and onnxscript's folder takes the
    branch.
    """
    left = _count(model)
    while left:
        passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
        _put_sizes(model.graph)
        _fold_constants(model)
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
