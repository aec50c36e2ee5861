"""Scores in place of wide outputs: made while an engine runs, from its outputs and FP32's.

An engine's outputs of a thousand classes are read by a few metrics, each of which scores every row
by itself. So the scores are kept, with what else is asked of outputs: which are highest, how far
they are from FP32's, and whether they vary. FP32's outputs are kept whole, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.formats.given import Column, Given, Held, Ragged
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case, flat
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.scoring import TieBounds, bounds_of
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.shown import Shown
from calaudit.metrics.truth import Relevance
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores
from calaudit.runtime.outside import is_ours
from calaudit.runtime.pool import Rows
from calaudit.runtime.settings import as_values
from calaudit.statistics.ranking_change import changes_in, cuts_of
from calaudit.steps.agreement import highest, squared_difference
from calaudit.steps.pieces import Pieces
from calaudit.steps.unit_facts import UnitFacts, facts_of
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reduction import Scoring

WIDE: Final = 1024
"""Bytes of a row's output from which scores take clearly less."""
_SEED = 20_261_130
_PLAIN_BYTES: Final = 64
"""Of a row, beside scores and lists."""


@dataclass(frozen=True, eq=False)
class ScoresReduction(Scoring):
    """Scores of one evaluation set's rows."""

    eval_set: EvalSet
    evaluated: Rows
    """Pool row of each unit, ascending."""
    _probabilities: dict[Any, bool] = field(default_factory=dict)
    """FP32's file → whether it holds them."""
    _looking: Any = field(default_factory=Lock)
    against_reference: bool = True

    @property
    def name(self) -> str:
        """By the task's place in the audit file."""
        return f"scores of {self.eval_set.where.rpartition(': ')[2]}"

    @property
    def key(self) -> Mapping[str, object]:
        """The task's settings, and what its output ends in."""
        task = self.eval_set.task
        return {
            "kind": task.kind,
            "task": as_values(task),
            "metrics": [metric.name for metric in self.eval_set.metrics],
            "closing": self.eval_set.closing,
        }

    @property
    def row_bytes(self) -> int:
        """Of lists as long as the cuts, and a few numbers per metric."""
        scores = sum(
            {"binary": 2, "mean": 8, "ratio": 16}.get(metric.kind, 48)
            for metric in self.eval_set.metrics
        )
        lists = sum(12 * k + 24 for k in self._cuts)
        return _PLAIN_BYTES + 4 * (self.eval_set.task.top or 0) + scores + lists

    @property
    def _cuts(self) -> list[int]:
        ranked = isinstance(self.eval_set.truth, Relevance)
        return cuts_of(self.eval_set.metrics) if ranked else []

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], rows: Rows, reference: Given | None
    ) -> Mapping[str, Column]:
        """See `Reduction`; all rows are evaluated."""
        assert isinstance(reference, Predictions)
        units = np.searchsorted(self.evaluated, rows)
        base = self._base(reference, units)
        case = base.with_outputs(self.eval_set.answers(Held(rows, outputs), reference, units))
        return self._columns(case, facts_of(case, self.eval_set.metrics, rankings=False))

    def _base(self, reference: Predictions, units: Rows) -> Case:
        with self._looking:
            if reference.path not in self._probabilities:
                found = Pieces(self.eval_set, reference).probabilities
                self._probabilities[reference.path] = found
        answers = self.eval_set.answers(reference, reference, units)
        return Case(
            answers,
            self.eval_set.truth.take(units),
            answers,
            probabilities=self._probabilities[reference.path],
            ids=lambda positions: self.eval_set.ids(units[positions]),
        )

    def _columns(self, case: Case, facts: UnitFacts) -> dict[str, Column]:
        ours, theirs = case.outputs, case.reference()
        lost, power = squared_difference(ours, theirs)
        found: dict[str, Column] = {
            "unanswered": facts.unanswered,
            "identical": _identical(ours, theirs),
            "lost": lost,
            "power": power,
            "sketch": sketch(ours),
            "largest": _largest(ours, theirs),
        }
        if self.eval_set.task.top is not None and ours.ndim == 2:
            found["top"] = highest(case, self.eval_set.task.top).astype(np.int32)
        for metric, scores in facts.scores.items():
            found |= {f"{metric.name} {name}": each for name, each in _stored(scores).items()}
        for metric in self._bounded:
            bounds = bounds_of(metric, case)
            assert bounds is not None
            found[f"{metric.name} worst"] = bounds.worst.values
            found[f"{metric.name} best"] = bounds.best.values
        for k in self._cuts:
            shown = case.shown(k)
            counts = np.bincount(shown.query, minlength=len(case))
            for name in ("item", "first", "tied"):
                values = getattr(shown, name).astype(np.int32)
                found[f"shown@{k} {name}"] = Ragged(values, counts)
        return found

    def best(self, given: Given, units: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """See `Scoring`."""
        top = self.highest(given, units)[:, 0].astype(np.int64)
        return top, self._read(given, "unanswered", units)

    def highest(self, given: Given, units: Rows) -> NDArray[np.int32]:
        """See `Scoring`."""
        found: NDArray[np.int32] = self._read(given, "top", units)
        return found

    def largest_difference(self, given: Given) -> float | None:
        """See `Scoring`."""
        found = given.read_answers(self.name, "largest", self.evaluated)
        return None if np.isnan(found).all() else float(np.nanmax(found))

    def squared_differences(self, given: Given) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Scoring`."""
        lost, power = (
            given.read_answers(self.name, name, self.evaluated) for name in ("lost", "power")
        )
        return lost, power

    def sketch(self, given: Given, units: Rows) -> NDArray[np.float64]:
        """`sketch` of some units."""
        found: NDArray[np.float64] = self._read(given, "sketch", units)
        return found

    def facts(self, given: Given, units: Rows, base: Case, fp32: UnitFacts) -> UnitFacts:
        """What was kept of some units.

        Parameters
        ----------
        given : Given
        units : int64 (u,)
            Ascending.
        base : Case
            FP32's, over the same units.
        fp32 : UnitFacts
            Of `base`.
        """
        scores = {m: self._scores(given, m, fp32.scores[m], units) for m in self.eval_set.metrics}
        broken = self._read(given, "unanswered", units)
        identical = bool(self._read(given, "identical", units).all())
        lists = {k: self._shown(given, k, units, base) for k in self._cuts}
        case = base.with_lists(broken, lists)
        changes = tuple(
            replace(change, bounds={**change.bounds, **self._bounds(given, change.k, units)})
            for change in (changes_in(self.eval_set.metrics, case) if lists else ())
        )
        return UnitFacts(scores, broken, identical, None, changes)

    @property
    def _bounded(self) -> list[Metric]:
        """Those of which ties' bounds need more than who is in the top k."""
        cuts, found = self._cuts, ((m, definition_of(m)) for m in self.eval_set.metrics)
        return [m for m, d in found if m.k in cuts and d.bounds is not None and not d.shown_only]

    def _bounds(self, given: Given, k: int, units: Rows) -> dict[Metric, TieBounds]:
        return {
            metric: TieBounds(
                *(
                    UnitScores(metric, self._read(given, f"{metric.name} {which}", units))
                    for which in ("worst", "best")
                )
            )
            for metric in self._bounded
            if metric.k == k
        }

    def _scores(self, given: Given, metric: Metric, fp32: Scores, units: Rows) -> Scores:
        def read(name: str) -> NDArray[Any]:
            return self._read(given, f"{metric.name} {name}", units)

        if isinstance(fp32, RatioScores):
            return RatioScores(metric, read("numerator"), read("denominator"))
        if isinstance(fp32, UnitScores):
            values = read("value")
            return UnitScores(metric, values, read("missing") if values.dtype == bool else None)
        assert isinstance(fp32.statistics, Sums)
        rows = self.evaluated[units]
        column, value = (
            given.read_ragged(self.name, f"{metric.name} {name}", rows)
            for name in ("column", "value")
        )
        shape = (len(units), fp32.statistics.columns.shape[1])
        table = sparse.csr_array((value.values, column.values, column.offsets), shape=shape)
        return SetScores(metric, replace(fp32.statistics, columns=table), read("missing"))

    def _shown(self, given: Given, k: int, units: Rows, base: Case) -> Shown:
        rows = self.evaluated[units]
        item, first, tied = (
            given.read_ragged(self.name, f"shown@{k} {name}", rows)
            for name in ("item", "first", "tied")
        )
        places = first.values.astype(np.int64)
        size = tied.values.astype(np.int64)
        return Shown(
            k,
            (len(units), base.outputs.shape[1]),
            np.repeat(np.arange(len(units)), item.counts),
            item.values.astype(np.int64),
            places,
            size,
            np.minimum(k - places, size) / size,
        )

    def _read(self, given: Given, column: str, units: Rows) -> NDArray[Any]:
        return given.read_answers(self.name, column, self.evaluated[units])


def _stored(scores: Scores) -> dict[str, Column]:
    if isinstance(scores, RatioScores):
        return {"numerator": scores.numerator, "denominator": scores.denominator}
    missing = ~scores.present
    if isinstance(scores, UnitScores):
        binary = scores.values.dtype == bool
        return {"value": scores.values, **({"missing": missing} if binary else {})}
    assert isinstance(scores.statistics, Sums)
    table = scores.statistics.columns
    counts = np.diff(table.indptr).astype(np.int64)
    return {
        "column": Ragged(table.indices.astype(np.int32), counts),
        "value": Ragged(table.data, counts),
        "missing": missing,
    }


def _identical(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    if ours.dtype.kind != "f":
        return np.zeros(len(ours), dtype=bool)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.asarray(flat(same).all(axis=1))


def _largest(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.float64]:
    """Largest |a − b| of a row where both are finite, (n,); NaN where nothing is."""
    a, b = flat(ours).astype(np.float64), flat(theirs).astype(np.float64)
    kept = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b).max(axis=1, initial=-1.0, where=kept)
    return np.where(apart < 0, np.nan, apart)


def sketch(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Three numbers of each row (n, 3), which are the same for all rows if the outputs are.

    The largest value, and means with random weights, which other outputs share by chance alone.
    """
    rows = flat(outputs).astype(np.float64)
    weights = np.random.default_rng(_SEED).normal(size=(rows.shape[1], 2))
    with np.errstate(invalid="ignore"):
        means = rows @ weights / np.sqrt(rows.shape[1])
        return np.column_stack([rows.max(axis=1), means])


def to_scores(
    eval_set: EvalSet, evaluated: Rows, *, n_predicted: int, row_bytes: int | None
) -> EvalSet:
    """The evaluation set, with its output reduced to scores where that is wide.

    Parameters
    ----------
    eval_set : EvalSet
    evaluated : int64 (n,)
        Its rows.
    n_predicted : int
        Rows that engines run: more where another task shows a gallery.
    row_bytes : int or None
        Of its outputs; None where the model doesn't say.
    """
    task = eval_set.task
    alone = eval_set.unit_of_row is None and eval_set.row_of_unit is None
    if (
        eval_set.reduction is not None
        or not (task.by_row and is_ours(type(task)) and alone)
        or not all(definition_of(metric).is_ours for metric in eval_set.metrics)
        or row_bytes is None
        or row_bytes < WIDE
        or n_predicted != len(evaluated)
    ):
        return eval_set
    return replace(eval_set, reduction=ScoresReduction(eval_set, evaluated))
