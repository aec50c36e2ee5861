"""Judge: predictions of every cell against FP32's, slice by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calaudit.errors import SettingsError, near
from calaudit.evaluate import (
    Comparison,
    Metric,
    MinSupport,
    Scores,
    compare,
    judge,
    perfect,
    score_all,
)
from calaudit.formats.predictions import Predictions
from calaudit.progress import progress
from calaudit.slices import SliceSet, match_slices
from calaudit.steps.truths import Exam


@dataclass(frozen=True, slots=True)
class GateRule:
    """A gate as an audit writes it: `slices` may be a pattern."""

    metric: str
    slices: str
    max_drop: float
    where: str
    """Its place in the audit file."""


Gates = Mapping[tuple[str, str], float]
"""(metric, slice) → largest drop allowed."""


def resolve_gates(
    rules: Sequence[GateRule], metrics: Sequence[str], slices: SliceSet
) -> dict[tuple[str, str], float]:
    """Which (metric, slice) is held to which drop; where rules overlap the later one holds.

    Raises
    ------
    SettingsError
        A gate names a metric that the audit doesn't compute.
    SliceError
        A gate's slices match nothing.
    """
    gates: dict[tuple[str, str], float] = {}
    for rule in rules:
        if rule.metric not in metrics:
            raise SettingsError(
                f"no task computes {rule.metric!r}",
                where=f"{rule.where}.metric",
                next_step=near(rule.metric, metrics),
            )
        for name in match_slices(rule.slices, slices.names, where=f"{rule.where}.slices"):
            gates[rule.metric, name] = rule.max_drop
    return gates


def judge_cells(
    exams: Sequence[Exam],
    reference: Predictions,
    cells: Mapping[str, Predictions],
    *,
    gates: Gates,
    level: float,
    seed: int,
) -> list[Comparison]:
    """Compare every cell with FP32 by every metric on every slice, with verdicts.

    Parameters
    ----------
    exams : sequence of Exam
        Tasks made concrete.
    reference : Predictions
        FP32's.
    cells : mapping
        Cell id → its engine's predictions over the same rows.
    gates : mapping
        From :func:`resolve_gates`.
    level : float
        Two-sided level of the intervals.
    seed : int
        Of the bootstrap.
    """
    found: list[Comparison] = []
    for exam in exams:
        theirs, candidates = _score(exam, reference, cells)
        units = {name: exam.slices.rows(name) for name in exam.slices.names}
        support = {name: exam.slices.min_support(name) for name in exam.slices.names}
        for metric in progress(
            exam.metrics, total=len(exam.metrics), what="statistics", unit="metric"
        ):
            own = {
                name: drop
                for (gated, name), drop in gates.items()
                if gated == metric.name and name in units
            }
            compared = compare(
                metric,
                theirs[metric],
                {cell: scores[metric] for cell, scores in candidates.items()},
                units,
                max_drop=own,
                seed=seed,
                level=level,
            )
            found += judge(
                compared,
                min_support={name: MinSupport().at_least(n) for name, n in support.items()},
            )
    return found


CellScores = dict[Metric, Scores]


def _score(
    exam: Exam, reference: Predictions, cells: Mapping[str, Predictions]
) -> tuple[CellScores, dict[str, CellScores]]:
    """Scores of FP32 and of each cell; one cell's outputs are in memory at a time."""
    fp32 = exam.answer(reference)
    theirs = score_all(exam.metrics, fp32, exam.truth, fp32)
    theirs = {
        metric: perfect(metric, scores) if metric.is_agreement else scores
        for metric, scores in theirs.items()
    }
    candidates = {
        cell: score_all(exam.metrics, exam.answer(predictions), exam.truth, fp32)
        for cell, predictions in progress(
            cells.items(), total=len(cells), what="scores", unit="cell"
        )
    }
    return theirs, candidates
