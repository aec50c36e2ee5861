"""Sessions of onnxruntime on the CPU: models made to run, and run, the INT8 Q/DQ graph included."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from calaudit.backends.base import (
    Account,
    BuiltEngine,
    Capabilities,
    NodePrecision,
    Order,
    PrecisionProof,
)
from calaudit.backends.onnxruntime.kind import PREDICTED, GraphOptimization, Kernels
from calaudit.backends.onnxruntime.options import How
from calaudit.backends.timed import Block, Times, time_calls
from calaudit.calibration.scales import ScaleTable
from calaudit.graph.footprint import live_bytes
from calaudit.graph.implicit import implicit_graph
from calaudit.graph.model import MESSAGE, Model, ModelTensor, refer_from_one_folder, write_model
from calaudit.graph.names import all_graphs
from calaudit.graph.products import products
from calaudit.graph.rules import AS_ASKED
from calaudit.results.bench import EngineMemory, LayerTime
from calaudit.runtime.compiled import n_cores
from calaudit.runtime.errors import BackendError, near

_WEIGHTS_IN = "session.model_external_initializers_file_folder_path"

_CRASHES_ON_SUBGRAPHS = "FuseFp16InitializerToFp32NodeTransformer"
"""Widens FP16 weights ahead of the run. It ends the process (seen with 1.32) on a Scan of FP16
with state variables; without it weights are widened in each run, to the same values."""

_FAILURES = (
    state.EPFail, state.EngineError, state.Fail, state.InvalidArgument, state.InvalidGraph,
    state.InvalidProtobuf, state.NoModel, state.NoSuchFile, state.NotImplemented,
    state.RuntimeException,
)  # fmt: skip
_LARGE: Final = 1 << 20
"""Bytes of outputs from which a copy takes longer than what onnxruntime needs to share them."""
_RUNS: Final = 2
"""Of one session at a time, where several threads share it."""
_LARGE_RUN: Final = 256 << 20
"""Bytes of a sample's tensors from which it runs alone: two would take too much memory."""
_NUMPY_TYPES = frozenset(
    [
        "float",
        "double",
        "float16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "string",
    ]
)
"""Element types that onnxruntime gives as arrays."""


