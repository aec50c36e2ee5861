"""The engines of an audit: each planned cell built, run, and described, several at a time.

Threads of one process are enough: onnxruntime computes without the GIL.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.foreign import (
    Foreign,
    file_ranges_notices,
    foreign_engine_record,
    fp32_notices,
)
from calaudit.audit.given_answers import Served, given_batches
from calaudit.audit.keys import content_key
from calaudit.audit.observed import Observed
from calaudit.audit.plan import PlannedCell
from calaudit.audit.precision import engine_record, refuse_float, refuse_ignored
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.backends.base import Backend, BuiltEngine, Engine, Order
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_scales
from calaudit.formats.answers import AnswersFile
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.formats.given import Batch
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.formats.scales import keep_scales
from calaudit.graph.exempt import given_names
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.results.audited import EngineRecord
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.interrupts import stop_if_asked
from calaudit.runtime.pool import batches
from calaudit.steps.build import write_engine
from calaudit.steps.complete import without_constants
from calaudit.steps.predict import predict

_ALONE: Final = (
    "takes the ranges of activations from each batch, so it was run sample by sample: in larger "
    "batches a sample's answer depends on the others"
)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def map_in_threads(
    work: Callable[[Item], Outcome], items: Sequence[Item], *, jobs: int
) -> list[Outcome]:
    """Results of `work` in the order of `items`, made `jobs` at a time.

    Whatever ends it early (an error of one item, Ctrl-C), no item is at work any more when this
    returns: what they were writing is finished or removed.

    Raises
    ------
    Exception
        Of the first item, in their order, that failed; no further item was begun.
    """
    if jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(jobs, len(items)), thread_name_prefix="cell") as threads:
        asked = [threads.submit(work, item) for item in items]
        try:
            wait(asked, return_when=FIRST_EXCEPTION)
        finally:
            threads.shutdown(cancel_futures=True)
    stop_if_asked()
    return [each.result() for each in asked if not each.cancelled()]


@dataclass(frozen=True, slots=True)
class CellRun:
    """What a cell's engine is, what it answered, and what is to be said about it."""

    engine: EngineRecord
    predictions: Predictions
    notices: tuple[Notice, ...]
    scales: Mapping[str, float]
    """Of INT8: tap → scale in the engine."""


def run_cell(audit: Audit, planned: PlannedCell, observed: Observed, store: Store) -> CellRun:
    """Build and run one planned engine, or take what an earlier run left.

    Parameters
    ----------
    audit : Audit
    planned : PlannedCell
    observed : Observed
        Ranges of all calibration sets; only INT8 needs them.
    store : Store
        Knows which artefacts are there and whole.

    Raises
    ------
    RangesError
        No scales can be made.
    BackendError
        The engine can't be built, failed, or is asked for INT8 and runs nothing in it.
    """
    if planned.foreign is not None:
        return _run_foreign(audit, planned, audit.foreign[planned.foreign], store)
    backend = _backend(audit, planned)
    done = store.holds(planned.predictions)
    made = _ordered(audit, planned, observed, store, to_run=not done)
    graph, built = made.graph, backend.make(made.order)
    with ExitStack() as stack:
        if built.engine is not None:
            stack.callback(built.engine.close)
        refuse_float(planned, built)
        refuse_ignored(planned, built, {*made.order.float_ops, *planned.float_ops})
        answers = _answers(audit, planned, built.engine, store, done=done)
    said = (replace(each, where=f"cell {planned.id}") for each in built.notices)
    options = {**built.options, **({} if graph.table is None else graph.table.options)}
    record = engine_record(audit, planned, graph.model, replace(built, options=options))
    scales = built.scales or (graph.table.scales if graph.table is not None else {})
    if planned.given == "qdq":
        in_float = set(audit.qdq.taps) - set(audit.qdq_of(planned).taps)
        scales = {tap: scale for tap, scale in scales.items() if tap not in in_float}
    return CellRun(record, answers, (*graph.notices, *said), scales)


