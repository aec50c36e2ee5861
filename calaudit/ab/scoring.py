"""What each request scored: an arm's answers judged by the audit's tasks, sample by sample.

A sample is scored once for each different answer that an arm gave to it, and its requests get the
score of theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.answers import AnswerKeeper
from calaudit.audit.prepare import Audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import definition_of, parse_metric
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, of_units
from calaudit.results.ab import SameAnswers
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import first_of
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.score import CellScores, Scored, score_eval_sets
from calaudit.tasks.base import EvalSet

_TOP: Final = {1: "top1_agreement", 10: "overlap@10"}
"""What says whether two arms say the same, by how many of the highest answers count."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class UnitTable:
    """One metric of one arm: what units scored, for each different answer to them."""

    numerators: list[Floats]
    """For the first, second, … different answer: (u,); NaN where there is no score."""
    denominators: list[Floats]
    """(u,) each; 1 unless the metric is a ratio of sums."""


@dataclass(frozen=True, eq=False, slots=True)
class MetricScores:
    """One metric of both arms."""

    metric: Metric
    eval_set: EvalSet
    evaluated: Rows
    """Pool rows, ascending, that units are of."""
    arms: tuple[UnitTable, ...]
    fp32: UnitTable | None
    """What FP32 scored; None of a metric of likeness to it."""

    @property
    def slices(self) -> SliceSet:
        """Over the units."""
        return self.eval_set.slices

    @property
    def by_row(self) -> bool:
        """Whether each evaluated row is one unit, so that slices are sets of requests."""
        return self.eval_set.row_of_unit is None

    def of_requests(
        self, arm: int, rows: Rows, numbers: NDArray[np.int32], within: str | None = None
    ) -> tuple[Floats, Floats]:
        """What requests scored, as numerators and denominators.

        Parameters
        ----------
        arm : int
        rows : int64 (n,)
            The pool's row behind each request.
        numbers : int32 (n,)
            Which of the different answers it got; -1: none.
        within : str, optional
            Count only units of this slice.

        Returns
        -------
        float64 (n,), float64 (n,)
            NaN and 0 where a request has no score.
        """
        return self._of(self.arms[arm], rows, numbers, within)

    def expected(
        self, rows: Rows, judged: NDArray[np.bool_], within: str | None = None
    ) -> Floats | None:
        """What FP32 scores on the requests' samples (n,), as numerators; NaN where nothing.

        Known before any request is sent, whichever arm gets it. None of a metric of likeness.

        Parameters
        ----------
        rows : int64 (n,)
            The pool's row behind each request.
        judged : bool (n,)
            Whether it is evaluated.
        within : str, optional
            Count only units of this slice.
        """
        if self.fp32 is None:
            return None
        return self._of(self.fp32, rows, np.where(judged, 0, -1).astype(np.int32), within)[0]

    def _of(
        self, table: UnitTable, rows: Rows, numbers: NDArray[np.int32], within: str | None
    ) -> tuple[Floats, Floats]:
        units = None if within is None else self.slices.rows(within)
        score, size = np.full(len(rows), np.nan), np.zeros(len(rows))
        for number, pair in enumerate(zip(table.numerators, table.denominators, strict=True)):
            mine = np.flatnonzero(numbers == number)
            top, bottom = self._by_row(*pair, units)
            places = np.searchsorted(self.evaluated, rows[mine])
            scored = bottom[places] > 0
            score[mine[scored]] = top[places[scored]]
            size[mine[scored]] = bottom[places[scored]]
        return score, size

    def _by_row(
        self, numerator: Floats, denominator: Floats, units: Rows | None
    ) -> tuple[Floats, Floats]:
        """Sums over the units of each evaluated row."""
        kept = ~np.isnan(numerator)
        if units is not None:
            inside = np.zeros(len(kept), bool)
            inside[units] = True
            kept &= inside
        of = self.eval_set.row_of_unit
        where = np.flatnonzero(kept) if of is None else of[kept]
        n = len(self.evaluated)
        sums = (np.bincount(where, each[kept], minlength=n) for each in (numerator, denominator))
        top, bottom = (each.astype(np.float64) for each in sums)
        return top, bottom


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """All metrics that requests can be scored by."""

    metrics: tuple[MetricScores, ...]
    scored: tuple[Scored, ...]
    """As the audit's steps give them, with cells that stand for arms and their answers."""
    notices: tuple[Notice, ...]
    likeness: tuple[Scored, ...] = ()
    """The treatment's first answers, the control's in FP32's place."""


