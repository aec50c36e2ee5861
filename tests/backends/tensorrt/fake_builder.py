"""A FAKE of TensorRT's builder, parser and network, around NVIDIA's real bindings.

It can't build anything. It treats a calibrator as TensorRT's builder does, in the documented order
and through the virtual table of the real base classes: batch size, cache, batches until the end,
new cache. What it saw is kept.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calaudit.backends.tensorrt.detect import TensorrtModule, find_tensorrt
from tests.backends.tensorrt.virtual_table import CppCalls

HEADERS = {
    "ENTROPY_CALIBRATION_2": "EntropyCalibration2",
    "MINMAX_CALIBRATION": "MinMaxCalibration",
}
ENGINE = b"an engine"


@dataclass
class Behaviour:
    """How this TensorRT behaves, and what it saw."""

    names: Sequence[str] | None = None
    """Inputs in the order it asks for them; None: the network's."""
    stop_after: int | None = None
    """Batches after which it stops asking."""
    takes_caches: bool = True
    calibrates: bool = True
    builds: bool = True
    clips: float = 1.0
    """What its ranges are, as a share of the largest magnitude it was served."""
    half_inputs: bool = False
    """The network's float inputs are FP16."""
    work: Callable[[int, dict[str, NDArray[Any]]], None] = lambda number, batch: None
    """What it does with a batch while it lies in its buffers."""
    after_the_end: int = 0
    """Times it asks again after the last batch."""

    calls: list[str] = field(default_factory=list)
    batches: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    algorithm: str = ""
    calibrated_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    offered: bytes | None = None
    """The cache that it was given to read."""
    written: bytes | None = None


class _Network:
    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.layers: list[Any] = []

    num_inputs = property(lambda self: len(self.inputs))
    num_layers = property(lambda self: len(self.layers))

    def get_input(self, at: int) -> Any:
        return self.inputs[at]

    def get_layer(self, at: int) -> Any:
        return self.layers[at]


class _Profile:
    def __init__(self) -> None:
        self.opt: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, smallest: Any, opt: Any, largest: Any) -> None:
        assert tuple(smallest) <= tuple(opt) <= tuple(largest)
        self.opt[name] = tuple(opt)


class _Config:
    def __init__(self) -> None:
        self.flags: set[str] = {"TF32"}
        self.calibration_profile: _Profile | None = None
        self.profiles: list[_Profile] = []
        self.int8_calibrator: Any = None

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_calibration_profile(self, profile: _Profile) -> bool:
        self.calibration_profile = profile
        return True


def fake_tensorrt(behaviour: Behaviour) -> TensorrtModule:
    """The real bindings, with a builder that only calibrates."""
    found = find_tensorrt("tensorrt")
    assert isinstance(found, TensorrtModule), found
    real = found.module

    class Parser:
        num_errors = 0

        def __init__(self, network: _Network, logger: Any) -> None:
            self._network = network

        def parse(self, content: bytes) -> bool:
            graph = onnx.ModelProto.FromString(content).graph
            self._network.inputs = [_tensor(real, value, behaviour) for value in graph.input]
            kinds = {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE"}
            self._network.layers = [
                SimpleNamespace(
                    name=node.name,
                    type=getattr(real.LayerType, kinds.get(node.op_type, "SHUFFLE")),
                )
                for node in graph.node
            ]
            return True

    class Builder:
        def __init__(self, logger: Any) -> None:
            pass

        def create_network(self, flags: int) -> _Network:
            assert flags == 1 << int(real.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
            return _Network()

        def create_builder_config(self) -> _Config:
            return _Config()

        def create_optimization_profile(self) -> _Profile:
            return _Profile()

        def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
            assert config.flags == {"INT8"}
            if behaviour.calibrates:
                _calibrate(behaviour, network, config, found)
            return ENGINE if behaviour.builds else None

    module = ModuleType("a_fake_tensorrt")
    module.__dict__.update(real.__dict__)
    module.__dict__.update(Builder=Builder, OnnxParser=Parser)
    return replace(found, module=module)


def _tensor(trt: Any, value: onnx.ValueInfoProto, behaviour: Behaviour) -> Any:
    kinds = {
        onnx.TensorProto.FLOAT: trt.DataType.HALF if behaviour.half_inputs else trt.DataType.FLOAT,
        onnx.TensorProto.INT64: trt.DataType.INT64,
        onnx.TensorProto.INT32: trt.DataType.INT32,
        onnx.TensorProto.BOOL: trt.DataType.BOOL,
    }
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return SimpleNamespace(name=value.name, dtype=kinds[kind.elem_type], shape=shape)


def _calibrate(
    behaviour: Behaviour, network: _Network, config: _Config, found: TensorrtModule
) -> None:
    """What happens between TensorRT and a calibrator during a build."""
    trt = found.module
    cpp = CppCalls(config.int8_calibrator)
    behaviour.calls.append(f"get_batch_size {cpp.get_batch_size()}")
    behaviour.algorithm = trt.CalibrationAlgoType(cpp.get_algorithm()).name
    major, minor, patch = map(int, found.version.split(".")[:3])
    header = f"TRT-{major * 10_000 + minor * 100 + patch}-{HEADERS[behaviour.algorithm]}\n".encode()
    cache = behaviour.offered = cpp.read_cache()
    behaviour.calls.append(f"read_cache {None if cache is None else len(cache)}")
    if cache is not None and cache.startswith(header) and behaviour.takes_caches:
        return
    opt = config.calibration_profile.opt if config.calibration_profile else {}
    tensors = {tensor.name: tensor for tensor in network.inputs}
    shapes = {name: opt.get(name, tensor.shape) for name, tensor in tensors.items()}
    behaviour.calibrated_shapes = shapes
    names = list(behaviour.names or tensors)
    while behaviour.stop_after is None or len(behaviour.batches) < behaviour.stop_after:
        addresses = cpp.get_batch(names)
        if addresses is None:
            behaviour.calls.append("get_batch end")
            break
        behaviour.calls.append("get_batch")
        lying = {
            name: _array_at(address, shapes[name], _element(trt, tensors[name].dtype))
            for name, address in zip(names, addresses, strict=True)
        }
        behaviour.work(len(behaviour.batches), lying)
        behaviour.batches.append({name: array.copy() for name, array in lying.items()})
    for _ in range(behaviour.after_the_end):
        assert cpp.get_batch(names) is None
    floats = [
        name
        for name in tensors
        if behaviour.batches and behaviour.batches[0][name].dtype.kind == "f"
    ]
    lines = [f"{name}: {_hex(_scale(behaviour, name))}\n" for name in floats]
    behaviour.written = header + "".join(lines).encode()
    behaviour.calls.append("write_cache")
    cpp.write_cache(behaviour.written)


def _scale(behaviour: Behaviour, name: str) -> np.float32:
    amax = max(np.abs(batch[name]).max() for batch in behaviour.batches)
    return np.float32(behaviour.clips * amax) / np.float32(127)


def _hex(scale: np.float32) -> str:
    return f"{int(scale.view(np.uint32)):x}"


def _element(trt: Any, dtype: Any) -> np.dtype[Any]:
    """TensorRT reads calibration buffers of float inputs as float32, whatever the input is."""
    floats = dtype in {trt.DataType.FLOAT, trt.DataType.HALF}
    return np.dtype(np.float32 if floats else trt.nptype(dtype))


def _array_at(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    memory = (ctypes.c_char * n_bytes).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)
