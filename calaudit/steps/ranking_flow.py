"""What one engine made of FP32's rankings, slice by slice."""

import numpy as np

from calaudit.metrics.case import Case
from calaudit.metrics.truth import Relevance
from calaudit.results.rankings import RankingFlow, RankingSlice
from calaudit.statistics.ranking_change import RankingChange, changes_in
from calaudit.tasks.base import Exam


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
