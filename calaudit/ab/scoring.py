"""What each request scored: an arm's answers judged by the audit's tasks, sample by sample.

A sample is scored once for each different answer that an arm gave to it, and its requests get the
score of theirs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, of_units
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import first_of
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.score import Scored, score_eval_sets
from calaudit.tasks.base import EvalSet

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class UnitTable:
    """One metric of one arm: what units scored, for each different answer to them."""

    numerators: list[Floats]
    """For the first, second, … different answer: (u,); NaN where there is no score."""
    denominators: list[Floats]
    """(u,) each; 1 unless the metric is a ratio of sums."""

    @classmethod
    def of(cls, scores: Scores) -> "UnitTable":
        """Of one answer to each unit."""
        table = cls([], [])
        table.append(scores)
        return table

    def append(self, scores: Scores) -> None:
        """Another answer to each unit."""
        assert not isinstance(scores, SetScores)
        bottom = scores.denominator if isinstance(scores, RatioScores) else np.ones(len(scores))
        self.numerators.append(of_units(scores))
        self.denominators.append(bottom)


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


def judged_by_request(
    audit: Audit,
    cells: Mapping[str, Predictions],
    reference: Predictions,
    *,
    lent: str | None = None,
    metrics: Sequence[str] = (),
) -> Judged:
    """What every unit scored under `cells`, one of each arm, named by `cell_of`."""
    eval_sets = [
        only(each, metrics or None) for each in audit.eval_sets if each.unit_of_row is None
    ]
    eval_sets = [each for each in eval_sets if each.metrics]
    notices = [] if lent is None else list(_on_lent(audit, eval_sets, lent))
    eval_sets = [each for each in eval_sets if lent is None or not mixes(audit, each)]
    scored = score_eval_sets(eval_sets, reference, cells)
    found: list[MetricScores] = []
    passed: list[str] = [
        metric.name
        for each in audit.eval_sets
        if each.unit_of_row is not None
        for metric in only(each, metrics or None).metrics
    ]
    for one in scored:
        for metric in one.eval_set.metrics:
            if isinstance(one.reference[metric], SetScores):
                passed.append(metric.name)
                continue
            tables = tuple(
                UnitTable.of(one.cells[cell_of(arm)][metric]) for arm in range(len(cells))
            )
            fp32 = None if metric.is_agreement else UnitTable.of(one.reference[metric])
            found.append(MetricScores(metric, one.eval_set, audit.evaluated, tables, fp32))
    return Judged(tuple(found), tuple(scored), (*_passed_over(passed), *notices))


def _also_read(audit: Audit, eval_set: EvalSet) -> Rows | None:
    """Rows whose answers all units' scores rest on, such as a gallery's; None: there are none."""
    return eval_set.task.more_rows(audit.pool, eval_set.where)


def mixes(audit: Audit, eval_set: EvalSet) -> bool:
    """Whether these rows may be asked for: an arm's answers and another's would be put together."""
    rows = _also_read(audit, eval_set)
    return rows is not None and bool(np.isin(rows, audit.evaluated).any())


def _on_lent(audit: Audit, eval_sets: Sequence[EvalSet], lent: str) -> Iterator[Notice]:
    for each in eval_sets:
        if _also_read(audit, each) is None:
            continue
        names = ", ".join(metric.name for metric in each.metrics)
        if mixes(audit, each):
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


def cell_of(arm: int) -> str:
    """What an arm's answers are called where cells are scored."""
    return f"arm {arm}"


def only(eval_set: EvalSet, metrics: Collection[str] | None) -> EvalSet:
    """An evaluation set with some of its metrics; None: with all."""
    if metrics is None:
        return eval_set
    return replace(eval_set, metrics=tuple(m for m in eval_set.metrics if m.name in metrics))


def _passed_over(names: Sequence[str]) -> Iterator[Notice]:
    if names:
        yield Notice(
            "not_by_request",
            f"{first_of(list(dict.fromkeys(names)), len(set(names)))}: no request has a score by "
            "what is a function of many samples together, so that the arms aren't compared by it",
        )
