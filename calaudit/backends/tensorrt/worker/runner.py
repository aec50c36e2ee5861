"""Engines that run: plans made ready, run on arrays of the host's, and asked what they run in."""

from __future__ import annotations

import gc
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MEMORY, RefusedError, says_out_of_memory
from .pipeline import EngineTensor, EnqueueError, Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .detect import TensorrtModule
    from .state import State
    from .watching import Heard

DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's element types that numpy has."""
_UNKNOWN = "dynamic shapes"
"""What the inspector says in place of a format: ``N/A due to dynamic shapes``."""
_numbers = itertools.count(1)


class Held:
    """One engine with an execution context."""

    def __init__(self, state: State, engine: Any) -> None:
        self.engine = engine
        self.inputs, self.outputs = describe_io(state.library, engine)
        self.context = make_context(state, engine)

    def close(self) -> None:
        """Free everything on the GPU."""
        del self.context, self.engine
        gc.collect()


class Loaded(Held):
    """One engine with its execution context and buffers."""

    def __init__(self, state: State, engine: Any) -> None:
        super().__init__(state, engine)
        self.pipeline = Pipeline(state, self.context, self.inputs, self.outputs)

    def run_zeros(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Run once on zeros, as far as TensorRT lets it; `shapes` are those of dynamic inputs."""
        feeds = {
            name: np.zeros(tuple(shapes.get(name, spec.shape)), spec.dtype)
            for name, spec in self.inputs.items()
        }
        n = min((len(values) for values in feeds.values() if values.ndim), default=1)
        with suppress(EnqueueError):
            self.pipeline.run(feeds, n, np.empty)

    def close(self) -> None:
        """Free everything on the GPU."""
        self.pipeline.close()
        del self.pipeline
        super().close()


def load(state: State, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a plan ready to run; gives its number and what it takes and gives."""
    plan = arrays["plan"].tobytes()
    _ = state.cuda  # with its context current from here on
    with state.ear.listening() as heard:
        loaded = Loaded(state, deserialized(state, plan, heard))
    number = next(_numbers)
    state.engines[number] = loaded
    return {
        "engine": number,
        "inputs": [_told(spec) for spec in loaded.inputs.values()],
        "outputs": [_told(spec) for spec in loaded.outputs.values()],
    }, {}


def deserialized(state: State, plan: bytes, heard: Heard) -> Any:
    """An ``ICudaEngine`` of a plan. Raises `RefusedError`."""
    engine = state.runtime.deserialize_cuda_engine(plan)
    if engine is None:
        why = heard.explain()
        if says_out_of_memory(why):
            raise _exhausted(state, f"{state.library.title} can't load the engine: {why}")
        raise RefusedError(why, kind="plan")
    if not state.library.abilities.runs:
        raise RefusedError(
            f"{state.library.title} lacks execute_async_v3: it is older than 8.5",
            "Install TensorRT 8.5 or later there.",
        )
    return engine


def share(
    state: State, arrays: dict[str, Any], *, engine: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Another context of a loaded engine; gives its number, None where it has no other one.

    Up to 8.5 contexts of an engine with free axes need a profile each: a second one is made
    without any, which a warning in the log tells, takes shapes, and fails when it runs.
    """
    of = state.engines[engine].engine
    with state.ear.listening() as heard:
        try:
            held = Held(state, of)
        except RefusedError:
            return {"engine": None}, {}
        alone = getattr(held.context, "active_optimization_profile", 0) < 0
        takes = not alone and all(
            held.context.set_input_shape(name, spec.largest) for name, spec in held.inputs.items()
        )
        if heard.errors or not takes:
            held.close()
            return {"engine": None}, {}
    number = next(_numbers)
    state.engines[number] = held
    return {"engine": number}, {}


def run(
    state: State, arrays: dict[str, Any], *, engine: int, n: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a batch of `n` rows."""
    loaded = loaded_engine(state, engine)
    with state.ear.listening() as heard:
        try:
            return {}, loaded.pipeline.run(arrays, n, state.line.arrays.empty)
        except EnqueueError as error:
            message = f"{error}: {heard.explain()}"
            if says_out_of_memory(message):
                raise _exhausted(state, message) from None
            raise RefusedError(message) from None


def inspect(
    state: State, arrays: dict[str, Any], *, engine: int, shapes: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The engine inspector's JSON under inputs of these shapes; None where it tells nothing.

    Without a context whose shapes are set, a dynamic engine's formats aren't known; 8.5 knows them
    once such inputs have run.
    """
    found = state.library
    if not found.abilities.inspector:
        return {"text": None}, {}
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    loaded = loaded_engine(state, engine)
    for name, shape in shapes.items():
        loaded.pipeline.bindings.shape(name, tuple(shape))
    inspector = loaded.engine.create_engine_inspector()
    if hasattr(inspector, "execution_context"):
        inspector.execution_context = loaded.context
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    if _UNKNOWN in text:
        with state.ear.listening():
            loaded.run_zeros(shapes)
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return {"text": text}, {}


def close(
    state: State, arrays: dict[str, Any], *, engine: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Free an engine."""
    state.engines.pop(engine).close()
    return {}, {}


def loaded_engine(state: State, number: int) -> Loaded:
    """An engine that runs what it is given, not one that is there to be measured alone."""
    found = state.engines[number]
    if not isinstance(found, Loaded):
        raise TypeError(f"engine {number} has no buffers")
    return found


def _told(spec: EngineTensor) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": spec.dtype.name,
        "shape": list(spec.shape),
        "largest": list(spec.largest),
        "smallest": list(spec.smallest),
    }


def describe_io(
    found: TensorrtModule, engine: Any
) -> tuple[dict[str, EngineTensor], dict[str, EngineTensor]]:
    """Inputs and outputs by name, in the engine's order.

    Raises
    ------
    RefusedError
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
        if kind not in DTYPES:
            raise RefusedError(
                f"{name} is {kind}, a type numpy doesn't have",
                "Cast the model's inputs and outputs to float32 or float16.",
            )
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise RefusedError(
                f"the values of {name} set shapes, so it stays on the host",
                "Export the model without inputs that are shapes.",
            )
        shape = tuple(engine.get_tensor_shape(name))
        entering = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        smallest = largest = shape
        if entering and -1 in shape:
            smallest, _, largest = map(tuple, engine.get_tensor_profile_shape(name, 0))
        made = EngineTensor(name, np.dtype(DTYPES[kind]), shape, largest, smallest)
        (inputs if entering else outputs)[name] = made
    return inputs, outputs


def make_context(state: State, engine: Any) -> Any:
    """An ``IExecutionContext``."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = state.library.module
    with state.ear.listening() as heard:
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # RTX would otherwise exchange kernels in the middle of a run, and round differently.
            config = engine.create_runtime_config()
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
    if context is None:
        why = f"{state.library.title} can't make an execution context: {heard.explain()}"
        raise _exhausted(state, why)
    return context


def _exhausted(state: State, message: str) -> RefusedError:
    return RefusedError(f"{message}{state.free_memory()}", MEMORY, kind="memory", fatal=True)
