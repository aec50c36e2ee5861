"""Contents of tensors: in their message, or mapped from the file that the model keeps them in.

Large weights that lie beside a model stay there. A message would hold them in memory, more than
once while they are copied, and beyond 2 GiB protobuf doesn't copy or measure it at all.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from calaudit.runtime.errors import ModelError

LARGE: Final = 1 << 20
"""Bytes from which a tensor stays in the file beside its model."""
_HEAD: Final = 64
"""Bytes that a tensor's shape and type take at most, with up to five axes."""
_PACKED_BITS: Final = {
    getattr(TensorProto, name): bits
    for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
    if hasattr(TensorProto, name)
}
"""Types of which a byte holds several."""
_Stamp = tuple[int, int, int]
_stamps: dict[str, _Stamp] = {}
"""Files that weights are mapped from, as they were when the model was read."""


def keep_beside(proto: onnx.ModelProto, folder: Path) -> None:
    """Refer to large initializers by the full path of their file, and read all other weights.

    Raises
    ------
    OSError, ValueError, onnx.checker.ValidationError
        A file is missing, too short, or outside of `folder`.
    """
    for tensor in proto.graph.initializer:
        if is_beside(tensor) and _may_stay(tensor):
            _refer(tensor, folder)
        elif is_beside(tensor):
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    for tensor in _tensors_in_nodes(proto):
        if is_beside(tensor):
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))


def is_beside(tensor: TensorProto) -> bool:
    """Whether a tensor's content lies in a file."""
    return bool(external_data_helper.uses_external_data(tensor))


def values_of(tensor: TensorProto) -> NDArray[Any]:
    """The values of a tensor, read-only where they are mapped from a file.

    Raises
    ------
    ModelError
        The file has changed since the model was read.
    """
    if not is_beside(tensor):
        values: NDArray[Any] = numpy_helper.to_array(tensor)
        return values
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return _mapped(tensor).view(dtype).reshape(tuple(tensor.dims))


def bytes_of(tensor: TensorProto) -> bytes | memoryview:
    """Content of a tensor, little-endian, however it is stored. Raises as `values_of`."""
    if is_beside(tensor):
        return _mapped(tensor).data
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    if tensor.data_type == TensorProto.STRING:
        return b"\0".join(tensor.string_data)
    values = values_of(tensor)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def size_of(tensor: TensorProto) -> int:
    """Bytes of a tensor in a message, wherever its content is; up to a hundred more than it has.

    protobuf's own ByteSize raises beyond 2 GiB, and below makes the message to measure it.
    """
    if not is_beside(tensor) and not tensor.HasField("raw_data"):
        return int(tensor.ByteSize()) + _HEAD
    return _content_size(tensor) + len(tensor.name.encode()) + _HEAD


def copy_tensor(target: TensorProto, tensor: TensorProto) -> None:
    """Fill `target` with a tensor, as `CopyFrom` does for those below 2 GiB."""
    if is_beside(tensor) or not tensor.HasField("raw_data"):
        target.CopyFrom(tensor)
        return
    _head(target, tensor)
    target.raw_data = tensor.raw_data


def embed(target: TensorProto, tensor: TensorProto) -> None:
    """As `copy_tensor`, with the content in the message."""
    if not is_beside(tensor):
        copy_tensor(target, tensor)
        return
    _head(target, tensor)
    target.raw_data = bytes(bytes_of(tensor))


def _head(target: TensorProto, tensor: TensorProto) -> None:
    target.name, target.data_type = tensor.name, tensor.data_type
    target.dims.extend(tensor.dims)
    if tensor.doc_string:
        target.doc_string = tensor.doc_string


def _content_size(tensor: TensorProto) -> int:
    itemsize = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    bits = int(_PACKED_BITS.get(tensor.data_type, 8 * itemsize))
    return (math.prod(map(int, tensor.dims)) * bits + 7) // 8


def _tensors_in_nodes(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    nodes = [*proto.graph.node, *(node for each in proto.functions for node in each.node)]
    while nodes:
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer
                nodes += graph.node


def _may_stay(tensor: TensorProto) -> bool:
    return tensor.data_type not in _PACKED_BITS and _content_size(tensor) >= LARGE


def _refer(tensor: TensorProto, folder: Path) -> None:
    """Make the location of a tensor's file absolute."""
    info = external_data_helper.ExternalDataInfo(tensor)
    path = (folder / str(info.location)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{tensor.name} lies outside of the model's folder, in {info.location}")
    size, offset = _content_size(tensor), info.offset or 0
    if info.length not in {None, size} or path.stat().st_size < offset + size:
        raise ValueError(f"{info.location} doesn't hold the {size} bytes of {tensor.name}")
    _stamps[str(path)] = _stamp(path)
    del tensor.external_data[:]
    for key, value in (("location", path), ("offset", offset), ("length", size)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def file_of(tensor: TensorProto) -> Path:
    """The file that a tensor's content lies in. Raises as `values_of`."""
    path = Path(str(external_data_helper.ExternalDataInfo(tensor).location))
    try:
        if _stamps.get(str(path)) == _stamp(path):
            return path
        message = f"has changed since {tensor.name} was read from it"
    except OSError as error:
        message = f"can't be read any more: {os.strerror(error.errno or 0)}"
    raise ModelError(
        message, where=path, next_step="Don't change a model's files during a run; run again."
    )


def _mapped(tensor: TensorProto) -> NDArray[np.uint8]:
    offset = external_data_helper.ExternalDataInfo(tensor).offset or 0
    return np.memmap(file_of(tensor), np.uint8, "r", offset, (_content_size(tensor),))


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
