"""The stages of an audit: calibration sets, ranges, predictions, statistics.

Each makes what the plan lists and isn't there yet.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from calaudit.audit import records
from calaudit.audit.abreast import abreast, runs_abreast
from calaudit.audit.dask.cells import WorkerResults
from calaudit.audit.drawn import draw_sets, drawn_alike
from calaudit.audit.engines import CellRun, map_in_threads, run_cell
from calaudit.audit.harm import harm_notices, predicted_harm
from calaudit.audit.observed import Observed, observe_all
from calaudit.audit.pictures import make_pictures
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.audit.records import compare_ranges
from calaudit.audit.slice_records import slice_records
from calaudit.audit.store import Store
from calaudit.calibration.observation import Observation
from calaudit.formats.calibset import Calibset
from calaudit.formats.predictions import Predictions
from calaudit.formats.ranges import open_ranges
from calaudit.results.audited import CellRecord, ComparedRanges, ReferenceRecord
from calaudit.results.comparison import Result
from calaudit.results.drops import Exemplars
from calaudit.results.harm import HarmRecord
from calaudit.results.pictures import Pictures
from calaudit.results.report import Report, assemble
from calaudit.results.values import filled
from calaudit.runtime.errors import BackendError, CalauditError, ModelError, Notice, RangesError
from calaudit.runtime.progress import counter, stage
from calaudit.statistics.attribution import Origin
from calaudit.steps.gates import floor_notices, near_zero_notices
from calaudit.steps.judge import Judgement, Terms, judge_cells
from calaudit.steps.sanity import baseline_notices, cell_notices, order_notices
from calaudit.steps.score import (
    Scored,
    list_exemplars,
    notices_of,
    rankings_of,
    score_eval_sets,
    task_notices,
    try_metrics,
)

_HELD_BYTES = 128 << 20
"""Of histograms of slices that are kept while engines run and are judged."""


@dataclass(slots=True)
class _Journal:
    """What a run collects beside its results."""

    timings: dict[str, float] = field(default_factory=dict)
    """Stage → seconds."""
    notices: list[Notice] = field(default_factory=list)
    store: Store = field(default_factory=Store)
    scales: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """Of INT8 engines: cell → tap → scale."""
    from_workers: WorkerResults = field(default_factory=WorkerResults)
    """What Dask workers made."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage, and show it while it lasts."""
        start = time.perf_counter()
        with stage(name):
            yield
        self.timings[name] = round(time.perf_counter() - start, 3)


def go_through(
    audit: Audit, ask_workers: Callable[[], WorkerResults] | None = None
) -> tuple[Report, Observation | None]:
    """Make what the plan lists and isn't there yet, and judge it.

    Parameters
    ----------
    audit : Audit
        Its folder is held.
    ask_workers : callable, optional
        Has Dask workers make the cells.

    Returns
    -------
    Report
        Not yet written.
    Observation or None
        The ranges; None where no engine is INT8.
    """
    journal = _Journal()
    with journal.stage("calibration sets"):
        sets, told = draw_sets(audit, journal.store)
        journal.notices += told
    with journal.stage("ranges"):
        observed = observe_all(audit, sets, journal.store)
        journal.notices += observed.notices
        observed = _without_large(observed)
    with journal.stage("predictions"):
        if ask_workers is not None:
            journal.from_workers = ask_workers()
        ran = _run_all(audit, observed, journal)
    with journal.stage("statistics"):
        scored = score_eval_sets(audit.eval_sets, ran.reference.predictions, ran.predictions)
        judgement = judge_cells(scored, _terms(audit, sets))
    with journal.stage("predicted harm"):
        harm = _harm(audit, observed, ran, judgement, journal)
    with journal.stage("pictures"):
        seen = make_pictures(
            audit,
            scored,
            judgement.comparisons,
            list_exemplars(scored, judgement.tolerated),
            reference=ran.reference.predictions,
            cells=ran.predictions,
        )
    report = _assembled(audit, sets, ran, scored, judgement, harm=harm, seen=seen, journal=journal)
    return report, observed.taps


