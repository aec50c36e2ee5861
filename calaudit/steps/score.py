"""Score: what every unit got from FP32 and from each cell, and what became of rankings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.scores import Scores
from calaudit.metrics.scoring import perfect, scores_of
from calaudit.metrics.truth import Relevance
from calaudit.results.drops import Exemplars
from calaudit.results.rankings import RankingFlow, RankingSlice
from calaudit.runtime.errors import Notice
from calaudit.runtime.progress import progress
from calaudit.statistics.baselines import Rival, is_constant
from calaudit.statistics.exemplars import find_exemplars
from calaudit.statistics.ranking_change import RankingChange, changes_in
from calaudit.steps.sanity import answers_of, is_identical, rivals_in
from calaudit.tasks.base import Exam, placed


def describe_ranking(cell: str, exam: Exam, truth: Relevance, case: Case) -> list[RankingFlow]:
    """Losses by cause, ties and exposure that moved: one for each cut among the metrics.

    Parameters
    ----------
    cell : str
        Its id.
    exam : Exam
        A ranking.
    truth : Relevance
        The exam's.
    case : Case
        Scores by the cell's engine and by FP32.
    """
    return [_flow(cell, exam, truth, change) for change in changes_in(exam.metrics, case)]


def _flow(cell: str, exam: Exam, truth: Relevance, change: RankingChange) -> RankingFlow:
    lost, gained = change.moved(np.arange(len(truth), dtype=np.int64), names=exam.items)
    return RankingFlow(
        cell=cell,
        output=exam.output,
        k=change.k,
        catalogue=truth.n_items,
        tail_items=None if truth.tail is None else int(truth.tail.sum()),
        slices=tuple(_slice(change, exam, name) for name in exam.slices.names),
        lost=lost,
        gained=gained,
    )


def _slice(change: RankingChange, exam: Exam, name: str) -> RankingSlice:
    rows = exam.slices.rows(name)
    losses = (change.loss(metric, rows) for metric in exam.metrics)
    return RankingSlice(
        slice=name,
        n=len(rows),
        reference_ties=change.tied_share("fp32", rows),
        candidate_ties=change.tied_share("engine", rows),
        flow=change.flow(rows),
        losses=tuple(each for each in losses if each is not None),
    )


CellScores = Mapping[Metric, Scores]


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """One exam's scores."""

    exam: Exam
    reference: CellScores
    """FP32's."""
    cells: Mapping[str, CellScores]
    """Cell id → its scores."""
    rankings: tuple[RankingFlow, ...] = ()
    """Of a ranking: what each cell made of FP32's."""
    notices: tuple[Notice, ...] = ()
    """Units whose outputs aren't numbers, under FP32 and under the engines."""
    probabilities: bool = False
    """Whether a classifier's outputs are probabilities, so that metrics of logits read them so."""
    rivals: tuple[Rival, ...] = ()
    """Whom FP32 should be better than."""
    constant: bool = False
    """Whether FP32's output doesn't vary with the input."""
    constant_cells: tuple[str, ...] = ()
    """Cells of which that is so, though not of FP32."""
    identical: frozenset[str] = frozenset()
    """Cells whose outputs are FP32's, to the bit."""
    answer: NDArray[np.int64] | None = None
    """(n,) the class that FP32 answers, -1 where none; None where it isn't asked for classes."""
    floating: bool = False
    """Whether the output is one of floats, so that equal outputs are no chance."""


def score_exams(
    exams: Iterable[Exam], reference: Predictions, cells: Mapping[str, Predictions]
) -> list[Scored]:
    """Score every exam; one cell's outputs are in memory at a time.

    Parameters
    ----------
    exams : iterable of Exam
    reference : Predictions
        FP32's.
    cells : mapping
        Cell id → its engine's predictions over the same rows.
    """
    return [_scored(exam, reference, cells) for exam in exams]


def rankings_of(scored: Sequence[Scored]) -> list[RankingFlow]:
    """What every cell made of FP32's rankings, in the order of the exams."""
    return [record for one in scored for record in one.rankings]


def task_notices(scored: Iterable[Scored]) -> Iterator[Notice]:
    """What kinds of task have to say of their metrics."""
    for one in scored:
        yield from one.exam.task.notices(one.exam, probabilities=one.probabilities)


