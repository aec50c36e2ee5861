"""Reading a model file, and every reason why one can't be audited."""

import re
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from calaudit.errors import ModelError, Notice, Problem
from calaudit.graph.contents import keep_beside
from calaudit.graph.model import Model, default_opset, fixed_size
from calaudit.graph.names import graphs_within, name_of, tell_nodes_apart
from calaudit.graph.rules import ONNXRUNTIMES, STANDARD
from calaudit.graph.training import random_ops, training_problems
from calaudit.graph.versions import (
    MIN_OPSET,
    check_graph,
    lacks_shape,
    raise_ir_version,
    raise_opset,
)

_RANDOM = (
    "draws random numbers ({}), so its answers differ from run to run and so do drops; export the "
    "model without them, or with their draw as an input"
)


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
    proto = _read(path)
    _drop_initializers_from_inputs(proto.graph)
    tell_nodes_apart(proto.graph)
    found = _unsuitable(proto) + ([] if quantized else _quantized_already(proto))
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


def _read(path: Path) -> onnx.ModelProto:
    if path.exists() and not path.is_file():
        raise ModelError("isn't a file", where=path, next_step="Name the model's .onnx file.")
    if not path.is_file():
        raise ModelError("there is no such model file", where=path, next_step="Check the path.")
    foreign = ModelError(
        "isn't an ONNX model", where=path, next_step="Export the model with torch.onnx.export."
    )
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
    return proto


def _drop_initializers_from_inputs(graph: onnx.GraphProto) -> None:
    """Old exporters list weights as inputs with a default; a caller never feeds them."""
    weights = {tensor.name for tensor in graph.initializer}
    fed = [value for value in graph.input if value.name not in weights]
    if len(fed) != len(graph.input):
        del graph.input[:]
        graph.input.extend(fed)


def _unsuitable(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if proto.graph.sparse_initializer:
        found.append(("holds sparse weights", "Export it with dense weights."))
    if not proto.graph.input:
        found.append(("has no inputs", "Export the model with its inputs."))
    for value in proto.graph.input:
        found.extend(_unsuitable_input(value))
    return found + training_problems(proto)


def _quantized_already(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    nodes = [n for n in _all_nodes(proto) if _is_quantized(n)]
    if not nodes:
        return []
    step = "Give the FP32 model that it was made from; calaudit places the Q/DQ itself."
    return [(f"is quantized already ({_named(nodes)})", step)]


def _all_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    outer = [*proto.graph.node, *(n for function in proto.functions for n in function.node)]
    inner = [graph for node in outer for graph in graphs_within(node)]
    return [*outer, *(node for graph in inner for node in graph.node)]


_QUANTIZED = re.compile(
    "Q(Linear|Ordered|Attention|Gemm|MoE|Embed).*|.*([Qq]uantize|Integer|NBits|Bnb4|FpQ4|Float8).*"
)
"""Names of quantized operators, ONNX's and onnxruntime's own."""


def _is_quantized(node: onnx.NodeProto) -> bool:
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


def _named(nodes: list[onnx.NodeProto]) -> str:
    shown = ", ".join(f"{n.op_type} {name_of(n)}" for n in nodes[:3])
    return shown if len(nodes) <= 3 else f"{shown}, … {len(nodes)} in all"