def _without_large(observed: Observed) -> Observed:
    """Without histograms of slices that are large: until harm is predicted they wait in a file."""
    held = observed.slices is not None and observed.slices.histograms.counts.nbytes > _HELD_BYTES
    return replace(observed, slices=None) if held else observed


@dataclass(frozen=True, slots=True)
class _Ran:
    """What the engines gave."""

    reference: CellRun
    cells: list[CellRecord]
    """In the plan's order, those that failed among them."""
    predictions: dict[str, Predictions]
    """Of those that didn't, by cell."""
    compared: list[ComparedRanges]


def _run_all(audit: Audit, observed: Observed, journal: _Journal) -> _Ran:
    """Run FP32, then every cell."""
    reference = _judged(audit, audit.plan.reference, observed, journal)
    journal.notices += reference.notices
    try_metrics(audit.eval_sets, reference.predictions)
    cells, predictions = _cells(audit, observed, journal)
    compared = list(compare_ranges(audit.plan.cells, journal.scales))
    return _Ran(reference, cells, predictions, compared)


def _harm(
    audit: Audit, observed: Observed, ran: _Ran, judgement: Judgement, journal: _Journal
) -> HarmRecord | None:
    """What ranges are predicted to do; None where no tuning row was observed."""
    path = audit.plan.slice_ranges
    if path is None or not path.exists():
        return None
    seen = observed.slices or open_ranges(path)
    judged = {cell: journal.scales[cell] for cell in ran.predictions if journal.scales.get(cell)}
    record = predicted_harm(
        audit,
        seen,
        judged,
        reference=ran.reference.predictions,
        cells=ran.predictions,
        comparisons=judgement.comparisons,
    )
    journal.notices += harm_notices(record, judgement.comparisons)
    return record


def _assembled(
    audit: Audit,
    sets: Mapping[str, Calibset],
    ran: _Ran,
    scored: Sequence[Scored],
    judgement: Judgement,
    *,
    harm: HarmRecord | None,
    seen: tuple[list[Pictures], list[Exemplars]],
    journal: _Journal,
) -> Report:
    comparisons = judgement.comparisons
    return assemble(
        audit=records.audit_record(audit),
        metrics=records.metric_records(scored),
        reference=ReferenceRecord(
            audit.plan.reference.backend,
            ran.reference.engine,
            records.kept(audit, audit.plan.reference.predictions),
        ),
        calibsets=[
            records.calibset_record(audit, planned, sets[planned.name])
            for planned in audit.plan.calibsets
        ],
        cells=ran.cells,
        slices=slice_records(audit, comparisons),
        results=[filled(Result, one) for one in comparisons],
        attribution=judgement.attributions,
        gaps=judgement.gaps,
        screening=records.screening_records(comparisons),
        ranking_flow=rankings_of(scored),
        pictures=seen[0],
        exemplars=seen[1],
        agreement=records.agreement_records(
            audit, ran.reference.predictions, ran.predictions, comparisons
        ),
        compared_ranges=ran.compared,
        harm=harm,
        warnings=_warnings(audit, scored, judgement, journal),
        timings=journal.timings,
    )


def _warnings(
    audit: Audit, scored: Sequence[Scored], judgement: Judgement, journal: _Journal
) -> list[Notice]:
    return [
        *journal.notices,
        *_unused_notices(audit),
        *audit.pool.notices,
        *audit.slices.notices,
        *_object_notices(audit),
        *audit.qdq.notices,
        *journal.from_workers.notices,
        *journal.store.notices,
        *notices_of(scored),
        *records.left_out_notices(judgement.comparisons),
        *floor_notices(judgement.comparisons),
        *near_zero_notices(judgement.comparisons, audit.gates),
        *task_notices(scored),
        *baseline_notices(judgement.not_better, audit.pool, audit.evaluated),
        *order_notices(scored, audit.clusters),
        *cell_notices(scored, _quantized(audit)),
    ]


def _unused_notices(audit: Audit) -> Iterator[Notice]:
    for target in audit.config.unused:
        message = "isn't used: neither backend, agree_with nor an engine names it"
        yield Notice("target_unused", message, f"target {target.name}")


