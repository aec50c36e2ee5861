"""One slice's tuning rows, and how engines are judged on them: paired with FP32, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores
from calaudit.results.drops import Part
from calaudit.runtime.pool import Rows
from calaudit.statistics.compare import compare
from calaudit.steps.clusters import clusters_of, read_clusters
from calaudit.steps.score import score_eval_sets
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import read_eval_sets, rows_to_predict

MOST_UNITS: Final = 1024
"""Samples (queries) of a slice that experiments are judged on at most, drawn at random."""
FEWEST_UNITS: Final = 30
"""Of a half to search on, or to judge on."""


@dataclass(frozen=True, slots=True)
class TuningSlice:
    """Tuning rows of one slice, for one metric."""

    slice: str
    metric: Metric
    rows: Rows
    """Pool rows that its units are of, ascending."""
    predicted: Rows
    """These and what else the task needs, such as a gallery; ascending."""
    eval_set: EvalSet
    """Of these rows, by this metric alone."""
    units: NDArray[np.int64]
    """Those of the evaluation set that are in the slice, ascending."""
    clusters: NDArray[np.int64] | None
    """Of all of its units."""
    seed: int

    def scores(
        self, reference: Predictions, engines: Mapping[str, Predictions]
    ) -> tuple[Scores, dict[str, Scores]]:
        """FP32's scores, and each engine's."""
        (scored,) = score_eval_sets([self.eval_set], reference, engines)
        own = {name: scores[self.metric] for name, scores in scored.cells.items()}
        return scored.reference[self.metric], own

    def drops(self, before: Scores, after: Mapping[str, Scores], level: float) -> dict[str, Part]:
        """How much lower than `before` each is, with two-sided intervals of `level`."""
        found = compare(
            self.metric,
            before,
            after,
            {self.slice: self.units},
            clusters=self.clusters,
            seed=self.seed,
            level=level,
        )
        return {one.cell: Part(one.drop, one.low, one.high) for one in found}

    def n_scored(self, reference: Scores) -> int:
        """Units that FP32 has a score of."""
        return int(reference.present[self.units].sum())


def halves(audit: Audit, place: TuningSlice) -> tuple[Rows, TuningSlice] | None:
    """Half of a slice's units to search on, and the other half to judge on.

    None where neither would have `FEWEST_UNITS`.

    Returns
    -------
    int64 (n,)
        Pool rows to search on.
    TuningSlice
        The rest.
    """
    of_row = place.eval_set.unit_of_row
    of_row = np.arange(len(place.rows)) if of_row is None else of_row
    units = np.unique(of_row)
    if len(units) < 2 * FEWEST_UNITS:
        return None
    chosen = np.random.default_rng([audit.seed, len(units), 1]).permutation(units)
    searched = np.isin(of_row, chosen[: len(units) // 2])
    rest = _made(audit, place.slice, place.metric.name, place.rows[~searched])
    return place.rows[searched], rest


def tuning_slice(audit: Audit, slice_name: str, metric_name: str, rows: Rows) -> TuningSlice | None:
    """The tuning rows of a slice, at most `MOST_UNITS` units; None where it holds none.

    Parameters
    ----------
    audit : Audit
    slice_name, metric_name : str
    rows : int64 (n,)
        All tuning rows, ascending.
    """
    held = _rows_in(audit, slice_name, metric_name, rows)
    if not len(held):
        return None
    rng = np.random.default_rng([audit.seed, len(held)])
    kept = _capped(held, _read(audit, metric_name, held).unit_of_row, rng)
    return _made(audit, slice_name, metric_name, kept)


def _rows_in(audit: Audit, slice_name: str, metric_name: str, rows: Rows) -> Rows:
    """Those that are in a slice; of a slice of objects those that hold some."""
    if slice_name in audit.pool_slices.names:
        return rows[audit.pool_slices.take(rows).rows(slice_name)]
    eval_set = _read(audit, metric_name, rows)
    own = eval_set.slices.rows(slice_name)
    return rows if eval_set.row_of_unit is None else rows[np.unique(eval_set.row_of_unit[own])]


def _made(audit: Audit, slice_name: str, metric_name: str, rows: Rows) -> TuningSlice:
    eval_set = _read(audit, metric_name, rows)
    metric = next(each for each in eval_set.metrics if each.name == metric_name)
    eval_set = replace(eval_set, metrics=(metric,))
    return TuningSlice(
        slice_name,
        metric,
        rows,
        rows_to_predict([eval_set.task], audit.pool, rows),
        eval_set,
        eval_set.slices.rows(slice_name),
        _clusters(audit, eval_set, slice_name, rows),
        audit.seed,
    )


def _read(audit: Audit, metric_name: str, rows: Rows) -> EvalSet:
    """The evaluation set of some rows that has the metric."""
    config = audit.config
    judged = next(
        each for each in audit.eval_sets if metric_name in {metric.name for metric in each.metrics}
    )
    found = read_eval_sets(
        judged.task,
        audit.pool,
        rows,
        audit.pool_slices.take(rows),
        [output.name for output in audit.model.outputs],
        where=judged.where,
        folder=config.base,
        object_slices=audit.object_slices,
        shapes={output.name: output.shape for output in audit.model.outputs},
        name=judged.name,
    )
    return next(each for each in found if metric_name in {metric.name for metric in each.metrics})


def _capped(
    rows: Rows, unit_of_row: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most `MOST_UNITS` units' rows, each unit whole."""
    of_row = np.arange(len(rows)) if unit_of_row is None else unit_of_row
    units = np.unique(of_row)
    if len(units) <= MOST_UNITS:
        return rows
    chosen = rng.choice(units, MOST_UNITS, replace=False)
    return rows[np.isin(of_row, chosen)]


def _clusters(
    audit: Audit, eval_set: EvalSet, slice_name: str, rows: Rows
) -> NDArray[np.int64] | None:
    config = audit.config
    clusters = read_clusters(
        config.audit.cluster_columns,
        audit.pool,
        rows,
        dimensions=config.dimensions,
        slices=[audit.pool_slices, eval_set.slices],
        where=f"{config.path}: audit.cluster_by",
    )
    alone = clusters is not None and slice_name in clusters.alone
    return clusters_of(clusters, eval_set, alone=alone)
