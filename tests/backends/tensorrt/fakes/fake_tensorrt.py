"""A FAKE of TensorRT: parser, builder, runtime and context that keep to its calls.

Around NVIDIA's real bindings where they can be imported (as ``tensorrt_bindings``): calibrators are
then called through the virtual table of the real base classes. Else around stand-ins that look like
8.5: calibrators, no strongly typed networks, no progress monitor.

Models: ONNX, run by onnxruntime; or JSON such as ``{"x": [4]}``, input → shape of a sample, whose
output ``y`` is twice its first input.
"""

import ctypes
import enum
import importlib
import json
import os
import signal
import time
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

HEADERS = {
    "ENTROPY_CALIBRATION_2": "EntropyCalibration2",
    "MINMAX_CALIBRATION": "MinMaxCalibration",
}
TIMES = b"fake kernel timings "
OVERRIDE = "NVIDIA_TF32_OVERRIDE"


@dataclass
class Behaviour:
    """How this TensorRT behaves, and what it saw."""

    ends: str = ""
    """How a build or run ends: ``"killed"``, ``"aborts"``, ``"hangs"``, ``"exhausted"``,
    ``"cut"``: the connection by SSH."""
    ends_in: str = "build"
    """Where: ``"build"``, ``"batch"`` (asking for one), ``"load"`` or ``"run"``."""
    ends_after: int = 0
    """Builds, loads or runs that go well before."""
    once: str = ""
    """A file: it ends so only while this isn't there, and makes it."""
    slow: float = 0.0
    """Seconds that a build takes."""
    talks: bool = False
    """Whether it says something all the while."""
    stands_in: bool = False
    """Whether stand-ins are taken though the real bindings are there."""
    names: Optional[List[str]] = None
    """Inputs in the order it asks for them; None: the network's."""
    stop_after: Optional[int] = None
    """Batches after which it stops asking."""
    takes_caches: bool = True
    calibrates: bool = True
    builds: bool = True
    clips: float = 1.0
    """What its ranges are, as a share of the largest magnitude it was served."""
    half_inputs: bool = False
    """The network's float inputs are FP16."""
    after_the_end: int = 0
    """Times it asks again after the last batch."""
    gpus: int = 1
    gpu_bytes: int = 2**34
    registers: bool = True
    inspects: bool = True
    binds: bool = True
    """Whether a builder flag makes layers' precisions binding."""
    shares: bool = True
    """Whether an engine may have a second context of one profile, as from 8.6 on."""
    weighs: bool = False
    """Whether an engine takes as much of the GPU's memory as its plan has bytes."""
    stats: bool = False
    """Whether an engine tells what its weights take, as from 10 on."""
    activations: int = 4096
    """Bytes that a context is said to take."""
    levels: bool = True
    """Whether there are optimization levels, as from 8.6 on."""
    work: Callable[[int, Dict[str, Any]], None] = lambda number, batch: None
    """What it does with a batch while it lies in its buffers."""

    calls: List[str] = field(default_factory=list)
    batches: List[Dict[str, Any]] = field(default_factory=list)
    algorithm: str = ""
    calibrated_shapes: Dict[str, Tuple[int, ...]] = field(default_factory=dict)
    offered: Optional[bytes] = None
    """The cache that it was given to read."""
    written: Optional[bytes] = None
    flags: List[str] = field(default_factory=list)
    """Of the latest build."""
    held: List[str] = field(default_factory=list)
    """Layers of the latest build that were held to float, precision and outputs alike."""

    def end(self, where: str, logger: Any, severity: Any) -> bool:
        """End as is wanted here; True when there is no memory."""
        if where != self.ends_in or not self.ends or (self.once and os.path.exists(self.once)):
            return False
        self.ends_after -= 1
        if self.ends_after >= 0:
            return False
        if self.once:
            open(self.once, "w").close()
        logger.log(severity.ERROR, f"these are the last words in {where}")
        if self.ends == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.ends == "cut":
            os.kill(_sshd(os.getpid()), signal.SIGKILL)
            time.sleep(600)
        if self.ends == "aborts":
            os.abort()
        if self.ends == "hangs":
            time.sleep(600)
        return self.ends == "exhausted"


def _sshd(pid: int) -> int:
    """The ancestor of a process that holds its connection."""
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
        if name.startswith("sshd"):
            return pid
        pid = int(rest.split()[1])
    raise RuntimeError("this isn't run by SSH")