def make_engine(
    audit: Audit, planned: PlannedCell, observed: Observed, store: Store
) -> BuiltEngine:
    """Make a planned engine to be run, whether its answers are known or not.

    Returns
    -------
    BuiltEngine
        With an engine, which the caller closes.

    Raises
    ------
    RangesError, BackendError
        As `order_engine`; or the engine can't be built.
    """
    backend = _backend(audit, planned)
    return backend.make(order_engine(audit, planned, observed, store))


def order_engine(audit: Audit, planned: PlannedCell, observed: Observed, store: Store) -> Order:
    """What a planned cell's backend is asked to make, to be run whether its answers are known.

    Parameters: as :func:`run_cell`.

    Raises
    ------
    RangesError
        No scales can be made.
    BackendError
        Its answers are all there is, or its target can't run such a file.
    """
    if planned.foreign is None:
        return _ordered(audit, planned, observed, store, to_run=True).order
    engine = audit.foreign[planned.foreign]
    if engine.answers is not None:
        raise BackendError(
            f"of {planned.id} the answers were given, and no engine",
            where=engine.path,
            next_step="Choose an engine that has a file.",
        )
    return _foreign_order(audit, planned, engine, to_run=True)


def _backend(audit: Audit, planned: PlannedCell) -> Backend:
    backend = audit.backends[planned.backend]
    if isinstance(backend, RemoteBackend):
        raise BackendError(
            f"no Dask worker with a GPU made {planned.id}, and none is used here",
            where=backend.name,
            next_step="Run the audit again: finished artefacts are reused.",
        )
    return backend


def _run_foreign(audit: Audit, planned: PlannedCell, engine: Foreign, store: Store) -> CellRun:
    """Run an engine that somebody else made, or take the answers that it comes with."""
    done = store.holds(planned.predictions)
    if engine.answers is not None:
        if not done:
            given = _kept(audit, planned, engine.answers, engine.reduced)
            write_predictions(planned.predictions, audit.predicted, given)
            store.keep(planned.predictions)
        record = foreign_engine_record(engine, None)
        told = tuple(replace(each, where=f"cell {planned.id}") for each in engine.notices)
        return CellRun(record, Predictions(planned.predictions), told, {})
    order = _foreign_order(audit, planned, engine, to_run=not done)
    built = _backend(audit, planned).make(order)
    alone = engine.contents is not None and engine.contents.dynamic
    with ExitStack() as stack:
        if built.engine is not None:
            stack.callback(built.engine.close)
        answers = _answers(audit, planned, built.engine, store, done=done, alone=alone)
    said = [replace(each, where=f"cell {planned.id}") for each in built.notices]
    said += [Notice("ran_alone", _ALONE, f"cell {planned.id}")] if alone else []
    said += file_ranges_notices(engine, f"cell {planned.id}")
    said += fp32_notices(engine, audit.model, f"cell {planned.id}")
    return CellRun(foreign_engine_record(engine, built), answers, tuple(said), engine.scales)


def _foreign_order(audit: Audit, planned: PlannedCell, engine: Foreign, *, to_run: bool) -> Order:
    backend = _backend(audit, planned)
    if engine.model is None and not backend.capabilities.loads_plans:
        raise BackendError(
            f"{planned.backend} can't run a TensorRT plan",
            where=engine.path,
            next_step="Name a target whose backend is TensorRT.",
        )
    return Order(
        model=engine.model or audit.model,
        precision="int8" if engine.part.int8 else "fp32",
        what=planned.id,
        path=planned.built,
        kernels=engine.entry.kernels,
        plan=engine.path.read_bytes() if engine.model is None else None,
        to_run=to_run,
    )


def _kept(
    audit: Audit, planned: PlannedCell, file: AnswersFile, reduced: Sequence[Served]
) -> Iterator[Batch]:
    """What predictions keep of answers that were given, batch by batch."""
    kept, size = audit.kept(planned), audit.config.audit.batch_size
    reference = Predictions(audit.plan.reference.predictions) if kept.against_reference else None
    outputs = [output.name for output in audit.model.outputs]
    pieces, ids = list(batches(audit.predicted, size)), audit.pool.ids(audit.predicted).tolist()
    made = given_batches(file, reduced, outputs, ids, pieces)
    for rows, batch in zip(pieces, made, strict=True):
        yield kept.batch(batch.outputs, rows, reference, batch.answers)


