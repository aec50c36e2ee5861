"""Reading a model file, and every reason why one can't be audited or doesn't fit its pool."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from calaudit.graph.contents import keep_beside
from calaudit.graph.model import Model, ModelTensor, default_opset, fixed_size
from calaudit.graph.names import all_graphs, graphs_within, name_of, tell_nodes_apart
from calaudit.graph.rules import ONNXRUNTIMES, STANDARD
from calaudit.graph.versions import (
    MIN_OPSET,
    check_graph,
    lacks_shape,
    raise_ir_version,
    raise_opset,
)
from calaudit.runtime.errors import ModelError, Notice, Problem, near
from calaudit.runtime.pool import TensorSpec
from calaudit.runtime.words import shape_text

_RANDOM_OPS = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
})  # fmt: skip
_DROPPED = 0.5
"""Ratio of a Dropout that names none."""
_SHOWN = 3

_RANDOM = (
    "draws random numbers ({}), so its answers differ from run to run and so do drops; export the "
    "model without them, or with their draw as an input"
)

_QUANTIZED = re.compile(
    "Q(Linear|Ordered|Attention|Gemm|MoE|Embed).*|.*([Qq]uantize|Integer|NBits|Bnb4|FpQ4|Float8).*"
)
"""Names of quantized operators, ONNX's and onnxruntime's own."""


def training_problems(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    """What makes the model train instead of infer, and how to export it for inference.

    BatchNormalization in training mode normalises by the batch that happens to be there, Dropout
    in training mode drops at random: no number of an audit would mean anything.
    """
    constants = _constants(proto)
    found = [node for node in _nodes(proto) if _trains(node, constants)]
    if not found:
        return []
    return [
        (
            f"was exported in training mode ({_named(found)}): its answers depend on the batch",
            "Call model.eval() and export it again, without training= (torch.onnx.export), or with "
            "training=False (tf2onnx, keras).",
        )
    ]


def random_ops(proto: onnx.ModelProto) -> str | None:
    """What draws random numbers at run time, in words; None where nothing does."""
    found = [node for node in _nodes(proto) if node.op_type in _RANDOM_OPS]
    return _named(found) if found else None


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in all_graphs(proto.graph):
        yield from (node for node in graph.node if node.domain in STANDARD)
    for function in proto.functions:
        yield from (node for node in function.node if node.domain in STANDARD)


def _trains(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        # up to opset 13 more than one output means training
        return bool(attributes.get("training_mode")) or any(node.output[1:])
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    mode, ratio = (_value(constants.get(name)) for name in (node.input[2], node.input[1]))
    return bool(mode) and (_DROPPED if ratio is None and not node.input[1] else ratio) != 0


def _constants(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Scalars that are known: initializers, and the outputs of Constant nodes."""
    found: dict[str, onnx.TensorProto] = {}
    for graph in all_graphs(proto.graph):
        found |= {each.name: each for each in graph.initializer if np.prod(each.dims) <= 1}
    for node in _nodes(proto):
        if node.op_type == "Constant":
            for each in node.attribute:
                if each.name == "value":
                    found[node.output[0]] = each.t
    return found


def _value(tensor: onnx.TensorProto | None) -> float | None:
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor)
    return float(values.reshape(-1)[0]) if values.size == 1 else None


def _named(nodes: Sequence[onnx.NodeProto]) -> str:
    shown = ", ".join(f"{node.op_type} {name_of(node)}" for node in nodes[:_SHOWN])
    return shown if len(nodes) <= _SHOWN else f"{shown}, … {len(nodes)} in all"


def load_model(path: Path, *, quantized: bool = False) -> Model:
    """Read an ONNX file, with the weights kept beside it, and check that it can be audited.

    Parameters
    ----------
    path : Path
        An FP32 ONNX model, batch axis dynamic or fixed to 1. One of an opset before 13 is
        converted, which a notice says.
    quantized : bool
        Read an engine that was built before: Q/DQ is what it should hold.

    Raises
    ------
    ModelError
        Missing, not ONNX, invalid, of an opset that can't be converted, quantized already, in
        training mode, or of another fixed batch. All reasons at once.
    """
    proto = check_file(path, otherwise="Export the model with torch.onnx.export.")
    tell_nodes_apart(proto.graph)
    found = unsuitable(proto) + ([] if quantized else _quantized_already(proto))
    problems = [Problem(message, str(path), next_step) for message, next_step in found]
    random = random_ops(proto)
    notices: tuple[Notice, ...] = ()
    if random is not None:
        notices = (Notice("random_ops", _RANDOM.format(random), str(path)),)
    if default_opset(proto) < MIN_OPSET:
        try:
            proto, notice = raise_opset(proto, str(path))
            notices = (*notices, notice)
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError.of(problems)
    return Model(proto, str(path), notices)


def check_file(path: Path, *, otherwise: str) -> onnx.ModelProto:
    """A file's model, found valid, with the weights kept beside it.

    Parameters
    ----------
    path : Path
    otherwise : str
        What to do where the file is no ONNX model.

    Raises
    ------
    ModelError
        Missing, not ONNX, or invalid.
    """
    if path.exists() and not path.is_file():
        raise ModelError("isn't a file", where=path, next_step="Name the model's .onnx file.")
    if not path.is_file():
        raise ModelError("there is no such model file", where=path, next_step="Check the path.")
    foreign = ModelError("isn't an ONNX model", where=path, next_step=otherwise)
    try:
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError:
        raise foreign from None
    if not proto.graph.node or not proto.ir_version:
        raise foreign
    try:
        if raise_ir_version(proto) or any(map(lacks_shape, proto.graph.output)):
            check_graph(proto)
        else:
            onnx.checker.check_model(str(path))
        keep_beside(proto, path.parent)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"isn't valid: {reason}",
            where=path,
            next_step="Export it again; weights kept in a file of their own belong beside it.",
        ) from None
    _drop_initializers_from_inputs(proto.graph)
    return proto