def _stand_ins() -> Dict[str, Any]:
    def kind(name: str, members: str) -> Any:
        return enum.IntEnum(name, {each: at for at, each in enumerate(members.split())})

    class Logger:
        Severity = kind("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")

    class PlainLogger(Logger):
        WARNING = Logger.Severity.WARNING

        def __init__(self, least: Any) -> None:
            self.least = least

        def log(self, severity: Any, text: str) -> None:
            pass

    class Calibrator:
        pass

    class EntropyCalibrator(Calibrator):
        algorithm = 2

    class MinMaxCalibrator(Calibrator):
        algorithm = 3

    numpys = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "INT32": "i4", "BOOL": "?"}

    class Profiler:
        pass

    return {
        "IProfiler": Profiler,
        "__version__": "8.5.3.1",
        "ILogger": Logger,
        "Logger": PlainLogger,
        "IInt8EntropyCalibrator2": EntropyCalibrator,
        "IInt8MinMaxCalibrator": MinMaxCalibrator,
        "IOutputAllocator": type("IOutputAllocator", (), {}),
        "CalibrationAlgoType": enum.IntEnum(
            "CalibrationAlgoType", {"ENTROPY_CALIBRATION_2": 2, "MINMAX_CALIBRATION": 3}
        ),
        "DataType": kind("DataType", "FLOAT HALF INT8 INT32 BOOL"),
        "BuilderFlag": kind(
            "BuilderFlag", "FP16 INT8 TF32 SPARSE_WEIGHTS OBEY_PRECISION_CONSTRAINTS"
        ),
        "NetworkDefinitionCreationFlag": kind("Flag", "EXPLICIT_BATCH"),
        "ProfilingVerbosity": kind("ProfilingVerbosity", "NONE DETAILED"),
        "TacticSource": kind(
            "TacticSource", "CUBLAS CUBLAS_LT CUDNN EDGE_MASK_CONVOLUTIONS JIT_CONVOLUTIONS"
        ),
        "LayerType": kind(
            "LayerType",
            "CONSTANT ELEMENTWISE QUANTIZE DEQUANTIZE CONVOLUTION MATRIX_MULTIPLY SCALE ACTIVATION",
        ),
        "TensorIOMode": kind("TensorIOMode", "NONE INPUT OUTPUT"),
        "TensorLocation": kind("TensorLocation", "DEVICE HOST"),
        "LayerInformationFormat": kind("LayerInformationFormat", "ONELINE JSON"),
        "nptype": lambda dtype: np.dtype(numpys[dtype.name]).type,
    }


def make_module(behaviour: Behaviour) -> ModuleType:
    """The bindings, with builder, parser and runtime that play a part."""
    try:
        if behaviour.stands_in:
            raise ImportError
        names = dict(importlib.import_module("tensorrt_bindings").__dict__)
        if "ILogger" not in names:  # a folder of stubs
            raise ImportError
    except ImportError:
        names = _stand_ins()
    if not behaviour.binds:
        flags = [name for name in names["BuilderFlag"].__members__ if "PRECISION" not in name]
        names["BuilderFlag"] = enum.IntEnum("BuilderFlag", {n: at for at, n in enumerate(flags)})
    module = ModuleType("a_fake_tensorrt")
    module.__dict__.update({k: v for k, v in names.items() if k not in {"__name__", "__spec__"}})
    _add(module, behaviour)
    return module


