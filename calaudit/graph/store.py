"""Writing a model whose weights don't fit into one protobuf message."""

from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from calaudit.graph.model import Model, raw_bytes, without_weights


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
