"""Score: what every unit got from FP32 and from each cell, and what became of rankings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from calaudit.evaluate import Metric, Relevance, Scores, perfect
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.scoring import scores_of
from calaudit.formats.predictions import Predictions
from calaudit.progress import progress
from calaudit.report import RankingRecord
from calaudit.steps.exam import Exam
from calaudit.steps.ranking_flow import describe_ranking

CellScores = Mapping[Metric, Scores]


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """One exam's scores."""

    exam: Exam
    reference: CellScores
    """FP32's."""
    cells: Mapping[str, CellScores]
    """Cell id → its scores."""
    rankings: tuple[RankingRecord, ...] = ()
    """Of a ranking: what each cell made of FP32's."""


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


def rankings_of(scored: Sequence[Scored]) -> list[RankingRecord]:
    """What every cell made of FP32's rankings, in the order of the exams."""
    return [record for one in scored for record in one.rankings]


def _scored(exam: Exam, reference: Predictions, cells: Mapping[str, Predictions]) -> Scored:
    fp32 = exam.answer(reference)
    base = Case(fp32, exam.truth, fp32)
    theirs = {}
    for metric in exam.metrics:
        scores = scores_of(metric, base)
        theirs[metric] = perfect(metric, scores) if metric.is_agreement else scores
    candidates: dict[str, CellScores] = {}
    rankings: list[RankingRecord] = []
    for cell, predictions in progress(cells.items(), total=len(cells), what="scores", unit="cell"):
        case = base.with_outputs(exam.answer(predictions))
        candidates[cell] = {metric: scores_of(metric, case) for metric in exam.metrics}
        if isinstance(exam.truth, Relevance):
            rankings += describe_ranking(cell, exam, exam.truth, case)
    return Scored(exam, theirs, candidates, tuple(rankings))