def _add(trt: Any, behaviour: Behaviour) -> None:
    severity = trt.ILogger.Severity

    class IBuilderConfig:
        int8_calibrator = None
        logger: Any = None
        if behaviour.levels:
            builder_optimization_level = 3
        if hasattr(trt, "IProgressMonitor"):
            progress_monitor = None

        def __init__(self) -> None:
            self.flags = {"TF32"}
            self.calibrated: Optional[Dict[str, Any]] = None
            self.profiles: List[Dict[str, Any]] = []
            self._times: Any = None
            self.took_times = False
            self.tactics: Optional[int] = None

        def set_flag(self, flag: Any) -> None:
            self.flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self.flags.discard(flag.name)

        def set_tactic_sources(self, sources: int) -> bool:
            self.tactics = sources
            return True

        def add_optimization_profile(self, profile: Any) -> int:
            self.profiles.append(profile.shapes)
            return len(self.profiles) - 1

        def set_calibration_profile(self, profile: Any) -> bool:
            self.calibrated = {name: opt for name, (_, opt, _) in profile.shapes.items()}
            return True

        def create_timing_cache(self, content: bytes) -> Any:
            if content and not content.startswith(TIMES):
                return None
            self.took_times = bool(content)
            if content:  # 8.5 complains of its own caches, and uses them
                self.logger.log(severity.ERROR, "4: The timing cache will not be used!")
            return SimpleNamespace(content=content or TIMES)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self._times = cache
            return True

        def get_timing_cache(self) -> Any:
            return SimpleNamespace(serialize=lambda: self._times.content + b"+1")

    class Profile:
        def __init__(self) -> None:
            self.shapes: Dict[str, Any] = {}

        def set_shape(self, name: str, smallest: Any, opt: Any, largest: Any) -> None:
            assert tuple(smallest) <= tuple(opt) <= tuple(largest)
            self.shapes[name] = tuple(map(tuple, (smallest, opt, largest)))

    class Parser:
        num_errors = 0

        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network
            self._errors: List[str] = []

        def parse(self, content: bytes) -> bool:
            try:
                self._network.read(content)
            except ValueError as error:
                self._errors = [str(error)]
                self.num_errors = 1
            return not self._errors

        def parse_from_file(self, path: str) -> bool:
            with open(path, "rb") as file:
                return self.parse(file.read())

        def get_error(self, at: int) -> Any:
            return SimpleNamespace(desc=lambda: self._errors[at])

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int) -> Any:
            return _Network(trt, behaviour)

        def create_builder_config(self) -> Any:
            config = IBuilderConfig()
            config.logger = self._logger
            return config

        def create_optimization_profile(self) -> Any:
            return Profile()

        def build_serialized_network(self, network: Any, config: Any) -> Optional[bytes]:
            behaviour.calls.append("build")
            behaviour.flags = sorted(config.flags)
            behaviour.held = [each.name for each in network.layers if each.is_float(trt)]
            if behaviour.end("build", self._logger, severity):
                self._logger.log(severity.ERROR, "Requested size was 1 GiB: out of memory")
                return None
            self._logger.log(severity.VERBOSE, "Timing kernels")
            monitor = getattr(config, "progress_monitor", None)
            say = self._logger if behaviour.talks else None
            if not _phases(monitor, behaviour.slow, say, severity):
                return None
            if config.int8_calibrator is not None and behaviour.calibrates:
                _calibrate(behaviour, network, config, trt, self._logger)
            if not behaviour.builds:
                return None
            int8 = config.int8_calibrator is not None
            # TensorRT only prefers a layer's precision unless a flag binds it.
            binding = {"OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES"} & config.flags
            held = behaviour.held if binding else []
            profile = config.profiles[0] if config.profiles else {}
            level = getattr(config, "builder_optimization_level", None)
            head = {
                "profile": profile, "int8": int8, "held": held, "flags": behaviour.flags,
                "level": level, "timed": config.took_times, "tf32": os.environ.get(OVERRIDE),
            }  # fmt: skip
            return json.dumps(head).encode() + b"\n" + network.content

    class ICudaEngine:
        def __init__(self, plan: bytes) -> None:
            head, _, content = plan.partition(b"\n")
            self._told = json.loads(head.decode())
            self.network = _Network(trt, behaviour)
            self.network.read(content)
            self._tensors = {each.name: each for each in self.network.inputs}
            self._entering = set(self._tensors)
            self._tensors.update({each.name: each for each in self.network.outputs})
            self._contexts = 0
            if behaviour.weighs:
                self._weights = importlib.import_module("pycuda.driver").mem_alloc(len(plan))
            self.device_memory_size = behaviour.activations

        def get_engine_stat(self, stat: Any) -> int:
            return len(self.network.content)

        num_io_tensors = property(lambda self: len(self._tensors))

        def get_tensor_name(self, at: int) -> str:
            return list(self._tensors)[at]

        def get_tensor_dtype(self, name: str) -> Any:
            return self._tensors[name].dtype

        def get_tensor_location(self, name: str) -> Any:
            return trt.TensorLocation.DEVICE

        def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
            return self._tensors[name].shape

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if name in self._entering else trt.TensorIOMode.OUTPUT

        def get_tensor_profile_shape(self, name: str, number: int) -> Any:
            return self._told["profile"][name]

        def create_execution_context(self) -> Any:
            self._contexts += 1
            context = IExecutionContext(self)
            if self._contexts > 1 and not behaviour.shares:
                context.active_optimization_profile = -1
                told = "Could not set default profile 0 for execution context."
                _LOGGERS[-1].log(severity.WARNING, told)
            return context

        def create_engine_inspector(self) -> Any:
            return _Inspector(self.network, self._told, behaviour)

    class IExecutionContext:
        def __init__(self, engine: Any) -> None:
            self._network = engine.network
            self._shapes: Dict[str, Tuple[int, ...]] = {}
            self._addresses: Dict[str, int] = {}
            self._allocators: Dict[str, Any] = {}
            self.ran = False
            self.profiler: Any = None
            self.active_optimization_profile = 0

        def set_input_shape(self, name: str, shape: Tuple[int, ...]) -> bool:
            self._shapes[name] = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
            n = next(iter(self._shapes.values()))[0]
            (shape,) = [each.shape for each in self._network.outputs if each.name == name]
            return (n, *shape[1:]) if shape and shape[0] == -1 else shape

        def set_tensor_address(self, name: str, address: int) -> bool:
            assert address % 256 == 0
            self._addresses[name] = address
            return True

        def set_output_allocator(self, name: str, allocator: Any) -> bool:
            self._allocators[name] = allocator
            return True

        def execute_async_v3(self, handle: int) -> bool:
            if self.active_optimization_profile < 0:
                _LOGGERS[-1].log(severity.ERROR, "Assertion mOptimizationProfile >= 0 failed.")
                return False
            if behaviour.end("run", _LOGGERS[-1], severity):
                raise importlib.import_module("pycuda.driver").MemoryError("cuMemAlloc failed")
            feeds = {
                each.name: _array_at(
                    self._addresses[each.name], self._shapes[each.name], _numpy(trt, each.dtype)
                )
                for each in self._network.inputs
            }
            started = time.perf_counter()
            found = self._network.compute(feeds)
            if self.profiler is not None:
                self._report(time.perf_counter() - started)
            for name, values in found.items():
                if name in self._allocators:
                    allocator = self._allocators[name]
                    address = allocator.reallocate_output(name, 0, max(1, values.nbytes), 256)
                    allocator.notify_shape(name, values.shape)
                else:
                    address = self._addresses[name]
                ctypes.memmove(address, np.ascontiguousarray(values).ctypes.data, values.nbytes)
            self.ran = True
            return True

        def _report(self, seconds: float) -> None:
            """Each layer takes as long as its place: the second twice the first's time."""
            layers = [each.name for each in self._network.layers] or ["all"]
            whole = sum(range(1, len(layers) + 1))
            for place, name in enumerate(layers, 1):
                self.profiler.report_layer_time(name, 1e3 * seconds * place / whole)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger
            _LOGGERS.append(logger)

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if behaviour.end("load", self._logger, severity):
                self._logger.log(severity.ERROR, "OutOfMemory (no further information)")
                return None
            try:
                return ICudaEngine(plan)
            except ValueError:
                self._logger.log(severity.ERROR, "Serialization assertion failed: a fake magic tag")
                return None

    if behaviour.stats:
        trt.EngineStat = enum.IntEnum("EngineStat", {"TOTAL_WEIGHTS_SIZE": 0})
    elif hasattr(trt, "EngineStat"):
        del trt.EngineStat
    trt.__dict__.update(
        Builder=Builder, OnnxParser=Parser, Runtime=Runtime, IBuilderConfig=IBuilderConfig,
        ICudaEngine=ICudaEngine, IExecutionContext=IExecutionContext,
    )  # fmt: skip


