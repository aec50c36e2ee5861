"""The model: an ONNX graph that was checked, with its inputs, outputs and content hash; written.

Written with its weights in a file beside it where they don't fit into one protobuf message.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from calaudit.graph.contents import bytes_of, copy_tensor, embed, file_of, is_beside, size_of
from calaudit.runtime.errors import ModelError, Notice

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes one protobuf message may hold; larger models keep their weights in a file beside."""

SMALL: Final = 1024
"""Bytes below which a tensor stays in the message."""
MESSAGE: Final = 32 << 20
"""Bytes of weights up to which a model is worth having as one message: others are copied there."""


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
    """Large weights may lie in files beside: read them by `calaudit.graph.contents`."""
    label: str
    """What messages call it: its path."""
    notices: tuple[Notice, ...] = ()
    """What was done to the file's graph when it was read, and what is odd about it."""

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
        return any(fixed_size(value, 0) == 1 for value in self.proto.graph.input)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return default_opset(self.proto)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (blake2b-128, hex): graph and weights, wherever the weights are stored."""
        return _fingerprint(self.proto)

    @cached_property
    def n_bytes(self) -> int:
        """Size as one protobuf message, whether it may be one or not; a little more at most."""
        rest = int(without_weights(self.proto).ByteSize())
        return rest + sum(map(size_of, self.proto.graph.initializer))

    @property
    def oversized(self) -> bool:
        """Whether it is larger than one protobuf message, so that its weights go beside it."""
        return self.n_bytes > PROTOBUF_LIMIT

    def serialize(self) -> bytes:
        """The model as one protobuf message.

        Raises
        ------
        ModelError
            It is larger than protobuf allows: use `write_model`.
        """
        if self.oversized:
            raise ModelError(
                f"holds {self.n_bytes} bytes, more than one protobuf message may",
                where=self.label,
                next_step="Write it with its weights beside it.",
            )
        whole = self.proto
        if any(map(is_beside, whole.graph.initializer)):
            whole = without_weights(whole)
            for tensor in self.proto.graph.initializer:
                embed(whole.graph.initializer.add(), tensor)
        message: bytes = whole.SerializeToString(deterministic=True)
        return message


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


def copy_of(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model of any size."""
    copy = without_weights(proto)
    for tensor in proto.graph.initializer:
        copy_tensor(copy.graph.initializer.add(), tensor)
    return copy


def light_copy(
    proto: onnx.ModelProto, *, largest: int
) -> tuple[onnx.ModelProto, dict[str, TensorProto]]:
    """A copy with inputs in the place of weights beside it, or of more than `largest` elements.

    ONNX's own tools take one message, and know of a weight that lies in a file only where it lies.

    Returns
    -------
    ModelProto
        The copy.
    dict
        Name → weight that it has an input for.
    """
    light = without_weights(proto)
    fed = {value.name for value in proto.graph.input}
    heavy: dict[str, TensorProto] = {}
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) <= largest and not is_beside(tensor):
            light.graph.initializer.add().CopyFrom(tensor)
            continue
        heavy[tensor.name] = tensor
        if tensor.name not in fed:
            kind = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(kind)
    return light, heavy


def _assign(message: Any, field: str, value: Any) -> None:
    target = getattr(message, field)
    if hasattr(target, "extend"):
        target.extend(value)
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, field, value)


def _tensor(value: onnx.ValueInfoProto) -> ModelTensor:
    kind = value.type.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    rank = len(kind.shape.dim)
    return ModelTensor(value.name, dtype, tuple(fixed_size(value, axis) for axis in range(1, rank)))


def fixed_size(value: onnx.ValueInfoProto, axis: int) -> int | None:
    """Size of one axis of an input or output, None where it is free."""
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
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


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
    slim = without_weights(model.proto)
    with weights.open("wb") as file:
        for tensor in model.proto.graph.initializer:
            written = slim.graph.initializer.add()
            if size_of(tensor) < SMALL:
                embed(written, tensor)
                continue
            start = file.tell()
            file.write(bytes_of(tensor))
            _refer_to(written, tensor, location, start, file.tell() - start)
    path.write_bytes(slim.SerializeToString(deterministic=True))


def refer_from_one_folder(model: Model) -> tuple[onnx.ModelProto, Path] | None:
    """The model as a message that refers to the weights beside it, relative to the folder given.

    None where it has no such weights, or too many others for a message of reasonable size.

    Raises
    ------
    ModelError
        A file has changed since the model was read.
    """
    weights = model.proto.graph.initializer
    files = {tensor.name: file_of(tensor) for tensor in weights if is_beside(tensor)}
    held = sum(size_of(tensor) for tensor in weights if tensor.name not in files)
    if not files or held > MESSAGE:
        return None
    folder = Path(os.path.commonpath([file.parent for file in files.values()]))
    slim = copy_of(model.proto)
    for tensor in slim.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = files[tensor.name].relative_to(folder).as_posix()
    return slim, folder


def _refer_to(
    written: TensorProto, tensor: TensorProto, location: str, offset: int, length: int
) -> None:
    written.name, written.data_type = tensor.name, tensor.data_type
    written.dims.extend(tensor.dims)
    written.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = written.external_data.add()
        entry.key, entry.value = key, str(value)
