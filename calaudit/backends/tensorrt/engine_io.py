"""Inputs and outputs of an engine, asked of the engine itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.errors import BackendError

_DTYPES: Final[Mapping[str, str]] = {
    "FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's element types that numpy has."""


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """One input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Batch axis included; −1 where the size is free or unknown."""
    largest: tuple[int, ...]
    """Inputs: the largest shape the profile allows; outputs: the same as `shape`."""


def describe_io(
    found: TensorrtModule, engine: Any, label: str
) -> tuple[dict[str, EngineTensor], dict[str, EngineTensor]]:
    """Inputs and outputs by name, in the engine's order.

    Raises
    ------
    BackendError
        A tensor has a type that numpy lacks, or an input whose values set shapes.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    inputs: dict[str, EngineTensor] = {}
    outputs: dict[str, EngineTensor] = {}
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise BackendError(
                f"{name} is {kind}, a type numpy doesn't have",
                where=label,
                next_step="Cast the model's inputs and outputs to float32 or float16.",
            )
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise BackendError(
                f"the values of {name} set shapes, so it stays on the host",
                where=label,
                next_step="Export the model without inputs that are shapes.",
            )
        shape = tuple(engine.get_tensor_shape(name))
        entering = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        largest = shape
        if entering and -1 in shape:
            largest = tuple(engine.get_tensor_profile_shape(name, 0)[2])
        made = EngineTensor(name, np.dtype(_DTYPES[kind]), shape, largest)
        (inputs if entering else outputs)[name] = made
    return inputs, outputs
