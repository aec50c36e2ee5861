"""Writing a model whose weights don't fit into one protobuf message."""

import os
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto

from calaudit.graph.contents import bytes_of, embed, file_of, is_beside, size_of
from calaudit.graph.model import Model, copy_of, without_weights

SMALL: Final = 1024
"""Bytes below which a tensor stays in the message."""
MESSAGE: Final = 32 << 20
"""Bytes of weights up to which a model is worth having as one message: others are copied there."""


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
            _refer(written, tensor, location, start, file.tell() - start)
    path.write_bytes(slim.SerializeToString(deterministic=True))


def refer_from_one_folder(model: Model) -> tuple[onnx.ModelProto, Path] | None:
    """The model as a message that refers to the weights beside it, relative to the folder given.

    None where it has no such weights, or too many others for a message of reasonable size.

    Raises
    ------
    ModelError
        A file isn't what it was when the model was read.
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


def _refer(
    written: TensorProto, tensor: TensorProto, location: str, offset: int, length: int
) -> None:
    written.name, written.data_type = tensor.name, tensor.data_type
    written.dims.extend(tensor.dims)
    written.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = written.external_data.add()
        entry.key, entry.value = key, str(value)