def score_arms(
    audit: Audit,
    keeper: AnswerKeeper,
    fillings: Sequence[Predictions],
    reference: Predictions,
    folder: Path,
    *,
    lent: str | None = None,
    metrics: Sequence[str] = (),
) -> tuple[Judged, list[SameAnswers]]:
    """Score what both arms answered.

    Parameters
    ----------
    audit : Audit
    keeper : AnswerKeeper
    fillings : sequence of Predictions
        Of each arm: stand in for samples that nobody asked it for, such as a gallery's.
    reference : Predictions
        FP32's.
    folder : Path
        For files; its owner deletes it.
    lent : str, optional
        Engine that `fillings` of both arms are of, where they aren't the arms' own.
    metrics : sequence of str
        Only these; by default all.
    """
    written: dict[tuple[int, int], Predictions] = {}
    for arm, answers in enumerate(keeper.arms):
        for number in range(max(len(answers.batches), 1)):
            path = folder / f"{arm}.{number}.h5"
            written[arm, number] = answers.written(number, fillings[arm], path)
    cells = {_cell(*key): given for key, given in written.items()}
    arms = len(keeper.arms)
    judged = judged_by_request(audit, cells, reference, arms=arms, lent=lent, metrics=metrics)
    same, likeness = _same_answers(audit, keeper, [written[arm, 0] for arm in range(arms)], lent)
    return replace(judged, likeness=tuple(likeness)), same


def judged_by_request(
    audit: Audit,
    cells: Mapping[str, Predictions],
    reference: Predictions,
    *,
    arms: int,
    lent: str | None = None,
    metrics: Sequence[str] = (),
) -> Judged:
    """What every unit scored under `cells`, named by arm and number of the answer."""
    eval_sets = [_only(each, metrics) for each in audit.eval_sets if each.unit_of_row is None]
    eval_sets = [each for each in eval_sets if each.metrics]
    notices = [] if lent is None else list(_on_lent(audit, eval_sets, lent))
    eval_sets = [each for each in eval_sets if lent is None or not _mixes(audit, each)]
    scored = score_eval_sets(eval_sets, reference, cells)
    found: list[MetricScores] = []
    passed: list[str] = [
        metric.name
        for each in audit.eval_sets
        if each.unit_of_row is not None
        for metric in _only(each, metrics).metrics
    ]
    for one in scored:
        for metric in one.eval_set.metrics:
            if isinstance(one.reference[metric], SetScores):
                passed.append(metric.name)
                continue
            tables = tuple(_table(one.cells, metric, arm) for arm in range(arms))
            top, bottom = _parts(one.reference[metric])
            fp32 = None if metric.is_agreement else UnitTable([top], [bottom])
            found.append(MetricScores(metric, one.eval_set, audit.evaluated, tables, fp32))
    return Judged(tuple(found), tuple(scored), (*_passed_over(passed), *notices))


def _also_read(audit: Audit, eval_set: EvalSet) -> Rows | None:
    """Rows whose answers all units' scores rest on, such as a gallery's; None: there are none."""
    return eval_set.task.more_rows(audit.pool, eval_set.where)


def _mixes(audit: Audit, eval_set: EvalSet) -> bool:
    """Whether these rows may be asked for: an arm's answers and another's would be put together."""
    rows = _also_read(audit, eval_set)
    return rows is not None and bool(np.isin(rows, audit.evaluated).any())