class OnnxruntimeBackend:
    """Engines on the CPU.

    Parameters
    ----------
    threads : int
        Threads within one operator; 0 lets onnxruntime choose.
    kernels : "emulated" or "fused"
        How Q/DQ is computed. Emulated: each pair rounds in float, biases stay float as TensorRT
        keeps them, and the numbers don't depend on the CPU's instruction set. Fused: as
        onnxruntime serves such a graph, in integer kernels where it has them, with biases rounded
        to int32 multiples of input scale × weight scale. Each such rounding may tip activations
        into the neighbouring step.
    graph_optimization : "all", "extended", "basic" or "none"
        What it may do to the graph.
    spinning : bool
        Whether its threads wait busily for each other, and for the next run, and memory is planned
        ahead: onnxruntime's defaults.
    all_threads : int, optional
        Threads of all engines that run at a time; default: those of one.
    """

    name = "onnxruntime"

    def __init__(
        self,
        *,
        threads: int = 0,
        kernels: Kernels = "emulated",
        graph_optimization: GraphOptimization = "all",
        spinning: bool = False,
        all_threads: int | None = None,
    ) -> None:
        self._how = How(threads, kernels, graph_optimization, spinning, planned=spinning)
        self._all_threads = all_threads or threads or n_cores()
        self._kernels: Kernels = kernels
        self.capabilities = Capabilities(
            precisions=frozenset({"fp32", "fp16", "int8"}),
            needs_gpu=False,
            concurrent=True,
            # integer kernels are chosen where scales are constants
            feeds_scales=kernels == "emulated",
        )

    @property
    def key(self) -> str:
        """What results depend on besides the graph: how Q/DQ is computed, what is optimised."""
        level = self._how.graph_optimization
        return self._kernels if level == "all" else f"{self._kernels}, {level}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing: its version is among those of calaudit's own requirements."""
        return {}

    def check(self, model: Model) -> None:
        """Nothing: what it can't load, it says when it loads it."""

    def make(self, order: Order) -> BuiltEngine:
        """An engine of the order's graph, or of one that predicts TensorRT's; nothing is kept."""
        if isinstance(order.ranges, ScaleTable):
            return self._predicted(order, order.ranges)
        int8, kernels = order.precision == "int8", order.kernels or self._kernels
        return BuiltEngine(
            engine=self._loaded(order.model, self._how._replace(kernels=kernels))
            if order.to_run
            else None,
            kernels=kernels if int8 else "float",
        )

    def _predicted(self, order: Order, table: ScaleTable) -> BuiltEngine:
        graph, plan = implicit_graph(order.model, table.scales, float_ops=order.float_ops)
        why = {each.subject: each.reason for each in plan.decisions if each.action == "float"}
        nodes = tuple(
            NodePrecision(
                each.name,
                each.op_type,
                "fp32" if why.get(each.name) == AS_ASKED else "int8",
                each.asked,
                why.get(each.name, each.reason),
                each.macs,
            )
            for each in products(graph)
        )
        asked = Counter(each.op_type for each in nodes if each.asked == "int8")
        return BuiltEngine(
            engine=self.load(graph) if order.to_run else None,
            kernels=self._kernels,
            options={"predicts": PREDICTED},
            account=Account(
                dict(sorted(asked.items())),
                PrecisionProof(f"prediction of {PREDICTED}", nodes),
            ),
            scales=table.scales,
        )

    def load(self, model: Model) -> "TimedOnnxruntimeEngine":
        """Make an engine. Raises `BackendError` when onnxruntime refuses the model."""
        return self._loaded(model, self._how)

    def load_shared(self, model: Model) -> "tuple[OnnxruntimeEngine, int]":
        """Two runs, unless their outputs are too large; see `Sharing`.

        On two cores each run has a thread, which waits for no other.
        """
        held = live_bytes(model, {})
        large = held is not None and held > _LARGE_RUN
        at_a_time = 1 if large else min(self._all_threads, _RUNS)
        threads = -(-self._all_threads // at_a_time)
        how = self._how._replace(threads=threads, planned=False)
        return OnnxruntimeEngine(self._session(model, how), model, how), at_a_time

    def _loaded(self, model: Model, how: How) -> "TimedOnnxruntimeEngine":
        return TimedOnnxruntimeEngine(self._session(model, how), model, how)

    @staticmethod
    def _session(model: Model, how: How) -> ort.InferenceSession:
        try:
            session = make_session(model, how.options())
        except _FAILURES as error:
            raise BackendError(
                f"onnxruntime refuses the model: {_one_line(error)}",
                where=model.label,
                next_step="Check that its operators run on onnxruntime's CPU provider.",
            ) from None
        strange = [f"{o.name} ({_plain_type(o)})" for o in session.get_outputs() if _unreadable(o)]
        if strange:
            raise BackendError(
                f"NumPy has no type for the output {', '.join(strange)}",
                where=model.label,
                next_step="Export the model with float32 outputs: cast them inside.",
            )
        return session


class OnnxruntimeEngine:
    """One session. A model fixed to batch 1 is run sample by sample.

    So is one of which the first run of several samples fails while one alone succeeds: an exporter
    that traced an example of one sample wrote that size into the graph, whatever its inputs say.
    The graph isn't kept: its weights would lie in memory beside those of the session.
    """

    def __init__(self, session: ort.InferenceSession, model: Model, how: How) -> None:
        self._session: ort.InferenceSession | None = session
        self._label = model.label
        self._one_by_one = model.fixed_batch
        self._ran_batches = False
        self._record = {
            "library": library_title(),
            "provider": "CPUExecutionProvider",
            "kernels": how.kernels,
        }
        self._inputs = model.inputs
        self._outputs = tuple(output.name for output in session.get_outputs())
        strings = any("string" in each.type for each in session.get_inputs())
        self._shares = not strings  # onnxruntime makes no values of its own of strings
        self._n_bytes = 0

    @property
    def inputs(self) -> tuple[ModelTensor, ...]:
        """What must be fed."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `run` returns."""
        return self._outputs

    @property
    def record(self) -> Mapping[str, str]:
        """Library, provider and kernels."""
        return self._record

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a batch; see `calaudit.backends.base.Engine.run`."""
        used = {spec.name: self._feed(spec, feeds) for spec in self._inputs}
        n, *others = {len(values) for values in used.values()}
        if others:
            raise BackendError(
                f"the inputs differ in their number of samples: {sorted([n, *others])}",
                where=self._label,
                next_step="Feed the same samples to every input.",
            )
        if not self._one_by_one:
            try:
                return self._run(used)
            except BackendError:
                if n == 1 or self._ran_batches or not self._runs_alone(used):
                    raise
                self._one_by_one = True
        pieces = [self._run(_sample(used, place)) for place in range(n)]
        return {name: _joined([piece[name] for piece in pieces]) for name in self._outputs}

    def close(self) -> None:
        """Let the session go, with its weights and memory."""
        self._session = None

    def _runs_alone(self, feeds: dict[str, NDArray[Any]]) -> bool:
        try:
            self._run(_sample(feeds, 0))
        except BackendError:
            return False
        return True

    def _feed(self, spec: ModelTensor, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if spec.name not in feeds:
            raise BackendError(
                f"input {spec.name} wasn't fed",
                where=self._label,
                next_step=near(spec.name, feeds),
            )
        return np.ascontiguousarray(feeds[spec.name])

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self._session is None:
            raise BackendError("the engine was closed", where=self._label)
        try:
            if self._shares and self._n_bytes >= _LARGE:
                values = _run_shared(self._session, self._outputs, feeds)
            else:
                values = self._session.run(self._outputs, feeds)
        except _FAILURES as error:
            raise BackendError(
                f"onnxruntime failed: {_one_line(error)}",
                where=self._label,
                next_step="Check the inputs' shapes and types, and the memory that is free. "
                "torch.onnx.export with dynamo=False writes the batch size of its example into "
                "recurrent layers: give it one sample there, or dynamo=True.",
            ) from None
        self._ran_batches |= len(next(iter(feeds.values()))) > 1
        self._n_bytes = sum(each.nbytes for each in values)
        return dict(zip(self._outputs, values, strict=True))


class TimedOnnxruntimeEngine(OnnxruntimeEngine):
    """One that is timed, too; see `calaudit.backends.timed.Timed`. It keeps the graph for that."""

    def __init__(self, session: ort.InferenceSession, model: Model, how: How) -> None:
        super().__init__(session, model, how)
        self._model, self._how = model, how
        self._largest: dict[str, NDArray[Any]] = {}

    def measure(self, feeds: Mapping[str, NDArray[Any]], block: Block) -> Times:
        """Streams are threads that share the session."""
        used = {spec.name: self._feed(spec, feeds) for spec in self._inputs}
        if len(next(iter(used.values()), ())) >= len(next(iter(self._largest.values()), ())):
            self._largest = used
        return time_calls(lambda: self.run(used), block)

    def memory(self) -> EngineMemory:
        """In a process of its own, with the largest batch that was measured; see `Timed`."""
        from calaudit.backends.onnxruntime.memory import resident_memory

        return resident_memory(self._model, self._how, self._largest)

    def layers(self, feeds: Mapping[str, NDArray[Any]], runs: int) -> tuple[LayerTime, ...]:
        """By onnxruntime's own profile, of a second session; see `Timed`."""
        from calaudit.backends.onnxruntime.profile import profile_layers

        return profile_layers(self._model, self._how, dict(feeds), runs)

    def close(self) -> None:
        """Let the session go, with its weights and memory."""
        super().close()
        self._largest = {}


def _run_shared(
    session: ort.InferenceSession, outputs: Sequence[str], feeds: dict[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Outputs where onnxruntime wrote them; an input that is an output, too, is copied."""
    given = {name: ort.OrtValue.ortvalue_from_numpy(values) for name, values in feeds.items()}
    fed = {each.data_ptr() for each in given.values()}
    return [
        each.numpy().copy() if each.data_ptr() in fed else each.numpy()
        for each in session.run_with_ort_values(outputs, given)
    ]


def library_title() -> str:
    """``onnxruntime 1.20.1``."""
    return f"onnxruntime {ort.__version__}"


def _plain_type(output: ort.NodeArg) -> str:
    return str(output.type).removeprefix("tensor(").removesuffix(")")


def _unreadable(output: ort.NodeArg) -> bool:
    """Whether an output is of a type that comes back as no array: bfloat16, float8, int4."""
    return _plain_type(output) not in _NUMPY_TYPES


def make_session(model: Model, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session of a model, whatever its size."""
    given: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}
    if len(list(all_graphs(model.proto.graph))) > 1:
        given["disabled_optimizers"] = [_CRASHES_ON_SUBGRAPHS]
    referring = refer_from_one_folder(model)
    if referring is not None:
        slim, folder = referring
        options.add_session_config_entry(_WEIGHTS_IN, str(folder))
        return ort.InferenceSession(slim.SerializeToString(), options, **given)
    if model.n_bytes < MESSAGE:
        return ort.InferenceSession(model.serialize(), options, **given)
    with tempfile.TemporaryDirectory(prefix="calaudit-") as temporary:
        path = Path(temporary) / "model.onnx"
        write_model(model, path, path.with_name("weights"), location="weights")
        return ort.InferenceSession(str(path), options, **given)


def _sample(feeds: dict[str, NDArray[Any]], place: int) -> dict[str, NDArray[Any]]:
    return {name: values[place : place + 1] for name, values in feeds.items()}


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    return np.stack(pieces) if pieces[0].ndim == 0 else np.concatenate(pieces)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
