"""Half precision: an FP16 model widened to FP32 for ranges, an FP32 model converted to FP16.

Widening: Q/DQ placement knows FP32 operands only. Weights keep their values; what an FP16 model
would round between its layers isn't rounded, so the result is the model that was trained rather
than its FP16 copy. Inputs and outputs keep their types: casts stand at the edges.

Converting: strongly typed TensorRT networks need the types in the graph. onnxruntime's own tool
does it: it is kept with every release, knows the operators that must stay in FP32, and needs no
library that calaudit doesn't have. It runs no model.
"""

import re
import sys
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper

from calaudit.graph.contents import copy_tensor, values_of
from calaudit.graph.model import Model, copy_of, light_copy
from calaudit.graph.names import (
    NewNames,
    all_graphs,
    node_names,
    rename,
    tell_scopes_apart,
    tensor_names,
)
from calaudit.graph.survey import SMALL
from calaudit.runtime.errors import ModelError, Notice
from calaudit.runtime.words import counted

HALF: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
"""Element types of half precision."""
_TYPE_ATTRIBUTES = frozenset({"to", "dtype"})
"""Attributes that name an element type: of Cast, of random and filled tensors."""

LARGEST: Final = float(np.finfo(np.float16).max)
"""65504: larger weights are clipped to it."""
SMALLEST: Final = 5.96e-8
"""FP16's smallest positive number: weights nearer to zero are raised to it."""
_AT_A_TIME: Final = 1 << 22
_CASTS: Final = re.compile(
    r"graph_(in|out)put_cast_?\d+|.*_cast_to_(fp|bfloat)\d+(_node)?", re.DOTALL
)
"""What the converter calls its casts, and what they give."""


def is_half(proto: onnx.ModelProto) -> bool:
    """Whether any weight, input or output is FP16 or BF16."""
    graph = proto.graph
    if any(value.type.tensor_type.elem_type in HALF for value in (*graph.input, *graph.output)):
        return True
    return any(
        tensor.data_type in HALF for each in all_graphs(graph) for tensor in each.initializer
    )