_LOGGERS: List[Any] = []


class _Network:
    def __init__(self, trt: Any, behaviour: Behaviour) -> None:
        self._trt, self._behaviour = trt, behaviour
        self.inputs: List[Any] = []
        self.outputs: List[Any] = []
        self.layers: List[Any] = []
        self.content = b""
        self._session: Any = None

    num_inputs = property(lambda self: len(self.inputs))
    num_layers = property(lambda self: len(self.layers))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, at: int) -> Any:
        return self.inputs[at]

    def get_output(self, at: int) -> Any:
        return self.outputs[at]

    def get_layer(self, at: int) -> Any:
        return self.layers[at]

    def read(self, content: bytes) -> None:
        self.content = content
        if not content.startswith(b"{"):
            self._read_onnx(content)
            return
        kind = self._trt.DataType.FLOAT
        shapes = {name: (-1, *shape) for name, shape in json.loads(content.decode()).items()}
        self.inputs = [SimpleNamespace(name=k, dtype=kind, shape=v) for k, v in shapes.items()]
        first = next(iter(shapes.values()))
        self.outputs = [SimpleNamespace(name="y", dtype=kind, shape=first)]

    def _read_onnx(self, content: bytes) -> None:
        onnx = importlib.import_module("onnx")
        trt, half = self._trt, self._behaviour.half_inputs
        try:
            model = onnx.ModelProto.FromString(content)
        except Exception as error:
            raise ValueError("no model") from error
        self.graph = model.graph
        for node in self.graph.node:
            if node.domain not in {"", "ai.onnx"}:
                raise ValueError(f"no importer registered for op: {node.op_type}")
        self.inputs = [_tensor(trt, value, half) for value in self.graph.input]
        self.outputs = [_tensor(trt, value, False) for value in self.graph.output]
        kinds = {
            "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Conv": "CONVOLUTION",
            "Gemm": "MATRIX_MULTIPLY", "MatMul": "MATRIX_MULTIPLY", "BatchNormalization": "SCALE",
            "Tanh": "ACTIVATION",
        }  # fmt: skip
        self.layers = [
            _Layer(node, getattr(trt.LayerType, kinds.get(node.op_type, "ELEMENTWISE")), trt)
            for node in self.graph.node
        ]

    def compute(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        if self.content.startswith(b"{"):
            return {"y": 2 * next(iter(feeds.values()))}
        if self._session is None:
            ort = importlib.import_module("onnxruntime")
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session = ort.InferenceSession(self.content, options)
        wanted = {each.name: each.type for each in self._session.get_inputs()}
        cast = {
            name: values.astype(np.int64) if "int64" in wanted[name] else values
            for name, values in feeds.items()
        }
        names = [each.name for each in self.outputs]
        found = dict(zip(names, self._session.run(names, cast)))
        return {
            each.name: found[each.name].astype(_numpy(self._trt, each.dtype))
            for each in self.outputs
        }


class _Layer:
    precision: Any = None

    def __init__(self, node: Any, kind: Any, trt: Any) -> None:
        self.name, self.type = node.name, kind
        self._types: Dict[int, Any] = {}
        self._inputs = [SimpleNamespace(name=name) for name in node.input]
        self._outputs = [
            SimpleNamespace(name=name, dtype=trt.DataType.FLOAT, shape=(-1,))
            for name in node.output
        ]

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, at: int) -> Any:
        return self._inputs[at]

    def get_output(self, at: int) -> Any:
        return self._outputs[at]

    def set_output_type(self, at: int, dtype: Any) -> None:
        assert at < self.num_outputs
        self._types[at] = dtype

    def is_float(self, trt: Any) -> bool:
        kinds = [self.precision, *(self._types.get(at) for at in range(self.num_outputs))]
        return all(each == trt.DataType.FLOAT for each in kinds)


