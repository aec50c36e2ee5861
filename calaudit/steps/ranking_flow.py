"""What one engine made of FP32's rankings, slice by slice, as records of the report."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate import Metric, Relevance
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.ranking import LossSplit, MovedItem, RankingChange, changes_in
from calaudit.report import (
    FlowRecord,
    LossRecord,
    MovedItemRecord,
    RankingRecord,
    RankingSliceRecord,
)
from calaudit.steps.exam import Exam


def describe_ranking(cell: str, exam: Exam, truth: Relevance, case: Case) -> list[RankingRecord]:
    """Losses by cause, ties and exposure that moved: one record for each cut among the metrics.

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
    return [
        RankingRecord(
            cell=cell,
            output=exam.output,
            k=change.k,
            catalogue=truth.n_items,
            tail_items=None if truth.tail is None else int(truth.tail.sum()),
            slices=tuple(_slice(change, exam, name) for name in exam.slices.names),
            lost=lost,
            gained=gained,
        )
        for change in changes_in(exam.metrics, case)
        for lost, gained in [_moved(change, exam, truth)]
    ]


def _slice(change: RankingChange, exam: Exam, name: str) -> RankingSliceRecord:
    rows = exam.slices.rows(name)
    flow = change.flow(rows)
    return RankingSliceRecord(
        slice=name,
        n=len(rows),
        reference_ties=change.tied_share("fp32", rows),
        candidate_ties=change.tied_share("engine", rows),
        flow=None
        if flow is None
        else FlowRecord(
            flow.places,
            flow.kept,
            flow.head_to_head,
            flow.head_to_tail,
            flow.tail_to_head,
            flow.tail_to_tail,
        ),
        losses=tuple(_losses(change, exam.metrics, rows)),
    )


def _losses(
    change: RankingChange, metrics: Sequence[Metric], rows: NDArray[np.int64]
) -> list[LossRecord]:
    found = []
    for metric in metrics:
        split, bounds = change.split(metric, rows), change.tie_range(metric, rows)
        if split is not None or bounds is not None:
            found.append(_loss(metric, split, bounds))
    return found


def _loss(
    metric: Metric, split: LossSplit | None, bounds: tuple[float, float] | None
) -> LossRecord:
    worst, best = bounds or (None, None)
    if split is None:
        return LossRecord(metric.name, None, None, None, None, worst, best)
    return LossRecord(
        metric.name, split.drop, split.across_cut, split.reordering, split.ties, worst, best
    )


def _moved(
    change: RankingChange, exam: Exam, truth: Relevance
) -> tuple[tuple[MovedItemRecord, ...], ...]:
    everything = np.arange(len(truth), dtype=np.int64)
    return tuple(
        tuple(_items(moved, exam, truth) if moved else ()) for moved in change.moved(everything)
    )


def _items(moved: Sequence[MovedItem], exam: Exam, truth: Relevance) -> list[MovedItemRecord]:
    positions = np.array([one.item for one in moved], dtype=np.int64)
    names = [str(at) for at in positions] if exam.items is None else exam.items(positions)
    return [
        MovedItemRecord(
            item=name,
            reference=one.before,
            candidate=one.after,
            popularity=None if truth.popularity is None else float(truth.popularity[one.item]),
            tail=None if truth.tail is None else bool(truth.tail[one.item]),
        )
        for one, name in zip(moved, names, strict=True)
    ]
