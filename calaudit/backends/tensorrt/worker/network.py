"""The network that TensorRT's parser makes of an ONNX model, layer by layer, before any build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .build import parsed

if TYPE_CHECKING:
    from .state import State

SMALL = 64
"""Constants of up to this many values are told whole."""


def describe(state: State, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Layers in the parser's order, with the tensors that they read and make.

    ``layers``: for each its ``index``, ``name``, ``type`` (``"CONVOLUTION"``), ``inputs`` (names),
    ``outputs`` (``name``, ``dtype`` such as ``"FLOAT"``, ``shape``, −1 where free), and of a
    constant ``amax`` and, where they are few, ``values``. ``inputs``, ``outputs``: names of the
    network's.
    """
    with state.ear.listening() as heard:
        network = parsed(state, arrays, typed=False, heard=heard)
    layers = [_layer(state, network, at) for at in range(network.num_layers)]
    return {
        "layers": layers,
        "inputs": [network.get_input(at).name for at in range(network.num_inputs)],
        "outputs": [network.get_output(at).name for at in range(network.num_outputs)],
        "warnings": list(dict.fromkeys(heard.warnings)),
    }, {}


def _layer(state: State, network: Any, at: int) -> dict[str, Any]:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    layer = network.get_layer(at)
    inputs = (layer.get_input(number) for number in range(layer.num_inputs))
    outputs = (layer.get_output(number) for number in range(layer.num_outputs))
    told: dict[str, Any] = {
        "index": at,
        "name": layer.name,
        "type": layer.type.name,
        "inputs": [None if tensor is None else tensor.name for tensor in inputs],
        "outputs": [
            {"name": each.name, "dtype": each.dtype.name, "shape": _shape(each)}
            for each in outputs
            if each is not None
        ],
    }
    if layer.type == trt.LayerType.CONSTANT:
        # The network hands out base classes; the object behind is what its type says.
        layer.__class__ = trt.IConstantLayer
        told.update(_constant(np.asarray(layer.weights)))
    return told


def _constant(values: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"amax": float(np.abs(values.astype(np.float64)).max(initial=0))}
    if values.size <= SMALL:
        told["values"] = values.reshape(-1).tolist()
    return told


def _shape(tensor: Any) -> list[int]:
    try:
        return [int(size) for size in tensor.shape]
    except ValueError:  # a shape that isn't known has a negative length
        return []
