"""The runner: a deserialized engine that takes host arrays and gives host arrays."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.cuda import Cuda
from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.backends.tensorrt.pipeline import EngineTensor, EnqueueError, Pipeline
from calaudit.backends.tensorrt.watching import listening
from calaudit.runtime.errors import BackendError, near

if TYPE_CHECKING:
    from calaudit.formats.engine import EngineFacts
    from calaudit.graph.model import Model, ModelTensor

Array = NDArray[Any]

_DTYPES: Final[Mapping[str, str]] = {
    "FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's element types that numpy has."""

_MEMORY = "Free memory on the GPU, or lower batch_size."


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


class TensorrtEngine:
    """One engine with its execution context and buffers.

    Parameters
    ----------
    found : TensorrtModule
        The library that built the engine.
    cuda : Cuda
        The GPU it runs on.
    engine : ICudaEngine
        As deserialized.
    model : Model
        The graph it was built from: names and order of inputs and outputs.
    record : mapping
        What identifies it in a report.
    """

    def __init__(
        self,
        found: TensorrtModule,
        cuda: Cuda,
        engine: Any,
        model: "Model",
        record: Mapping[str, str],
    ) -> None:
        self._found = found
        self._cuda = cuda
        self._engine = engine
        self._label = model.label
        self._record = dict(record)
        self._inputs = model.inputs
        self._names = tuple(output.name for output in model.outputs)
        with cuda.current():
            self._specs, outputs = describe_io(found, engine, model.label)
            self._context = _make_context(found, engine, model.label)
            self._pipeline = Pipeline(found, cuda, self._context, self._specs, outputs)
        cuda.close_at_exit(self)

    @property
    def inputs(self) -> "tuple[ModelTensor, ...]":
        """What must be fed."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `run` returns."""
        return self._names

    @property
    def record(self) -> Mapping[str, str]:
        """Library, GPU and precision."""
        return self._record

    @property
    def handles(self) -> tuple[Any, Any]:
        """``ICudaEngine`` and ``IExecutionContext``, for measurements beside `run`."""
        return self._engine, self._context

    def empty_feeds(self, n: int) -> dict[str, Array]:
        """Uninitialised input arrays for `n` rows in page-locked memory.

        `run` copies from any array, but from these without a detour, which is what bounds large
        batches.
        """
        with self._cuda.current():
            return {
                spec.name: self._cuda.pinned.empty((n, *spec.largest[1:]), spec.dtype)
                for spec in self._specs.values()
            }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch; see `calaudit.backends.base.Engine.run`.

        What is returned lies in page-locked memory, which is used again once nobody holds it.
        """
        if self._engine is None:
            raise self._failed("the engine was closed", "Load it again.")
        used = {spec.name: self._feed(spec, feeds) for spec in self._specs.values()}
        n, *others = {len(values) for values in used.values()}
        if others:
            raise self._failed(
                f"the inputs differ in their number of samples: {sorted([n, *others])}",
                "Feed the same samples to every input.",
            )
        with listening(self._found) as (_, heard), self._cuda.current():
            try:
                found = self._pipeline.run(used, n)
            except EnqueueError as error:
                raise self._failed(f"{error}: {heard.explain()}", _MEMORY) from None
        return {name: found[name] for name in self._names}

    def close(self) -> None:
        """Free everything on the GPU; the engine can't be run after."""
        with self._cuda.current():
            self._pipeline.close()
            self._context = self._engine = None

    def _feed(self, spec: EngineTensor, feeds: Mapping[str, Array]) -> Array:
        if spec.name not in feeds:
            raise BackendError(
                f"input {spec.name} wasn't fed",
                where=self._label,
                next_step=near(spec.name, feeds),
            )
        values = feeds[spec.name]
        if values.dtype != spec.dtype or not _fits(values.shape, spec):
            raise self._failed(
                f"input {spec.name} is {values.dtype} {list(values.shape)}, the engine takes "
                f"{spec.dtype} {list(spec.shape)}",
                "Check the inputs' shapes and types.",
            )
        return values

    def _failed(self, why: str, next_step: str) -> BackendError:
        return BackendError(f"the run failed: {why}", where=self._label, next_step=next_step)


def _fits(shape: tuple[int, ...], spec: EngineTensor) -> bool:
    return len(shape) == len(spec.shape) and all(
        size in {-1, given} for size, given in zip(spec.shape[1:], shape[1:], strict=True)
    )


def _make_context(found: TensorrtModule, engine: Any, label: str) -> Any:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    with listening(found) as (_, heard):
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # RTX would otherwise exchange kernels in the middle of a run, and round differently.
            config = engine.create_runtime_config()
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
    if context is None:
        raise BackendError(
            f"{found.title} can't make an execution context: {heard.explain()}",
            where=label,
            next_step=_MEMORY,
        )
    return context


def deserialize(
    found: TensorrtModule, cuda: Cuda, plan: bytes, label: str, facts: "EngineFacts | None"
) -> Any:
    """The ``ICudaEngine`` of a plan.

    Raises
    ------
    BackendError
        TensorRT gave none. It never says why by itself: the message compares what the engine is
        bound to with what is here, and quotes TensorRT's log.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    with listening(found) as (logger, heard), cuda.current():
        engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is not None:
        return engine
    raise BackendError(
        f"{found.title} can't load the engine: {_mismatch(found, cuda, facts)}{heard.explain()}",
        where=label,
        next_step="Build it on this machine, with this TensorRT; delete a file that was cut off.",
    )


def _mismatch(found: TensorrtModule, cuda: Cuda, facts: "EngineFacts | None") -> str:
    if facts is None:
        return ""
    bound = []
    if (facts.library, facts.version) != (found.library, found.version):
        bound.append(f"{facts.library} {facts.version} built it, this is {found.title}")
    if facts.compute_capability not in {None, cuda.gpu.compute_capability}:
        gpu = facts.gpu or "a GPU"
        bound.append(
            f"it was built for {gpu} of compute capability {facts.compute_capability}, this is "
            f"{cuda.gpu}"
        )
    return "".join(f"{reason}; " for reason in bound)