class _Inspector:
    execution_context: Any = None

    def __init__(self, network: Any, told: Dict[str, Any], behaviour: Behaviour) -> None:
        self._network, self._told, self._behaviour = network, told, behaviour

    def get_engine_information(self, kind: Any) -> str:
        graph = getattr(self._network, "graph", None)
        if graph is None or not self._behaviour.inspects:
            return json.dumps({"Layers": []})
        rounded = {out for n in graph.node if n.op_type == "DequantizeLinear" for out in n.output}
        layers = []
        for node in graph.node:
            if node.op_type not in {"Conv", "Gemm", "MatMul"}:
                continue
            context = self.execution_context
            known = context is not None and context.ran
            implicit = self._told["int8"] and node.name not in self._told["held"]
            int8 = known and (implicit or all(name in rounded for name in node.input[:2]))
            dtype = "Int8" if int8 else "FP32" if known else "N/A due to dynamic shapes"
            operand = {"Name": "x", "Dimensions": [64], "Format/Datatype": dtype}
            layers.append({
                "Name": node.name, "LayerType": "CaskConvolution", "Inputs": [operand],
                "Outputs": [operand], "Weights": {"Type": dtype, "Count": 64},
                "Metadata": f"[ONNX Layer: {node.name}]",
            })  # fmt: skip
        return json.dumps({"Layers": layers, "Bindings": []})


