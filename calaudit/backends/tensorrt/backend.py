"""TensorRT and TensorRT-RTX as backends of an audit: engines built and run by a worker."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from calaudit.backends.base import (
    Account,
    BuiltEngine,
    Capabilities,
    Order,
    Precision,
    PrecisionProof,
)
from calaudit.backends.tensorrt.build import BuiltPlan, TimingCache, build_explicit
from calaudit.backends.tensorrt.engine import TensorrtEngine
from calaudit.backends.tensorrt.implicit import (
    GivenRanges,
    ImplicitPlan,
    NativeRanges,
    build_implicit,
)
from calaudit.backends.tensorrt.knobs import Knobs, check_knobs
from calaudit.backends.tensorrt.orders import (
    calibration_options,
    proof_of,
    ranges_key,
    ranges_of,
    scales_in,
)
from calaudit.backends.tensorrt.precision import (
    asked_implicitly,
    precision_notices,
    prove,
    read_inspector,
    read_layer_report,
    tensors_without_range,
)
from calaudit.backends.tensorrt.profile import ShapeRange, plan_profile
from calaudit.backends.tensorrt.session import Session
from calaudit.formats.engine import EngineFacts, facts_path, open_engine_file, write_engine_file
from calaudit.graph.model import Model
from calaudit.graph.products import Product, products
from calaudit.runtime.errors import BackendError, FileFormatError, Notice


class TensorrtBackend:
    """Engines of one target.

    Parameters
    ----------
    session : Session
        Where they are built and run.
    max_batch : int
        Largest batch that one enqueue takes; larger ones are run in pieces.
    opt_batch : int, optional
        The batch that kernels are chosen for; default: the largest.
    sizes : mapping, optional
        Input → per-sample shape, for models that leave it free.
    compute_capability : str, optional
        RTX: the GPU to build for, such as ``"8.9"``; default: the one there.
    timing : TimingCache, optional
        TensorRT: where kernel timings are kept between builds.
    knobs : Knobs, optional
        What the compiler is told.

    Raises
    ------
    BackendError
        The library isn't usable there, with the line that installs it, or lacks what `knobs` ask.
    """

    def __init__(
        self,
        session: Session,
        *,
        max_batch: int = 64,
        opt_batch: int | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
        compute_capability: str | None = None,
        timing: TimingCache | None = None,
        knobs: Knobs | None = None,
    ) -> None:
        self.session = session
        self.name = session.location.library
        found = session.look()
        if found.library is None:
            missing = found.missing[0]
            raise BackendError(str(missing), next_step=missing.next_step)
        self._version = found.library
        self._batches = (max_batch, opt_batch)
        self._sizes = dict(sizes or {})
        self._capability = compute_capability
        self._timing = timing
        self._knobs = knobs or Knobs()
        check_knobs(self._knobs, session)

    @property
    def capabilities(self) -> Capabilities:
        """FP32, FP16 and INT8, one engine at a time."""
        precisions: frozenset[Precision] = frozenset({"fp32", "fp16", "int8"})
        return Capabilities(
            precisions=precisions, needs_gpu=True, concurrent=False, loads_plans=True
        )

    @property
    def gpu(self) -> str:
        """The GPU there: its name and compute capability."""
        found = self.session.look()
        if found.device is None:
            missing = found.missing[0]
            raise BackendError(str(missing), next_step=missing.next_step)
        return found.device

    @property
    def key(self) -> str:
        """What results depend on besides the graph: library, version, GPU."""
        told = f", {self._knobs}" if self._knobs.changed else ""
        return f"{self.session.title} on {self.gpu}{told}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The GPU, and the library's version."""
        return {"gpu": self.gpu, self.name: self._version}

    def asked(
        self, model: Model, *, implicit: bool = False, float_ops: Sequence[str] = ()
    ) -> tuple[Product, ...]:
        """The products of a model, with the precision that TensorRT is asked to run them in.

        Implicit quantization is asked to leave `float_ops` in float; a graph says so itself.
        """
        found = products(model, self._sizes)
        return asked_implicitly(found, float_ops) if implicit else found

    def check(self, model: Model) -> None:
        """Raise `BackendError` where the model leaves open sizes that nobody gave."""
        self._profile(model)

    def build(self, model: Model, *, what: str = "build") -> BuiltPlan:
        """Build a plan; no GPU is needed where a compute capability is named.

        Raises
        ------
        BackendError
            See `calaudit.backends.tensorrt.build.build_explicit`.
        """
        return build_explicit(
            self.session,
            model,
            self._profile(model),
            what=what,
            compute_capability=self._capability,
            timing=self._timing,
            knobs=self._knobs,
        )

    def load(self, model: Model) -> TensorrtEngine:
        """Build an engine and make it ready to run.

        Raises
        ------
        BackendError
            There is no GPU, or TensorRT refuses the model.
        """
        _ = self.gpu
        built = self.build(model, what=f"build {Path(model.label).name}")
        return self.ready(built.plan, model)

    def ready(self, plan: bytes, model: Model, facts: EngineFacts | None = None) -> TensorrtEngine:
        """A plan made ready to run; `facts` say what a kept one is bound to.

        Raises
        ------
        BackendError
            TensorRT can't load it.
        """
        record = {
            "library": self.session.title,
            "gpu": self.gpu,
            "kernels": "fused",
            "tf32": self.session.look().tf32,
        }
        return TensorrtEngine(self.session, plan, model, record, facts)

    def inspect(
        self,
        engine: TensorrtEngine,
        model: Model,
        asked: Sequence[Product],
        warnings: Sequence[str] = (),
    ) -> PrecisionProof | None:
        """What an engine's layers run in, by its own inspector; None where it tells nothing.

        `warnings` are those of its build, which say what TensorRT had no range for.
        """
        shapes = {name: each.largest for name, each in self._profile(model).items()}
        text = engine.inspect(shapes)
        layers = () if text is None else read_inspector(text)
        if not layers:
            return None
        bare = tensors_without_range(warnings)
        return prove(asked, layers, "engine inspector", without_range=bare)

    def build_only(self, model: Model) -> PrecisionProof | None:
        """What an engine's layers would run in, by its builder; no GPU is needed."""
        layers = self.build(model).layers
        if layers is None:
            return None
        return prove(self.asked(model), read_layer_report(layers), "builder's layer report")

    def make(self, order: Order) -> BuiltEngine:
        """The engine kept at the order's path, built and kept there when it isn't, or isn't for it.

        Raises
        ------
        BackendError
            There is no GPU, or TensorRT refuses the model.
        OutputError
            The engine can't be written.
        """
        _ = self.gpu
        if order.plan is not None:
            return self._given(order, order.plan)
        ranges = ranges_of(order)
        scales = ranges_key(order, ranges)
        asked = self.asked(order.model, implicit=ranges is not None, float_ops=order.float_ops)
        kept = self._kept(order.path, order.model, scales)
        engine: TensorrtEngine | None = None
        if kept is None:
            engine, facts = self._made(order, ranges, scales, asked)
        else:
            plan, facts = kept
            if order.to_run:
                engine = self.ready(plan, order.model, facts)
        narrow = (each.op_type for each in asked if each.asked == order.precision != "fp32")
        return BuiltEngine(
            engine=engine,
            kernels="fused" if facts.precision == "int8" else "float",
            options={
                "library": f"{facts.library} {facts.version}",
                "gpu": facts.gpu,
                "compute_capability": facts.compute_capability,
                "max_batch": facts.max_batch,
                **facts.knobs,
                "tf32": facts.tf32,
                "network": facts.network,
                **calibration_options(ranges),
            },
            account=Account(dict(sorted(Counter(narrow).items())), proof_of(facts)),
            notices=tuple(
                Notice(str(each["code"]), str(each["message"]), each["where"])
                for each in facts.notices
            ),
            scales=scales_in(ranges),
        )

    def _given(self, order: Order, plan: bytes) -> BuiltEngine:
        """A plan that somebody else built, and what its own inspector tells of it."""
        engine = self.ready(plan, order.model)
        text = engine.inspect(engine.largest)
        layers = () if text is None else read_inspector(text)
        proof = prove(self.asked(order.model), layers, "engine inspector") if layers else None
        int8 = proof is not None and any(each.got == "int8" for each in proof.nodes)
        found = self.session.look()
        return BuiltEngine(
            engine=engine,
            kernels="fused" if int8 else "float",
            options={
                "library": self.session.title,
                "gpu": found.gpu,
                "compute_capability": found.compute_capability,
            },
            account=Account({}, proof),
        )

    def _made(
        self,
        order: Order,
        ranges: NativeRanges | GivenRanges | None,
        scales: str | None,
        asked: Sequence[Product],
    ) -> tuple[TensorrtEngine, EngineFacts]:
        """Build an engine, prove it and keep it."""
        built = self._build(order, ranges)
        engine = self.ready(built.plan, order.model)
        proof = self.inspect(engine, order.model, asked, built.warnings)
        if proof is None and built.layers is not None:
            proof = prove(asked, read_layer_report(built.layers), "builder's layer report")
        found = self.session.look()
        notices = [*built.notices, *precision_notices(proof, order.model.label)]
        facts = EngineFacts(
            library=self.name,
            version=self._version,
            gpu=found.gpu,
            compute_capability=found.compute_capability,
            model=order.model.fingerprint,
            scales=scales,
            precision=order.precision,
            max_batch=self._batches[0],
            tf32=found.tf32,
            knobs=self._knobs.changed,
            network="strongly typed" if built.typed else "weakly typed",
            proof=None if proof is None else proof.source,
            nodes=() if proof is None else tuple(asdict(node) for node in proof.nodes),
            notices=tuple(asdict(notice) for notice in notices),
        )
        write_engine_file(order.path, built.plan, facts)
        return engine, facts

    def _build(
        self, order: Order, ranges: NativeRanges | GivenRanges | None
    ) -> BuiltPlan | ImplicitPlan:
        if ranges is None:
            return self.build(order.model, what=order.what)
        return build_implicit(
            self.session,
            order.model,
            ranges,
            self._profile(order.model),
            what=order.what,
            timing=self._timing,
            float_ops=order.float_ops,
            knobs=self._knobs,
        )

    def _profile(self, model: Model) -> dict[str, ShapeRange]:
        max_batch, opt_batch = self._batches
        return plan_profile(
            model,
            max_batch=max_batch,
            opt_batch=opt_batch,
            sizes=self._sizes,
            fixed_shapes=self._knobs.fixed_shapes,
        )

    def _kept(
        self, path: Path, model: Model, scales: str | None
    ) -> tuple[bytes, EngineFacts] | None:
        """A stored engine that is whole and of this model, scales, library, GPU and batch."""
        if not path.exists() or not facts_path(path).exists():
            return None
        try:
            plan, facts = open_engine_file(path)
        except FileFormatError:
            return None  # truncated or altered: it is built again
        wanted = (
            self.name, self._version, self.session.look().gpu, model.fingerprint, scales,
            self._batches[0], self._knobs.changed,
        )  # fmt: skip
        had = (
            facts.library, facts.version, facts.gpu, facts.model, facts.scales, facts.max_batch,
            facts.knobs,
        )  # fmt: skip
        return (plan, facts) if had == wanted else None
