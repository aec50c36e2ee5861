"""FP16: the graph with its types changed, as strongly typed TensorRT networks need it.

onnxruntime's own tool converts: it is kept with every release, knows the operators that must stay
in FP32, and needs no library that calaudit doesn't have. It runs no model.
"""

import re
import sys
from types import ModuleType
from typing import Final

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx_ir.passes import common as passes

from calaudit.errors import ModelError, Notice
from calaudit.graph.model import Model
from calaudit.graph.names import NewNames, node_names, rename, tell_scopes_apart, tensor_names

LARGEST: Final = float(np.finfo(np.float16).max)
"""65504: larger weights are clipped to it."""
SMALLEST: Final = 5.96e-8
"""FP16's smallest positive number: weights nearer to zero are raised to it."""
_CASTS: Final = re.compile(
    r"graph_(in|out)put_cast_?\d+|.*_cast_to_(fp|bfloat)\d+(_node)?", re.DOTALL
)
"""What the converter calls its casts, and what they give."""


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
        The model is too large for one protobuf message, or can't be converted.
    """
    check_fp16(model)
    try:
        halved = _halved(model.proto)
    except (ValueError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"can't be converted to FP16: {' '.join(str(error).split())}",
            where=model.label,
            next_step="Leave fp16 out of the audit's precisions.",
        ) from None
    made = Model(_sorted(halved), model.label)
    return made, tuple(_misfits(model, made))


def check_fp16(model: Model) -> None:
    """Raise `ModelError` where a model is too large to be converted."""
    if model.oversized:
        raise ModelError(
            "is larger than 2 GiB, more than the FP16 converter takes",
            where=model.label,
            next_step="Leave fp16 out of the audit's precisions.",
        )


def _halved(proto: onnx.ModelProto) -> onnx.ModelProto:
    """What the converter makes, which gives its casts names that the model may have already."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    tell_scopes_apart(copy.graph)  # it takes the weights of all for one graph's
    hidden = [_put_aside(named(copy.graph)) for named in (tensor_names, node_names)]
    rename(copy.graph, *hidden)
    halved: onnx.ModelProto = _converter().convert_float_to_float16(
        copy, min_positive_val=SMALLEST, max_finite_val=LARGEST, keep_io_types=True
    )
    shown = []
    for ours, named in zip(hidden, (tensor_names, node_names), strict=True):
        made = named(halved.graph)
        fresh = NewNames(made | set(ours))
        clashing = {name: fresh.make(name) for name in ours if name in made}
        shown.append(clashing | {aside: name for name, aside in ours.items()})
    rename(halved.graph, *shown)
    return halved


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


def _sorted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The converter puts its casts last; ONNX wants every node behind those it reads."""
    graph = onnx_ir.serde.deserialize_model(proto)
    passes.TopologicalSortPass()(graph)
    return onnx_ir.serde.serialize_model(graph)


def _misfits(model: Model, made: Model) -> list[Notice]:
    halved = {
        tensor.name
        for tensor in made.proto.graph.initializer
        if tensor.data_type == TensorProto.FLOAT16
    }
    found: list[Notice] = []
    for tensor in model.proto.graph.initializer:
        if tensor.name not in halved or tensor.data_type != TensorProto.FLOAT:
            continue
        magnitude: NDArray[np.float32] = np.abs(numpy_helper.to_array(tensor))
        large = int((magnitude > LARGEST).sum())
        small = int(((magnitude > 0) & (magnitude < SMALLEST)).sum())
        if large or small:
            message = f"{large} values beyond ±65504 are clipped, {small} below 6e-8 raised to it"
            found.append(Notice("fp16_misfit", message, f"{model.label}: {tensor.name}"))
    return found
