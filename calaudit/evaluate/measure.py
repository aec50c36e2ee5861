"""All cells on one slice, measured: one way for each kind of metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.metric import Metric
from calaudit.evaluate.scores import Scores, SetScores, UnitScores
from calaudit.evaluate.statistics.binary import compare_binary
from calaudit.evaluate.statistics.interval import Estimate, Levels, no_estimate
from calaudit.evaluate.statistics.jackknife import changed_units, compare_sets
from calaudit.evaluate.statistics.mean import compare_means

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """Every cell on one slice; arrays are (cells,)."""

    n: NDArray[np.int64]
    """Units with a score under FP32 and under the engine."""
    n_left_out: int
    n_broken: NDArray[np.int64]
    before: Floats
    """The metric under FP32 over these units; NaN where it isn't defined."""
    after: Floats
    """The metric under the engine."""
    estimate: Estimate
    flips: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    """Units lost and gained, of a binary metric."""


Measure = Callable[[str, Rows, float], Measured]
"""Slice's name, its units, the margin of the test → what was measured."""


def measure_by(
    metric: Metric, reference: Scores, candidates: Sequence[Scores], levels: Levels, seed: int
) -> Measure:
    """The way to measure a slice by `metric`, with what slices share prepared."""
    if isinstance(reference, SetScores):
        sets = [scores for scores in candidates if isinstance(scores, SetScores)]
        return _set_measure(reference, sets, levels)
    assert isinstance(reference, UnitScores)
    values = [scores.values for scores in candidates if isinstance(scores, UnitScores)]
    stacked = np.array(values, dtype=reference.values.dtype).reshape(-1, len(reference))
    if metric.kind == "binary":
        return _binary_measure(metric.higher_is_better, reference.values, stacked, levels)
    return _mean_measure(metric, reference.values, stacked, levels, seed)


def _binary_measure(
    good_value: bool, reference: NDArray[np.bool_], candidates: NDArray[np.bool_], levels: Levels
) -> Measure:
    good, good_now = reference == good_value, candidates == good_value
    lost, gained = good & ~good_now, ~good & good_now
    n_cells = len(candidates)

    def measure(_: str, rows: Rows, margin: float) -> Measured:
        n = len(rows)
        b, c = lost[:, rows].sum(axis=1), gained[:, rows].sum(axis=1)
        none = np.full(n_cells, np.nan)
        return Measured(
            n=np.full(n_cells, n),
            n_left_out=0,
            n_broken=np.zeros(n_cells, dtype=np.int64),
            before=np.full(n_cells, reference[rows].mean()) if n else none,
            after=candidates[:, rows].mean(axis=1) if n else none,
            estimate=compare_binary(b, c, n, levels, margin) if n else no_estimate(n_cells),
            flips=(b, c),
        )

    return measure


def _mean_measure(
    metric: Metric, reference: Floats, candidates: Floats, levels: Levels, seed: int
) -> Measure:
    sign = 1.0 if metric.higher_is_better else -1.0
    present = ~np.isnan(reference)

    def measure(name: str, rows: Rows, margin: float) -> Measured:
        kept = rows[present[rows]]
        before, after = reference[kept], candidates[:, kept]
        both = ~np.isnan(after)
        estimate = no_estimate(len(candidates))
        if len(kept):
            estimate = compare_means(
                sign * (before - after),
                kept,
                key=f"{seed}\0{metric.name}\0{name}",
                span=metric.span,
                levels=levels,
                margin=margin,
            )
        return Measured(
            n=both.sum(axis=1),
            n_left_out=len(rows) - len(kept),
            n_broken=(~both).sum(axis=1),
            before=np.array([_mean(before[one]) for one in both]),
            after=np.array([_mean(row[one]) for row, one in zip(after, both, strict=True)]),
            estimate=estimate,
        )

    return measure


def _set_measure(reference: SetScores, candidates: Sequence[SetScores], levels: Levels) -> Measure:
    n_cells = len(candidates)
    changed = np.array([changed_units(reference, scores) for scores in candidates])
    changed = changed.reshape(n_cells, len(reference))

    def measure(_: str, rows: Rows, __: float) -> Measured:
        estimate = no_estimate(n_cells)
        if len(rows):
            n_changed = changed[:, rows].sum(axis=1)
            estimate = compare_sets(reference, candidates, rows, n_changed=n_changed, levels=levels)
        return Measured(
            n=np.full(n_cells, len(rows)),
            n_left_out=0,
            n_broken=np.zeros(n_cells, dtype=np.int64),
            before=np.full(n_cells, reference.value(rows)),
            after=np.array([scores.value(rows) for scores in candidates]),
            estimate=estimate,
        )

    return measure


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
