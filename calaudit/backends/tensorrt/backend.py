"""TensorRT and TensorRT-RTX as backends of an audit: strongly typed engines, built and run here."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.backends.base import (
    Account,
    BuiltEngine,
    Capabilities,
    NodePrecision,
    Order,
    Precision,
    PrecisionProof,
)
from calaudit.backends.tensorrt.build import (
    BuildOptions,
    BuiltPlan,
    ShapeRange,
    build_plan,
    plan_profile,
)
from calaudit.backends.tensorrt.cuda import Cuda, Gpu, require_cuda
from calaudit.backends.tensorrt.detect import Library, TensorrtModule, require_tensorrt
from calaudit.backends.tensorrt.implicit import (
    GivenRanges,
    ImplicitPlan,
    NativeRanges,
    build_implicit,
)
from calaudit.backends.tensorrt.kind import CALIBRATORS
from calaudit.backends.tensorrt.precision import (
    asked_implicitly,
    precision_notices,
    prove,
    read_inspector,
)
from calaudit.backends.tensorrt.runner import TensorrtEngine, deserialize
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.engine import EngineFacts, facts_path, open_engine_file, write_engine_file
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.graph.model import Model
from calaudit.graph.products import Product, products
from calaudit.runtime.errors import FileFormatError, Notice


class TensorrtBackend:
    """Engines of one TensorRT library.

    Parameters
    ----------
    library : "tensorrt" or "tensorrt_rtx"
        Which one.
    max_batch : int
        Largest batch that one enqueue takes; larger ones are run in pieces.
    opt_batch : int, optional
        The batch that kernels are chosen for; default: the largest.
    sizes : mapping, optional
        Input → per-sample shape, for models that leave it free.
    compute_capability : str, optional
        RTX: the GPU to build for, such as ``"8.9"``; default: the one in this machine.
    timing_cache : Path, optional
        TensorRT: where kernel timings are kept between builds.

    Raises
    ------
    BackendError
        The library isn't usable here, with the line that installs it.
    """

    def __init__(
        self,
        library: Library,
        *,
        max_batch: int = 64,
        opt_batch: int | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
        compute_capability: str | None = None,
        timing_cache: Path | None = None,
    ) -> None:
        # RTX compiles its kernels when it runs, and uses TF32 there whatever the builder was told.
        # Only this variable of NVIDIA's libraries keeps FP32 exact.
        override = os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
        self._tf32_state = "off" if override == "0" else f"NVIDIA_TF32_OVERRIDE={override}"
        self.name: Library = library
        self.found: TensorrtModule = require_tensorrt(library)
        self._batches = (max_batch, opt_batch)
        self._sizes = dict(sizes or {})
        self._capability = compute_capability
        self._timing_cache = timing_cache

    @property
    def capabilities(self) -> Capabilities:
        """FP32, FP16 and INT8 where the library has strongly typed networks."""
        typed = self.found.abilities.strongly_typed
        precisions: frozenset[Precision] = frozenset({"fp32", "fp16", "int8"} if typed else ())
        return Capabilities(precisions=precisions, needs_gpu=True, concurrent=False)

    @property
    def gpu(self) -> str:
        """The GPU here: its name and compute capability."""
        return str(require_cuda().gpu)

    @property
    def key(self) -> str:
        """What results depend on besides the graph: library, version, GPU."""
        return f"{self.found.title} on {self.gpu}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The GPU, and the library's version."""
        return {"gpu": self.gpu, self.name: self.found.version}

    def _asked(self, model: Model, *, implicit: bool) -> tuple[Product, ...]:
        """The products of a model, with the precision that TensorRT is asked to run them in."""
        found = products(model, self._sizes)
        return asked_implicitly(found) if implicit else found

    def check(self, model: Model) -> None:
        """Raise `BackendError` where the model leaves open sizes that nobody gave."""
        self._profile(model)

    def build(self, model: Model, *, what: str = "build") -> BuiltPlan:
        """Build a plan; no GPU is needed where a compute capability is named.

        Raises
        ------
        BackendError
            See `calaudit.backends.tensorrt.build.build_plan`.
        """
        options = BuildOptions(
            profile=self._profile(model),
            compute_capability=self._capability,
            timing_cache=self._timing_cache,
            what=what,
        )
        return build_plan(self.found, model, options)

    def _profile(self, model: Model) -> dict[str, ShapeRange]:
        max_batch, opt_batch = self._batches
        return plan_profile(model, max_batch=max_batch, opt_batch=opt_batch, sizes=self._sizes)

    def load(self, model: Model) -> TensorrtEngine:
        """Build an engine and make it ready to run on this machine's GPU.

        Raises
        ------
        BackendError
            There is no GPU, or TensorRT refuses the model.
        """
        cuda = require_cuda()
        with cuda.current():
            built = self.build(model, what=f"build {Path(model.label).name}")
        return self._deserialized(built.plan, model, cuda, None)

    def make(self, order: Order) -> BuiltEngine:
        """The engine kept at the order's path, built and kept there when it isn't, or isn't for it.

        Raises
        ------
        BackendError
            There is no GPU, or TensorRT refuses the model.
        OutputError
            The engine can't be written.
        """
        cuda = require_cuda()
        ranges = _ranges(order)
        scales = _ranges_key(order.scales, ranges)
        asked = self._asked(order.model, implicit=ranges is not None)
        kept = self._kept(order.path, order.model, scales, cuda)
        engine: TensorrtEngine | None = None
        if kept is None:
            built = self._build(order, ranges, cuda)
            engine = self._deserialized(built.plan, order.model, cuda, None)
            proof = inspect_precision(self.found, engine, asked) or built.proof
            notices = [n for n in built.notices if not n.code.startswith("precision_")]
            notices += precision_notices(proof, order.model.label)
            facts = self._facts(order, scales, cuda.gpu, proof, notices)
            write_engine_file(order.path, built.plan, facts)
        else:
            plan, facts = kept
            if order.to_run:
                engine = self._deserialized(plan, order.model, cuda, facts)
        narrow = (each.op_type for each in asked if each.asked == order.precision != "fp32")
        return BuiltEngine(
            engine=engine,
            kernels="fused" if facts.precision == "int8" else "float",
            options={
                "library": f"{facts.library} {facts.version}",
                "gpu": facts.gpu,
                "compute_capability": facts.compute_capability,
                "max_batch": facts.max_batch,
                "tf32": facts.tf32,
                **_calibration(ranges),
            },
            account=Account(dict(sorted(Counter(narrow).items())), proof_of(facts)),
            notices=tuple(
                Notice(str(each["code"]), str(each["message"]), each["where"])
                for each in facts.notices
            ),
            scales=_scales_in(ranges),
        )

    def _build(
        self, order: Order, ranges: NativeRanges | GivenRanges | None, cuda: Cuda
    ) -> BuiltPlan | ImplicitPlan:
        with cuda.current():
            if ranges is None:
                return self.build(order.model, what=order.what)
            profile = self._profile(order.model)
            return build_implicit(self.found, order.model, ranges, profile, what=order.what)

    def _facts(
        self,
        order: Order,
        scales: str | None,
        gpu: Gpu,
        proof: PrecisionProof | None,
        notices: Sequence[Notice],
    ) -> EngineFacts:
        return EngineFacts(
            library=self.name,
            version=self.found.version,
            gpu=gpu.name,
            compute_capability=gpu.compute_capability,
            model=order.model.fingerprint,
            scales=scales,
            precision=order.precision,
            max_batch=self._batches[0],
            tf32=self._tf32_state,
            proof=None if proof is None else proof.source,
            nodes=() if proof is None else tuple(asdict(node) for node in proof.nodes),
            notices=tuple(asdict(notice) for notice in notices),
        )

    def _kept(
        self, path: Path, model: Model, scales: str | None, cuda: Cuda
    ) -> tuple[bytes, EngineFacts] | None:
        """A stored engine that is whole and of this model, scales, library, GPU and batch."""
        if not path.exists() or not facts_path(path).exists():
            return None
        try:
            plan, facts = open_engine_file(path)
        except FileFormatError:
            return None  # truncated or altered: it is built again
        wanted = (
            self.name, self.found.version, cuda.gpu.name, model.fingerprint, scales,
            self._batches[0],
        )  # fmt: skip
        had = (
            facts.library, facts.version, facts.gpu, facts.model, facts.scales, facts.max_batch
        )  # fmt: skip
        return (plan, facts) if had == wanted else None

    def _deserialized(
        self, plan: bytes, model: Model, cuda: Cuda, facts: EngineFacts | None
    ) -> TensorrtEngine:
        record = {
            "library": self.found.title,
            "gpu": str(cuda.gpu),
            "kernels": "fused",
            "tf32": self._tf32_state,
        }
        engine = deserialize(self.found, cuda, plan, model.label, facts)
        return TensorrtEngine(self.found, cuda, engine, model, record)


