"""The model: an ONNX graph that was checked, with its inputs, outputs and content hash."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from calaudit.errors import ModelError, Problem

MIN_OPSET = 13
"""First opset with per-channel QuantizeLinear/DequantizeLinear."""

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes one protobuf message may hold; larger models keep their weights in a file beside."""


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """Name, element type and per-sample shape of a model's input or output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    """Without the batch axis; None where the size is free."""


@dataclass(frozen=True)
class Model:
    """A checked ONNX model. Treat `proto` as read-only: surgery returns new models."""

    proto: onnx.ModelProto
    label: str
    """What messages call it: its path."""

    @cached_property
    def inputs(self) -> tuple[ModelTensor, ...]:
        """The inputs a caller feeds, in the model's order."""
        return tuple(map(_tensor, self.proto.graph.input))

    @cached_property
    def outputs(self) -> tuple[ModelTensor, ...]:
        """The outputs, in the model's order."""
        return tuple(map(_tensor, self.proto.graph.output))

    @property
    def fixed_batch(self) -> bool:
        """Whether the model takes one sample at a time (its batch axis is fixed to 1)."""
        return any(_dim(value, 0) == 1 for value in self.proto.graph.input)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return default_opset(self.proto)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (blake2b-128, hex): graph and weights, wherever the weights are stored."""
        return _fingerprint(self.proto)

    @property
    def oversized(self) -> bool:
        """Whether it is larger than one protobuf message, so that its weights go beside it."""
        return int(self.proto.ByteSize()) > PROTOBUF_LIMIT

    def serialize(self) -> bytes:
        """The model as one protobuf message.

        Raises
        ------
        ModelError
            It is larger than protobuf allows: use `write_model`.
        """
        if self.oversized:
            raise ModelError(
                f"holds {self.proto.ByteSize()} bytes, more than one protobuf message may",
                where=self.label,
                next_step="Write it with its weights beside it.",
            )
        message: bytes = self.proto.SerializeToString(deterministic=True)
        return message


def load_model(path: Path, *, quantized: bool = False) -> Model:
    """Read an ONNX file, with the weights kept beside it, and check that it can be audited.

    Parameters
    ----------
    path : Path
        An FP32 ONNX model, opset 13 or newer, batch axis dynamic or fixed to 1.
    quantized : bool
        Read an engine that was built before: Q/DQ is what it should hold.

    Raises
    ------
    ModelError
        Missing, not ONNX, invalid, of an older opset, quantized already, with subgraphs, or of
        another fixed batch. All reasons at once.
    """
    proto = _read(path)
    _drop_initializers_from_inputs(proto.graph)
    found = _unsuitable(proto) + ([] if quantized else _quantized_already(proto))
    problems = [Problem(message, str(path), next_step) for message, next_step in found]
    if problems:
        raise ModelError.of(problems)
    return Model(proto, str(path))


def write_model(model: Model, path: Path, weights: Path, *, location: str) -> None:
    """Write `model` to `path` with its large weights in the file `weights`.

    Parameters
    ----------
    model : Model
        Its own weights aren't touched.
    path, weights : Path
        Files to fill; both exist or can be made.
    location : str
        Final name of `weights` beside the model, as the model will refer to it.
    """
    slim = onnx.ModelProto()
    slim.CopyFrom(without_weights(model.proto))
    with weights.open("wb") as file:
        for tensor in model.proto.graph.initializer:
            written = slim.graph.initializer.add()
            if tensor.ByteSize() < 1024:
                written.CopyFrom(tensor)
                continue
            data = raw_bytes(tensor)
            written.name, written.data_type = tensor.name, tensor.data_type
            written.dims.extend(tensor.dims)
            written.raw_data = b""
            external_data_helper.set_external_data(
                written, location, offset=file.tell(), length=len(data)
            )
            written.ClearField("raw_data")
            written.data_location = TensorProto.EXTERNAL
            file.write(data)
    path.write_bytes(slim.SerializeToString(deterministic=True))


def default_opset(proto: onnx.ModelProto) -> int:
    """Version of the default operator set, 0 when the model imports none."""
    return max((o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}), default=0)


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that holds everything but the initializers (which may be gigabytes)."""
    copy = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name == "graph":
            for inner, content in value.ListFields():
                if inner.name != "initializer":
                    _assign(copy.graph, inner.name, content)
        else:
            _assign(copy, field.name, value)
    return copy


