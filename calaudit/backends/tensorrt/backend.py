"""TensorRT and TensorRT-RTX as backends of an audit: strongly typed engines, built and run here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.backends.base import Capabilities, Precision
from calaudit.backends.tensorrt.build import (
    BuildOptions,
    BuiltPlan,
    ShapeRange,
    build_plan,
    plan_profile,
)
from calaudit.backends.tensorrt.cuda import Cuda, find_cuda, require_cuda
from calaudit.backends.tensorrt.detect import (
    Library,
    Missing,
    TensorrtModule,
    require_tensorrt,
)
from calaudit.backends.tensorrt.implicit import (
    GivenRanges,
    ImplicitPlan,
    NativeRanges,
    build_implicit,
    implicit_products,
)
from calaudit.backends.tensorrt.precision import (
    NodePrecision,
    PrecisionProof,
    Source,
    precision_notices,
    prove,
    read_inspector,
)
from calaudit.backends.tensorrt.runner import TensorrtEngine
from calaudit.backends.tensorrt.watching import listening
from calaudit.formats.engine import EngineFacts, facts_path, open_engine_file, write_engine_file
from calaudit.graph.model import Model
from calaudit.graph.products import Product, products
from calaudit.runtime.errors import BackendError, FileFormatError


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
        """FP32, FP16 and INT8 where the library has strongly typed networks and a GPU is here."""
        usable = self.found.abilities.strongly_typed and not isinstance(find_cuda(), Missing)
        precisions: frozenset[Precision] = frozenset({"fp32", "fp16", "int8"} if usable else ())
        return Capabilities(precisions=precisions, ranges=frozenset({"calaudit"}), needs_gpu=True)

    @property
    def gpu(self) -> str:
        """The GPU here: its name and compute capability."""
        return str(require_cuda().gpu)

    @property
    def key(self) -> str:
        """What results depend on besides the graph: library, version, GPU."""
        return f"{self.found.title} on {self.gpu}"

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

    def stored(
        self,
        model: Model,
        path: Path,
        *,
        precision: Precision,
        scales: str | None,
        what: str,
        ranges: NativeRanges | GivenRanges | None = None,
    ) -> tuple[TensorrtEngine, EngineFacts]:
        """The engine kept at `path`, built and kept there when it isn't, or isn't for this model.

        Parameters
        ----------
        model : Model
            FP32, FP16 or with Q/DQ.
        path : Path
            The plan; its facts lie beside it.
        precision : "fp32", "fp16" or "int8"
            What the graph asks for.
        scales : str or None
            Fingerprint of the scale table behind the graph.
        what : str
            Name of the build on its progress bar.
        ranges : NativeRanges or GivenRanges, optional
            Implicit quantization of an FP32 graph; by default the graph says what is quantized.

        Raises
        ------
        BackendError
            There is no GPU, or TensorRT refuses the model.
        OutputError
            The engine can't be written.
        """
        cuda = require_cuda()
        kept = self._kept(path, model, scales, cuda)
        if kept is not None:
            plan, facts = kept
            return self._deserialized(plan, model, cuda, facts), facts
        built: BuiltPlan | ImplicitPlan
        with cuda.current():
            if ranges is None:
                built = self.build(model, what=what)
            else:
                built = build_implicit(self.found, model, ranges, self._profile(model), what=what)
        engine = self._deserialized(built.plan, model, cuda, None)
        asked = products(model) if ranges is None else implicit_products(model)
        proof = inspect_precision(self.found, engine, asked) or built.proof
        notices = [n for n in built.notices if not n.code.startswith("precision_")]
        notices += precision_notices(proof, model.label)
        facts = EngineFacts(
            library=self.name,
            version=self.found.version,
            gpu=cuda.gpu.name,
            compute_capability=cuda.gpu.compute_capability,
            model=model.fingerprint,
            scales=scales,
            precision=precision,
            max_batch=self._batches[0],
            tf32=self._tf32_state,
            proof=None if proof is None else proof.source,
            nodes=() if proof is None else tuple(asdict(node) for node in proof.nodes),
            notices=tuple(asdict(notice) for notice in notices),
        )
        write_engine_file(path, built.plan, facts)
        return engine, facts

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


def deserialize(
    found: TensorrtModule, cuda: Cuda, plan: bytes, label: str, facts: EngineFacts | None
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


def _mismatch(found: TensorrtModule, cuda: Cuda, facts: EngineFacts | None) -> str:
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
    source: Source = (
        "engine inspector" if facts.proof == "engine inspector" else "builder's layer report"
    )
    nodes = tuple(
        NodePrecision(
            str(node["node"]), str(node["op_type"]), str(node["asked"]), node["got"],
            str(node["reason"]),
        )
        for node in facts.nodes
    )  # fmt: skip
    return PrecisionProof(source, nodes)