def widen(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in FP32, with the same inputs, outputs and names between."""
    copy = copy_of(proto)
    inputs, outputs = _half_edges(copy.graph.input), _half_edges(copy.graph.output)
    for graph in all_graphs(copy.graph):
        _widen_graph(graph)
    for function in copy.functions:
        _widen_nodes(function.node)
    _cast_edges(copy.graph, inputs, outputs)
    return copy


def _half_edges(values: Iterable[onnx.ValueInfoProto]) -> dict[str, int]:
    """Inputs or outputs of half precision: name → type."""
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind in HALF}


def _cast_edges(graph: onnx.GraphProto, inputs: dict[str, int], outputs: dict[str, int]) -> None:
    tensors, nodes = NewNames(tensor_names(graph)), NewNames(node_names(graph))
    renamed = {name: tensors.make(f"{name}/float") for name in (*inputs, *outputs)}
    for each in all_graphs(graph):
        for node in each.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        kind = inputs.get(value.name) or outputs.get(value.name)
        if kind is not None:
            value.type.tensor_type.elem_type = kind
    first = [
        helper.make_node(
            "Cast", [name], [renamed[name]], nodes.make(renamed[name]), to=TensorProto.FLOAT
        )
        for name in inputs
    ]
    last = [
        helper.make_node("Cast", [renamed[name]], [name], nodes.make(f"{name}/half"), to=kind)
        for name, kind in outputs.items()
    ]
    every = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(every)


def _widen_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in HALF:
                attribute.i = TensorProto.FLOAT


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in HALF:
        content = values_of(tensor).astype("<f4").tobytes()
        name, dims = tensor.name, list(tensor.dims)
        tensor.Clear()
        tensor.name, tensor.data_type = name, TensorProto.FLOAT
        tensor.dims.extend(dims)
        tensor.raw_data = content


def convert_to_fp16(model: Model) -> tuple[Model, tuple[Notice, ...]]:
    """A copy that computes in FP16; inputs and outputs keep their types, casts stand between.

    Parameters
    ----------
    model : Model
        FP32, as `prepare` returns it.

    Returns
    -------
    Model
        Its nodes and tensors keep their names. The same model gives the same copy.
    tuple of Notice
        Weights that FP16 can't hold.

    Raises
    ------
    ModelError
        The model can't be converted.
    """
    from calaudit.graph.folding import sort_nodes  # slow to import

    light, heavy = light_copy(model.proto, largest=SMALL)
    try:
        halved = _halved(light, heavy)
    except (ValueError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"can't be converted to FP16: {' '.join(str(error).split())}",
            where=model.label,
            next_step="Leave fp16 out of the audit's precisions.",
        ) from None
    # The converter puts its casts last; ONNX wants every node behind those it reads.
    made = sort_nodes(halved)
    del made.graph.value_info[:]  # of weights they tell the placeholders' shapes
    for tensor in made.graph.initializer:
        if tensor.name in heavy:
            _fill(tensor, heavy[tensor.name])
    return Model(made, model.label), tuple(_misfits(model, made))


def _halved(light: onnx.ModelProto, heavy: Collection[str]) -> onnx.ModelProto:
    """What the converter makes, which gives its casts names that the model may have already.

    `light` has inputs in the place of the weights `heavy`. They hold nothing in what is made, and
    so it is one message however large they are.
    """
    tell_scopes_apart(light.graph)  # the converter takes the weights of all for one graph's
    hidden = [_put_aside(named(light.graph)) for named in (tensor_names, node_names)]
    rename(light.graph, *hidden)
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    _empty_weights(inferred.graph, {hidden[0].get(name, name) for name in heavy})
    halved: onnx.ModelProto = _converter().convert_float_to_float16(
        inferred,
        min_positive_val=SMALLEST,
        max_finite_val=LARGEST,
        keep_io_types=True,
        disable_shape_infer=True,
    )
    shown = []
    for ours, named in zip(hidden, (tensor_names, node_names), strict=True):
        made = named(halved.graph)
        fresh = NewNames(made | set(ours))
        clashing = {name: fresh.make(name) for name in ours if name in made}
        shown.append(clashing | {aside: name for name, aside in ours.items()})
    rename(halved.graph, *shown)
    return halved


def _empty_weights(graph: onnx.GraphProto, heavy: Collection[str]) -> None:
    """Put weights without values in the place of inputs."""
    inputs = list(graph.input)
    del graph.input[:]
    for value in inputs:
        if value.name in heavy:
            kind = value.type.tensor_type.elem_type
            graph.initializer.add(name=value.name, data_type=kind, dims=[0])
        else:
            graph.input.append(value)


def _fill(target: TensorProto, weight: TensorProto) -> None:
    """Put a weight into the place that the converter has given a type."""
    kind = target.data_type
    target.Clear()
    if kind == weight.data_type:
        copy_tensor(target, weight)
        return
    halve = _converter().convert_np_to_float16
    target.name, target.data_type = weight.name, kind
    target.dims.extend(weight.dims)
    target.raw_data = b"".join(
        halve(piece, SMALLEST, LARGEST).astype("<f2").tobytes() for piece in _pieces(weight)
    )


def _pieces(weight: TensorProto) -> Iterator[NDArray[np.float32]]:
    """A weight's values, some megabytes at a time: each step of a conversion makes a copy."""
    values = values_of(weight).reshape(-1)
    for start in range(0, values.size, _AT_A_TIME):
        yield np.asarray(values[start : start + _AT_A_TIME])


def _put_aside(names: set[str]) -> dict[str, str]:
    """Other names for those of the model that the converter might give."""
    fresh = NewNames(names)
    return {name: fresh.make(f"{name}/own") for name in sorted(names) if _CASTS.fullmatch(name)}


def _converter() -> ModuleType:
    before = list(sys.path)
    from onnxruntime.transformers import float16

    # Importing that package puts its folder, with modules called `constants` or `metrics`, on
    # the path of the whole process.
    sys.path[:] = before
    module: ModuleType = float16
    return module


def _misfits(model: Model, made: onnx.ModelProto) -> list[Notice]:
    halved = {t.name for t in made.graph.initializer if t.data_type == TensorProto.FLOAT16}
    found: list[Notice] = []
    for tensor in model.proto.graph.initializer:
        if tensor.name not in halved or tensor.data_type != TensorProto.FLOAT:
            continue
        large = small = 0
        for piece in _pieces(tensor):
            magnitude = np.abs(piece)
            large += int((magnitude > LARGEST).sum())
            small += int(((magnitude > 0) & (magnitude < SMALLEST)).sum())
        if large or small:
            message = (
                f"{counted(large, 'value')} beyond ±65504 clipped, {small} below 6e-8 raised to it"
            )
            found.append(Notice("fp16_misfit", message, f"{model.label}: {tensor.name}"))
    return found