def inspect_precision(
    found: TensorrtModule, engine: TensorrtEngine, asked: Sequence[Product]
) -> PrecisionProof | None:
    """What a loaded engine's layers run in, by its own inspector; None where it tells nothing."""
    if not found.abilities.inspector:
        return None
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    built, _ = engine.handles
    inspector = built.create_engine_inspector()
    layers = read_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    if not layers:
        return None
    return prove(asked, layers, "engine inspector")


def proof_of(facts: EngineFacts) -> PrecisionProof | None:
    """The proof that an engine's facts hold."""
    if facts.proof is None:
        return None
    nodes = tuple(
        NodePrecision(
            str(node["node"]), str(node["op_type"]), str(node["asked"]), _text(node["got"]),
            str(node["reason"]), _count(node.get("macs")),
        )
        for node in facts.nodes
    )  # fmt: skip
    return PrecisionProof(facts.proof, nodes)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _count(value: str | int | None) -> int | None:
    return value if isinstance(value, int) else None


def _ranges(order: Order) -> NativeRanges | GivenRanges | None:
    """What implicit quantization starts from; None where the graph says what is quantized."""
    if order.ranges is None:
        return None
    if isinstance(order.ranges, ScaleTable):
        return GivenRanges(order.ranges)
    algorithm, _ = CALIBRATORS[str(order.method)]
    return NativeRanges(
        calibset=order.ranges,
        algorithm=algorithm,
        batching=order.batching.fitted(len(order.ranges)),
        cache=order.path.with_suffix(".cache"),
    )


def _calibration(ranges: NativeRanges | GivenRanges | None) -> dict[str, float | str]:
    """How a calibration of TensorRT's own cut its set, for the report."""
    return ranges.batching.options if isinstance(ranges, NativeRanges) else {}


def _ranges_key(scales: str | None, ranges: NativeRanges | GivenRanges | None) -> str | None:
    """What an engine's ranges depend on."""
    if ranges is None:
        return scales
    if isinstance(ranges, GivenRanges):
        return f"implicit, {scales}"
    return f"{ranges.algorithm} of {ranges.calibset.fingerprint} in {ranges.batching}"


def _scales_in(ranges: NativeRanges | GivenRanges | None) -> dict[str, float]:
    """Tap → scale in an engine by implicit quantization; empty where its cache is gone."""
    if ranges is None:
        return {}
    if isinstance(ranges, GivenRanges):
        return ranges.table.scales
    try:
        return {} if ranges.cache is None else open_trt_cache(ranges.cache).scales
    except FileFormatError:
        return {}