def raw_bytes(tensor: TensorProto) -> bytes:
    """Content of a tensor, little-endian, however the message stores it."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    if tensor.data_type == TensorProto.STRING:
        return b"\0".join(tensor.string_data)
    values: NDArray[Any] = numpy_helper.to_array(tensor)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _assign(message: Any, field: str, value: Any) -> None:
    target = getattr(message, field)
    if hasattr(target, "extend"):
        target.extend(value)
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, field, value)


def _read(path: Path) -> onnx.ModelProto:
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
        onnx.checker.check_model(str(path))
        external_data_helper.load_external_data_for_model(proto, str(path.parent))
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
    opset = default_opset(proto)
    if opset < MIN_OPSET:
        found.append((
            f"uses opset {opset}; per-channel INT8 needs {MIN_OPSET} or newer",
            f"Export it with opset_version={MIN_OPSET} or newer.",
        ))  # fmt: skip
    if proto.graph.sparse_initializer:
        found.append(("holds sparse weights", "Export it with dense weights."))
    nested = [n for n in _all_nodes(proto) if any(a.type in _SUBGRAPHS for a in n.attribute)]
    if nested:
        found.append((
            f"has subgraphs ({_named(nested)}), where no activation can be observed",
            "Export a straight graph: trace the model instead of scripting it.",
        ))  # fmt: skip
    if not proto.graph.input:
        found.append(("has no inputs", "Export the model with its inputs."))
    for value in proto.graph.input:
        found.extend(_unsuitable_input(value))
    return found


def _quantized_already(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    nodes = [n for n in _all_nodes(proto) if n.op_type in _QUANTIZED]
    if not nodes:
        return []
    step = "Give the FP32 model; calaudit places the Q/DQ itself."
    return [(f"is quantized already ({_named(nodes)})", step)]


def _all_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [*proto.graph.node, *(n for function in proto.functions for n in function.node)]


_SUBGRAPHS = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
_QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
}  # fmt: skip


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
    batch = _dim(value, 0)
    if batch not in {None, 1}:
        return [(
            f"input {value.name} has a batch fixed to {batch}",
            "Export it with a dynamic batch axis (dynamic_axes or dynamic_shapes), or batch 1.",
        )]  # fmt: skip
    return []


def _named(nodes: list[onnx.NodeProto]) -> str:
    shown = ", ".join(f"{n.op_type} {n.name or n.output[0]}" for n in nodes[:3])
    return shown if len(nodes) <= 3 else f"{shown}, … {len(nodes)} in all"


def _tensor(value: onnx.ValueInfoProto) -> ModelTensor:
    kind = value.type.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    rank = len(kind.shape.dim)
    return ModelTensor(value.name, dtype, tuple(_dim(value, axis) for axis in range(1, rank)))


def _dim(value: onnx.ValueInfoProto, axis: int) -> int | None:
    dims = value.type.tensor_type.shape.dim
    if axis >= len(dims) or not dims[axis].HasField("dim_value") or dims[axis].dim_value < 0:
        return None
    return int(dims[axis].dim_value)


def _fingerprint(proto: onnx.ModelProto) -> str:
    plain = without_weights(proto)
    for field in ("producer_name", "producer_version", "doc_string", "model_version"):
        plain.ClearField(field)
    del plain.metadata_props[:]
    plain.graph.ClearField("doc_string")
    for node in plain.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    digest = hashlib.blake2b(digest_size=16)
    digest.update(plain.SerializeToString(deterministic=True))
    for tensor in sorted(proto.graph.initializer, key=lambda tensor: tensor.name):
        head = f"{tensor.name}\0{tensor.data_type}\0{list(tensor.dims)}\0"
        digest.update(head.encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()