def _drop_initializers_from_inputs(graph: onnx.GraphProto) -> None:
    """Old exporters list weights as inputs with a default; a caller never feeds them."""
    weights = {tensor.name for tensor in graph.initializer}
    fed = [value for value in graph.input if value.name not in weights]
    if len(fed) != len(graph.input):
        del graph.input[:]
        graph.input.extend(fed)


def unsuitable(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    """What keeps a model from being audited, whatever it runs in, and what to do about each."""
    found: list[tuple[str, str]] = []
    if proto.graph.sparse_initializer:
        found.append(("holds sparse weights", "Export it with dense weights."))
    if not proto.graph.input:
        found.append(("has no inputs", "Export the model with its inputs."))
    for value in proto.graph.input:
        found.extend(_unsuitable_input(value))
    return found + training_problems(proto)


def _quantized_already(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    nodes = [n for n in _all_nodes(proto) if is_quantized(n)]
    if not nodes:
        return []
    step = (
        "Give the FP32 model that it was made from; calaudit places the Q/DQ itself, and judges "
        "this one beside its own engines as one of [[engines]] of an audit file."
    )
    return [(f"is quantized already ({_named(nodes)})", step)]


def _all_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    outer = [*proto.graph.node, *(n for function in proto.functions for n in function.node)]
    inner = [graph for node in outer for graph in graphs_within(node)]
    return [*outer, *(node for graph in inner for node in graph.node)]


def is_quantized(node: onnx.NodeProto) -> bool:
    """Whether a node is one of the quantized operators, ONNX's and onnxruntime's own."""
    known = node.domain in STANDARD or node.domain.startswith(ONNXRUNTIMES)
    return known and _QUANTIZED.fullmatch(node.op_type) is not None


def _unsuitable_input(value: onnx.ValueInfoProto) -> list[tuple[str, str]]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type in {0, TensorProto.STRING}:
        return [(
            f"input {value.name} isn't a tensor of numbers",
            "Export a model that takes numeric tensors.",
        )]  # fmt: skip
    if not kind.HasField("shape") or not kind.shape.dim:
        return [(
            f"input {value.name} has no batch axis",
            "Export it with the batch as the first axis of every input.",
        )]  # fmt: skip
    batch = fixed_size(value, 0)
    if batch not in {None, 1}:
        return [(
            f"input {value.name} has a batch fixed to {batch}",
            "Export it with a dynamic batch axis (dynamic_axes or dynamic_shapes), or batch 1. If "
            "its batch isn't the first axis, export a wrapper: y = model(x.transpose(0, 1)).",
        )]  # fmt: skip
    return []


def check_pool_matches(
    model_inputs: Iterable[ModelTensor],
    pool_inputs: Mapping[str, TensorSpec],
    *,
    where: str | None = None,
) -> None:
    """Check that a pool holds every input of a model, with its element type and shape.

    Parameters
    ----------
    model_inputs : iterable of ModelTensor
        The model's inputs; free sizes match anything.
    pool_inputs : mapping
        The pool's inputs by name; those the model doesn't have are ignored.
    where : str, optional
        The pool's path, for the message.

    Raises
    ------
    ModelError
        Missing inputs (with the near names), other element types, other shapes.
    """
    problems: list[Problem] = []
    for wanted in model_inputs:
        name = wanted.name
        if name not in pool_inputs:
            message = f"the pool has no input {name}, which the model takes"
            problems.append(Problem(message, where, near(name, pool_inputs)))
            continue
        found = pool_inputs[name]
        if found.dtype != wanted.dtype:
            problems.append(
                Problem(
                    f"input {name} is {found.dtype} in the pool and {wanted.dtype} in the model",
                    where,
                    _stored_as(wanted.dtype, found.dtype),
                )
            )
        if not _fits(found.shape, wanted.shape):
            problems.append(
                Problem(
                    f"input {name} has samples of shape {shape_text(found.shape)} in the pool and "
                    f"{shape_text(wanted.shape)} in the model",
                    where,
                    "Preprocess the samples as the model was trained, or export it for this shape.",
                )
            )
    if problems:
        raise ModelError.of(problems)


def _stored_as(dtype: np.dtype[Any], found: np.dtype[Any]) -> str:
    if dtype.kind == "f" and found == np.uint8:
        # Of the type alone a model trained on 0 … 1 would get 0 … 255.
        return (
            f"Scale the values as in training and import the pool again as {dtype}: an array's "
            f"stay 0 … 255 under calaudit pool import --dtype {dtype}, so divide them before; an "
            "image's are divided by 255, or by divide_by in the file of calaudit pool import "
            "--config. Or export the model for the pool's type."
        )
    if dtype.kind in "biuf":
        return (
            f"Import the pool again with calaudit pool import --dtype {dtype}, or export the model "
            "for the pool's type."
        )
    return (
        f"A pool can't hold {dtype}: export the model with float32 inputs and outputs, and casts "
        f"to {dtype} inside."
    )


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        size is None or size == given for given, size in zip(found, wanted, strict=True)
    )