def _on_lent(audit: Audit, eval_sets: Sequence[EvalSet], lent: str) -> Iterator[Notice]:
    for each in eval_sets:
        if _also_read(audit, each) is None:
            continue
        names = ", ".join(metric.name for metric in each.metrics)
        if _mixes(audit, each):
            yield Notice(
                "lent_answers",
                f"{names}: rest on the answers to a whole gallery, which isn't known of both arms "
                "and is evaluated as well, so that the arms aren't compared by it",
            )
        else:
            yield Notice(
                "lent_answers",
                f"{names}: the gallery is {lent}'s for both arms, since both arms' own answers "
                "to it aren't known; only queries are the arms' own",
            )


def _cell(arm: int, number: int) -> str:
    return f"{arm}.{number}"


def _only(eval_set: EvalSet, metrics: Sequence[str]) -> EvalSet:
    if not metrics:
        return eval_set
    return replace(eval_set, metrics=tuple(m for m in eval_set.metrics if m.name in metrics))


def _table(cells: Mapping[str, CellScores], metric: Metric, arm: int) -> UnitTable:
    table = UnitTable([], [])
    while (cell := _cell(arm, len(table.numerators))) in cells:
        top, bottom = _parts(cells[cell][metric])
        table.numerators.append(top)
        table.denominators.append(bottom)
    return table


def _parts(scores: Scores) -> tuple[Floats, Floats]:
    assert not isinstance(scores, SetScores)
    top = of_units(scores)
    bottom = scores.denominator if isinstance(scores, RatioScores) else np.ones(len(scores))
    return top, bottom


def _passed_over(names: Sequence[str]) -> Iterator[Notice]:
    if names:
        yield Notice(
            "not_by_request",
            f"{first_of(list(dict.fromkeys(names)), len(set(names)))}: no request has a score by "
            "what is a function of many samples together, so that the arms aren't compared by it",
        )


def _same_answers(
    audit: Audit, keeper: AnswerKeeper, first: Sequence[Predictions], lent: str | None
) -> tuple[list[SameAnswers], list[Scored]]:
    """How alike the arms' first answers to the same samples are, and what it was found by."""
    control, treatment = keeper.arms
    both = np.array(sorted(control.digests.keys() & treatment.digests.keys()), np.int64)
    same = sum(control.digests[row][0] == treatment.digests[row][0] for row in both.tolist())
    found = [
        SameAnswers(
            None,
            len(both),
            same / len(both) if len(both) else None,
            len(control.unsteady),
            len(treatment.unsteady),
        )
    ]
    by: list[Scored] = []
    if not len(both):
        return found, by
    for eval_set in audit.eval_sets:
        if eval_set.unit_of_row is not None or not _readable(eval_set, first):
            continue
        if lent is not None and _mixes(audit, eval_set):
            continue
        alike = replace(eval_set, metrics=tuple(_likeness(eval_set)))
        if not alike.metrics:
            continue
        (scored,) = score_eval_sets([alike], first[0], {"treatment": first[1]})
        by.append(scored)
        of_row = np.searchsorted(audit.evaluated, both)
        of = eval_set.row_of_unit
        units = of_row if of is None else np.flatnonzero(np.isin(of, of_row))
        for metric in alike.metrics:
            value = scored.cells["treatment"][metric].value(units)
            found.append(SameAnswers(metric.name, len(both), value))
    return list({each.metric: each for each in found}.values()), by


def _readable(eval_set: EvalSet, given: Sequence[Predictions]) -> bool:
    """Whether an arm's answers can stand in FP32's place."""
    kept = eval_set.reduction
    if kept is not None and kept.against_reference:
        return all(set(eval_set.outputs) <= set(each.output_names) for each in given)
    return True


def _likeness(eval_set: EvalSet) -> Iterator[Metric]:
    """Metrics of likeness: those that the audit names, else what suits the kind of task."""
    named = [metric for metric in eval_set.metrics if metric.is_agreement]
    yield from named
    task = eval_set.task
    usual = task.alike or _TOP.get(task.top or 0)
    if named or usual is None:
        return
    metric = parse_metric(usual)
    if isinstance(eval_set.truth, definition_of(metric).needs or task.truth):
        yield metric
