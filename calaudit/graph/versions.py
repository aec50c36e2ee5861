"""Versions of ONNX: older models brought to one that Q/DQ can stand in, and models checked.

ONNX's own converter does it, and it keeps names. Where it is known to change what a model computes,
the change is fixed here, or the model refused.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import onnx
from onnx import helper, numpy_helper, version_converter

from calaudit.graph.contents import copy_tensor
from calaudit.graph.model import default_opset, light_copy
from calaudit.graph.names import all_graphs, name_of
from calaudit.graph.rules import STANDARD
from calaudit.runtime.errors import ModelError, Notice

MIN_OPSET: Final = 13
"""First opset with per-channel QuantizeLinear/DequantizeLinear."""
OLDEST: Final = 7
"""First opset that onnxruntime runs."""
_WEIGHTS_NEED_NO_INPUT: Final = 4
"""First IR version whose weights aren't inputs with a default too."""
_HEAVY: Final = 1 << 18
"""Elements: larger weights decide nothing, and may be too many for one message."""
_CHANGED: Final = {"Hardmax": 13, "Scan": 9}
"""Operator → first opset at which it means something else, which the converter lets pass."""
_SIZES_BY_FLOOR: Final = 11
"""First opset whose Resize says how it maps sizes; before, `x / scale`, without half pixels."""


def raise_ir_version(proto: onnx.ModelProto) -> bool:
    """Let weights do without an input of their name, as an engine's do; whether it was needed."""
    if proto.ir_version >= _WEIGHTS_NEED_NO_INPUT:
        return False
    least = helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    proto.ir_version = max(least, _WEIGHTS_NEED_NO_INPUT)
    return True


def raise_opset(proto: onnx.ModelProto, label: str) -> tuple[onnx.ModelProto, Notice]:
    """A copy at opset `MIN_OPSET` that computes the same.

    Parameters
    ----------
    proto : onnx.ModelProto
        Of an older opset.
    label : str
        What messages call it.

    Raises
    ------
    ModelError
        It is older than `OLDEST`, or holds what has no counterpart.
    """
    opset = default_opset(proto)
    if opset < OLDEST:
        raise _refusal(label, opset, f"onnxruntime runs models from opset {OLDEST} on")
    changed = next(_changed_meanings(proto, opset), None)
    if changed is not None:
        raise _refusal(label, opset, changed)
    try:
        light, heavy = light_copy(proto, largest=_HEAVY)
        made = version_converter.convert_version(light, MIN_OPSET)
        least = helper.find_min_ir_version_for(list(made.opset_import), ignore_unknown=True)
        made.ir_version = max(made.ir_version, least)
        if opset < _SIZES_BY_FLOOR:
            _map_sizes_as_before(proto, made)
        check_graph(made)
        _put_back(made.graph, heavy)
    except (
        RuntimeError,
        ValueError,
        version_converter.ConvertError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise _refusal(label, opset, " ".join(str(error).split())) from None
    message = f"opset {opset} was converted to {MIN_OPSET}, which per-channel INT8 needs"
    return made, Notice("opset_converted", message, label)


def lacks_shape(value: onnx.ValueInfoProto) -> bool:
    """Whether not even the rank of an output is known, as behind an If."""
    return not value.type.tensor_type.HasField("shape")


def check_graph(proto: onnx.ModelProto) -> None:
    """Check a model in memory; unlike the checker, let the rank of an output be unknown.

    Raises
    ------
    onnx.checker.ValidationError
        It isn't valid.
    """
    copy, _ = light_copy(proto, largest=_HEAVY)
    for value in filter(lacks_shape, copy.graph.output):
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(copy)


def _put_back(graph: onnx.GraphProto, heavy: Mapping[str, onnx.TensorProto]) -> None:
    """Give a converted graph the weights that it has inputs for."""
    fed = [value for value in graph.input if value.name not in heavy]
    del graph.input[:]
    graph.input.extend(fed)
    for tensor in heavy.values():
        copy_tensor(graph.initializer.add(), tensor)


def _refusal(label: str, opset: int, reason: str) -> ModelError:
    return ModelError(
        f"uses opset {opset}, which can't be converted to {MIN_OPSET}: {reason}",
        where=label,
        next_step=f"Export it with opset_version={MIN_OPSET} or newer.",
    )


def _changed_meanings(proto: onnx.ModelProto, opset: int) -> Iterator[str]:
    """Nodes of which a converted one would compute something else."""
    for graph in all_graphs(proto.graph):
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
            if node.domain not in STANDARD:
                continue
            if opset < _CHANGED.get(node.op_type, 0):
                yield f"{node.op_type} {name_of(node)} means something else there"
            if node.op_type == "Resize" and opset < _SIZES_BY_FLOOR and not _grows(node, constants):
                yield f"Resize {name_of(node)} may make its input smaller"


def _grows(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    if any(a.name == "mode" and a.s != b"nearest" for a in node.attribute):
        return True  # only the nearest neighbour depends on it
    scales = constants.get(node.input[1])
    return scales is not None and bool((numpy_helper.to_array(scales) >= 1).all())


def _map_sizes_as_before(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    resized = {
        node.output[0]
        for graph in all_graphs(before.graph)
        for node in graph.node
        if node.op_type in {"Upsample", "Resize"} and node.domain in STANDARD
    }
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for graph in all_graphs(after.graph):
        for node in graph.node:
            if node.op_type == "Resize" and node.output[0] in resized:
                node.attribute.extend(helper.make_attribute(*each) for each in how.items())