def _answers(
    audit: Audit,
    planned: PlannedCell,
    engine: Engine | None,
    store: Store,
    *,
    done: bool,
    alone: bool = False,
) -> Predictions:
    if done or engine is None:
        return Predictions(planned.predictions)
    is_reference = planned == audit.plan.reference
    kept = audit.kept(planned)
    held_against = kept.against_reference and not is_reference
    answers = predict(
        engine,
        audit.pool,
        audit.predicted,
        planned.predictions,
        batch_size=1 if alone else audit.config.audit.batch_size,
        what=planned.id,
        kept=kept,
        reference=Predictions(audit.plan.reference.predictions) if held_against else None,
        is_reference=is_reference,
    )
    store.keep(planned.predictions)
    return answers


@dataclass(frozen=True, slots=True)
class _Graph:
    model: Model
    table: ScaleTable | None = None
    """Behind an INT8 engine, in the graph or beside it."""
    notices: tuple[Notice, ...] = ()
    ranges: ScaleTable | Calibset | None = None


def _graph(audit: Audit, planned: PlannedCell, observed: Observed, store: Store) -> _Graph:
    """What the backend is given: the model, its FP16 copy, the Q/DQ graph, or ranges beside it."""
    if planned.precision == "fp16":
        model, misfits = convert_to_fp16(audit.folded)
        return _Graph(model, notices=misfits)
    if planned.given == "calibset":
        path = next(each.path for each in audit.plan.calibsets if each.name == planned.calibset)
        return _Graph(audit.model, ranges=open_calibset(path))
    implicit = planned.given == "scales"
    observation = observed.network if implicit else observed.taps
    if planned.scales is None:
        return _Graph(audit.model)
    if planned.given_ranges is not None:
        table = audit.given[planned.given_ranges]
    elif observation is not None:
        table = _scales(planned, observation, audit.config.audit.methods)
    else:
        return _Graph(audit.model)
    network = audit.network if implicit else None
    if network is not None:
        table = without_constants(table, network)
    keep_scales(planned.scales, table)
    if planned.engine is None:
        notices = () if network is None else network.notices
        return _Graph(audit.model, table, (*table.notices, *notices), ranges=table)
    if not store.holds(planned.engine):
        write_engine(audit.folded, audit.qdq_of(planned), table, planned.engine)
        store.keep(planned.engine)
    return _Graph(load_model(planned.engine, quantized=True), table, table.notices)


@dataclass(frozen=True, slots=True)
class _Ordered:
    order: Order
    graph: _Graph


def _ordered(
    audit: Audit, planned: PlannedCell, observed: Observed, store: Store, *, to_run: bool
) -> _Ordered:
    """The order of an engine of the audit's own."""
    assert planned.precision != "unknown"  # only somebody else's is
    graph = _graph(audit, planned, observed, store)
    beside = planned.float_ops if graph.ranges is not None else ()
    order = Order(
        model=graph.model,
        precision=planned.precision,
        what=planned.id,
        path=planned.built,
        scales=None if graph.table is None else content_key(graph.table.scales),
        ranges=graph.ranges,
        method=planned.method,
        batching=audit.config.audit.batching,
        float_ops=tuple(given_names(beside, audit.model, audit.folded)),
        to_run=to_run,
    )
    return _Ordered(order, graph)


def _scales(planned: PlannedCell, observation: Observation, methods: Sequence[str]) -> ScaleTable:
    return estimate_scales(
        observation.of(str(planned.calibset)),
        0,
        str(planned.method),
        calibset=str(planned.calibset),
        equal=observation.equal_for(str(planned.method), str(planned.calibset)),
        model_fingerprint=observation.model_fingerprint,
        tried=methods,
    )