def _object_notices(audit: Audit) -> Iterator[Notice]:
    """What was merged, left out or empty among slices of objects."""
    for each in audit.eval_sets:
        if each.row_of_unit is not None:
            yield from each.slices.notices


def _quantized(audit: Audit) -> frozenset[str]:
    return frozenset(cell.id for cell in audit.plan.cells if cell.precision == "int8")


def _terms(audit: Audit, sets: Mapping[str, Calibset]) -> Terms:
    settled = {planned.recipe for planned in audit.plan.calibsets if planned.settled}
    settled |= set(drawn_alike(audit, sets))
    return Terms(
        gates=audit.gates,
        floors=audit.floors,
        level=audit.config.audit.level,
        seed=audit.seed,
        clusters=audit.clusters,
        origins={
            cell.id: Origin(cell.recipe, cell.way, cell.draw, cell.recipe in settled)
            for cell in audit.plan.cells
            if cell.recipe and cell.way and cell.backend == audit.config.audit.backend
        },
        controls=frozenset(cell.id for cell in audit.plan.cells if cell.role == "control"),
    )


def _judged(audit: Audit, planned: PlannedCell, observed: Observed, journal: _Journal) -> CellRun:
    """A cell as a worker made it, or else made here."""
    made = journal.from_workers.judged.get(planned.id)
    if isinstance(made, CalauditError):
        raise made
    return made or run_cell(audit, planned, observed, journal.store)


def _cells(
    audit: Audit, observed: Observed, journal: _Journal
) -> tuple[list[CellRecord], dict[str, Predictions]]:
    """Build and run every cell; one that can't be built is recorded as failed."""
    cells, predictions = [], {}
    outcomes = _outcomes(audit, observed, journal)
    for planned in audit.plan.cells:
        judged = outcomes[planned.id]
        if isinstance(judged, str):
            cells.append(records.cell_record(audit, planned, None, judged))
            continue
        journal.notices += judged.notices
        cells.append(records.cell_record(audit, planned, judged.engine))
        predictions[planned.id] = judged.predictions
        journal.scales[planned.id] = judged.scales
    journal.notices += records.prediction_notices(cells)
    return cells, predictions


def _outcomes(audit: Audit, observed: Observed, journal: _Journal) -> dict[str, CellRun | str]:
    """Each cell's engine, or why there is none.

    Each target's FP32 comes first: where it fails, nothing else is tried there.
    """
    planned = audit.plan.cells
    with counter(len(planned), what="engines", unit="engine") as done:

        def outcome(audit: Audit, cell: PlannedCell) -> CellRun | str:
            try:
                return _judged(audit, cell, observed, journal)
            except (RangesError, BackendError, ModelError) as error:
                return _reason(error, {audit.model.label, str(cell.engine)})
            finally:
                done.advance(1)

        def all_of(cells: Sequence[PlannedCell]) -> dict[str, CellRun | str]:
            # a GPU is one, and its libraries want the main thread
            mine = [cell for cell in cells if runs_abreast(audit, cell)]
            others = [cell for cell in cells if cell not in mine]
            sharing, jobs = abreast(audit, mine)
            made = map_in_threads(partial(outcome, sharing), mine, jobs=jobs)
            made += map(partial(outcome, audit), others)
            return dict(zip((cell.id for cell in (*mine, *others)), made, strict=True))

        references = [cell for cell in planned if cell.precision == "fp32" and not cell.foreign]
        found = all_of(references)
        lost = {cell.backend for cell in references if isinstance(found[cell.id], str)}
        for cell in planned:
            if cell.backend in lost and cell not in references:
                found[cell.id] = f"not run, since FP32 failed on {cell.backend}"
                done.advance(1)
        return found | all_of([cell for cell in planned if cell.id not in found])


def _reason(error: CalauditError, own: set[str]) -> str:
    """Why a cell failed, on one line; the paths `own` say no more than the cell's name."""
    problems = (replace(p, where=None if p.where in own else p.where) for p in error.problems)
    return " ".join(" ".join(map(str, problems)).split())
