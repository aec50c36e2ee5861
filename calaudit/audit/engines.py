"""The engines of an audit: each planned cell built, run, and described."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.implicit import ImplicitCell, given_cell, native_cell, scales_in
from calaudit.audit.plan import PlannedCell, content_key
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.backends.tensorrt.backend import proof_of
from calaudit.backends.tensorrt.implicit import implicit_products
from calaudit.backends.tensorrt.runner import TensorrtEngine
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_scales
from calaudit.formats.engine import EngineFacts
from calaudit.formats.predictions import Predictions
from calaudit.formats.scales import write_scales
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.products import products
from calaudit.results.audited import EngineRecord, NodeRecord
from calaudit.runtime.errors import BackendError, Notice
from calaudit.steps.build import write_engine
from calaudit.steps.predict import predict


@dataclass(frozen=True, slots=True)
class CellRun:
    """What a cell's engine is, what it answered, and what is to be said about it."""

    engine: EngineRecord
    predictions: Predictions
    notices: tuple[Notice, ...]
    scales: Mapping[str, float]
    """Of implicit quantization: tap → scale in the engine."""


def run_cell(
    audit: Audit, planned: PlannedCell, observation: Observation | None, store: Store
) -> CellRun:
    """Build and run one planned engine, or take what an earlier run left.

    Parameters
    ----------
    audit : Audit
    planned : PlannedCell
    observation : Observation or None
        Ranges of all calibration sets; only INT8 needs them.
    store : Store
        Knows which artefacts are there and whole.

    Raises
    ------
    RangesError
        No scales can be made.
    BackendError
        The engine can't be built, or failed.
    """
    backend = audit.backends[planned.backend]
    if isinstance(backend, RemoteBackend):
        raise BackendError(
            f"no Dask worker with a GPU made {planned.id}, and none is used here",
            where=backend.name,
            next_step="Run the audit again: what is made is kept.",
        )
    graph = _graph(audit, planned, observation, store)
    done = store.holds(planned.predictions)
    engine: OnnxruntimeEngine | TensorrtEngine | None
    if isinstance(backend, OnnxruntimeBackend):
        record, notices = _unproved(audit, planned, graph.model), graph.notices
        engine = None if done else backend.load(graph.model)
    else:
        engine, facts = backend.stored(
            graph.model,
            planned.built,
            precision=planned.precision,
            scales=graph.scales,
            what=planned.id,
            ranges=None if graph.implicit is None else graph.implicit.ranges,
        )
        record = _proved(graph, facts)
        notices = (*graph.notices, *_said(planned, facts))
    scales = {} if graph.implicit is None else scales_in(graph.implicit)
    if done or engine is None:
        return CellRun(record, Predictions(planned.predictions), notices, scales)
    answers = predict(
        engine,
        audit.pool,
        audit.predicted,
        planned.predictions,
        batch_size=audit.config.audit.batch_size,
        what=planned.id,
        reference=planned == audit.plan.reference,
    )
    if isinstance(engine, TensorrtEngine):
        engine.close()
    store.keep(planned.predictions)
    return CellRun(record, answers, notices, scales)


@dataclass(frozen=True, slots=True)
class _Graph:
    model: Model
    scales: str | None
    notices: tuple[Notice, ...]
    implicit: ImplicitCell | None = None


def _graph(
    audit: Audit, planned: PlannedCell, observation: Observation | None, store: Store
) -> _Graph:
    """What the backend is given: the model, its FP16 copy, the Q/DQ graph, or ranges beside it."""
    if planned.precision == "fp16":
        model, misfits = convert_to_fp16(audit.prepared)
        return _Graph(model, None, misfits)
    if planned.ranges_by == "tensorrt":
        native = native_cell(audit, planned)
        return _Graph(audit.prepared, native.key, (), native)
    if planned.scales is None or observation is None:
        return _Graph(audit.model, None, ())
    table = _scales(audit, planned, observation)
    write_scales(planned.scales, table)
    if planned.engine is None:
        given = given_cell(table)
        return _Graph(audit.prepared, given.key, (), given)
    if not store.holds(planned.engine):
        write_engine(audit.prepared, audit.qdq, table, planned.engine)
        store.keep(planned.engine)
    return _Graph(
        load_model(planned.engine, quantized=True), content_key(table.scales), table.notices
    )


def _scales(audit: Audit, planned: PlannedCell, observation: Observation) -> ScaleTable:
    return estimate_scales(
        observation.of(str(planned.calibset)),
        0,
        str(planned.method),
        calibset=str(planned.calibset),
        model_fingerprint=audit.prepared.fingerprint,
    )


def _unproved(audit: Audit, planned: PlannedCell, model: Model) -> EngineRecord:
    """The engine of onnxruntime: it does as the graph says, or computes the same in float."""
    nodes = [d for d in audit.qdq.decisions if d.kind == "node" and d.weighted]
    if planned.precision != "int8":
        floats = _counted(d.op_type for d in nodes)
        return EngineRecord(model.fingerprint, "float", {}, floats)
    quantized = _counted(d.op_type for d in nodes if d.action == "quantized")
    return EngineRecord(
        model.fingerprint,
        audit.config.audit.kernels,
        quantized,
        _counted(d.op_type for d in nodes if d.action == "float"),
        asked_ops=quantized,
    )


def _proved(graph: _Graph, facts: EngineFacts) -> EngineRecord:
    """A TensorRT engine: what its layers really run in."""
    model = graph.model
    every = products(model) if graph.implicit is None else implicit_products(model)
    proof = proof_of(facts)
    nodes = () if proof is None else proof.nodes
    asked = [product for product in every if product.asked == facts.precision != "fp32"]
    return EngineRecord(
        model.fingerprint,
        "fused" if facts.precision == "int8" else "float",
        _counted(node.op_type for node in nodes if node.got == "int8"),
        _counted(node.op_type for node in nodes if node.got != "int8"),
        options={
            "library": f"{facts.library} {facts.version}",
            "gpu": facts.gpu,
            "compute_capability": facts.compute_capability,
            "max_batch": facts.max_batch,
            "tf32": facts.tf32,
        },
        asked_ops=_counted(product.op_type for product in asked),
        proof=None if proof is None else proof.source,
        not_as_asked=tuple(
            NodeRecord(n.node, n.op_type, n.asked, n.got, n.reason)
            for n in (() if proof is None else proof.short_of())
        ),
    )


def _said(planned: PlannedCell, facts: EngineFacts) -> Iterator[Notice]:
    for notice in facts.notices:
        yield Notice(str(notice["code"]), str(notice["message"]), f"cell {planned.id}")


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