def notices_of(scored: Sequence[Scored]) -> list[Notice]:
    """What there is to say of outputs that aren't numbers; once, if several exams read them."""
    return list(dict.fromkeys(notice for one in scored for notice in one.notices))


def _scored(exam: Exam, reference: Predictions, cells: Mapping[str, Predictions]) -> Scored:
    fp32 = exam.answer(reference, reference)
    probabilities = exam.task.gives_probabilities(exam, fp32)
    base = Case(fp32, exam.truth, fp32, probabilities=probabilities, ids=exam.ids)
    theirs = {}
    with placed(target=exam.target, where=exam.where):
        for metric in exam.metrics:
            scores = scores_of(metric, base)
            theirs[metric] = perfect(metric, scores) if metric.is_agreement else scores
    notices: list[Notice] = []
    if base.unanswered.any():
        message = f"FP32's output {exam.output} isn't finite for {_named(exam, base.unanswered)}"
        notices.append(Notice("reference_not_finite", f"{message}; left out"))
    constant, constant_cells, identical = is_constant(fp32), [], set()
    candidates: dict[str, CellScores] = {}
    rankings: list[RankingFlow] = []
    for cell, predictions in progress(cells.items(), total=len(cells), what="scores", unit="cell"):
        case = base.with_outputs(exam.answer(predictions, reference))
        with placed(target=exam.target, where=exam.where):
            candidates[cell] = {metric: scores_of(metric, case) for metric in exam.metrics}
        if not constant and is_constant(case.outputs):
            constant_cells.append(cell)
        if is_identical(case.outputs, fp32):
            identical.add(cell)
        broken = case.unanswered & ~base.unanswered
        if broken.any():
            message = f"its output {exam.output} isn't finite where FP32's is, for"
            notices.append(
                Notice("output_not_finite", f"{message} {_named(exam, broken)}", f"cell {cell}")
            )
        if isinstance(exam.truth, Relevance):
            rankings += describe_ranking(cell, exam, exam.truth, case)
    return Scored(
        exam,
        theirs,
        candidates,
        tuple(rankings),
        tuple(notices),
        probabilities,
        rivals=rivals_in(exam, base),
        constant=constant,
        constant_cells=tuple(constant_cells),
        identical=frozenset(identical),
        answer=answers_of(base),
        floating=fp32.dtype.kind == "f",
    )


_SHOWN = 3


def _named(exam: Exam, units: NDArray[np.bool_]) -> str:
    """How many units, of how many, and the ids of the first."""
    rows = np.flatnonzero(units)
    plural = {"query": "queries"}.get(exam.unit, f"{exam.unit}s")
    more = ", …" if len(rows) > _SHOWN else ""
    ids = ", ".join(exam.ids(rows[:_SHOWN]))
    return f"{len(rows):,} of {len(units):,} {plural}: {ids}{more}"


def list_exemplars(
    scored: Iterable[Scored], gates: Mapping[tuple[str, str], float], *, most: int = 10
) -> list[Exemplars]:
    """Units that flip under more than half of the engines.

    By each exam's first metric and those that are gated; metrics of whole sets and of likeness to
    FP32 are passed over: the ones score no unit, by the others any change would count.

    Parameters
    ----------
    scored : iterable of Scored
    gates : mapping
        (metric, slice) → largest drop allowed. A score that isn't right or wrong flips where it
        changes by more than its metric's strictest gate.
    most : int
        Units to list per metric.
    """
    found = []
    for one in scored:
        for number, metric in enumerate(one.exam.metrics):
            strictest = [drop for (gated, _), drop in gates.items() if gated == metric.name]
            if metric.is_agreement or (number and not strictest):
                continue
            least = 0.0 if metric.kind == "binary" else min(strictest, default=0.0)
            exemplars = find_exemplars(
                metric,
                one.reference[metric],
                [scores[metric] for scores in one.cells.values()],
                ids=one.exam.ids,
                slices=one.exam.slices,
                unit=one.exam.unit,
                least=least,
                most=most,
            )
            if exemplars is not None:
                found.append(exemplars)
    return found