def _phases(monitor: Any, seconds: float, logger: Any, severity: Any) -> bool:
    """A build's phases; False when it is cancelled."""
    end = time.monotonic() + seconds
    if monitor is None:
        while time.monotonic() < end:
            time.sleep(0.01)
            if logger is not None:
                logger.log(severity.VERBOSE, "still at work")
        return True
    monitor.phase_start("Building Engine", None, 3)
    wanted = True
    for step in range(3):
        time.sleep(seconds / 3)
        wanted = wanted and bool(monitor.step_complete("Building Engine", step))
    monitor.phase_finish("Building Engine")
    return wanted


class _PythonCalls:
    """A calibrator that has no C++ side."""

    def __init__(self, calibrator: Any) -> None:
        self._of = calibrator
        self.get_batch_size = calibrator.get_batch_size
        self.read_cache = calibrator.read_calibration_cache
        self.write_cache = calibrator.write_calibration_cache

    def get_batch(self, names: List[str]) -> Any:
        return self._of.get_batch(names) or None

    def get_algorithm(self) -> int:
        return int(self._of.algorithm)


def _calls(calibrator: Any) -> Any:
    if hasattr(calibrator, "algorithm"):
        return _PythonCalls(calibrator)
    return importlib.import_module("tests.backends.tensorrt.virtual_table").CppCalls(calibrator)


def _calibrate(behaviour: Behaviour, network: Any, config: Any, trt: Any, logger: Any) -> None:
    """What happens between TensorRT and a calibrator during a build."""
    cpp = _calls(config.int8_calibrator)
    behaviour.calls.append(f"get_batch_size {cpp.get_batch_size()}")
    behaviour.algorithm = trt.CalibrationAlgoType(cpp.get_algorithm()).name
    major, minor, patch = map(int, trt.__version__.split(".")[:3])
    number = major * 10_000 + minor * 100 + patch if major >= 10 else 8000 + minor * 100 + patch
    header = f"TRT-{number}-{HEADERS[behaviour.algorithm]}\n".encode()
    cache = behaviour.offered = cpp.read_cache()
    behaviour.calls.append(f"read_cache {None if cache is None else len(cache)}")
    if cache is not None and cache.startswith(header) and behaviour.takes_caches:
        return
    opt = config.calibrated or {}
    tensors = {tensor.name: tensor for tensor in network.inputs}
    shapes = {name: opt.get(name, tensor.shape) for name, tensor in tensors.items()}
    behaviour.calibrated_shapes = shapes
    names = list(behaviour.names or tensors)
    while behaviour.stop_after is None or len(behaviour.batches) < behaviour.stop_after:
        behaviour.end("batch", logger, trt.ILogger.Severity)
        addresses = cpp.get_batch(names)
        if addresses is None:
            behaviour.calls.append("get_batch end")
            break
        behaviour.calls.append("get_batch")
        assert len(addresses) == len(names)
        lying = {
            name: _array_at(address, shapes[name], _element(trt, tensors[name].dtype))
            for name, address in zip(names, addresses)
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


def _scale(behaviour: Behaviour, name: str) -> Any:
    amax = max(np.abs(batch[name]).max() for batch in behaviour.batches)
    return np.float32(behaviour.clips * amax) / np.float32(127)


def _hex(scale: Any) -> str:
    return f"{int(np.float32(scale).view(np.uint32)):x}"


def _element(trt: Any, dtype: Any) -> Any:
    """TensorRT reads calibration buffers of float inputs as float32, whatever the input is."""
    floats = dtype in {trt.DataType.FLOAT, trt.DataType.HALF}
    return np.dtype(np.float32) if floats else _numpy(trt, dtype)


def _numpy(trt: Any, dtype: Any) -> Any:
    return np.dtype(trt.nptype(dtype))


def _tensor(trt: Any, value: Any, half: bool) -> Any:
    kinds = {1: "HALF" if half else "FLOAT", 10: "HALF", 7: "INT64", 6: "INT32", 9: "BOOL"}
    name = kinds[value.type.tensor_type.elem_type]
    dtype = getattr(trt.DataType, name, trt.DataType.INT32)  # before 10 there is no INT64
    dims = value.type.tensor_type.shape.dim
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
    return SimpleNamespace(name=value.name, dtype=dtype, shape=shape)


def _array_at(address: int, shape: Tuple[int, ...], dtype: Any) -> Any:
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_char * n_bytes).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)
