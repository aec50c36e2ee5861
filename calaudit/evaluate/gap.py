"""How much more the worst slice loses than everyone outside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from calaudit.evaluate.comparison import MinSupport
from calaudit.evaluate.partition import Partition, Slices, partitions
from calaudit.evaluate.statistics.clusters import effective_blocks
from calaudit.evaluate.statistics.joint import (
    Drops,
    bounds_of_largest,
    drops_of_sums,
    reach_of_all,
)
from calaudit.evaluate.tally import Batch, batch, describe_units
from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.scores import RatioScores, Scores, SetScores, UnitScores
from calaudit.results.drops import Gap, Part

Floats = NDArray[np.float64]


def worst_gaps(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    clusters: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    min_support: int | None = None,
    seed: int = 0,
    level: float = 0.95,
    metrics: int = 1,
) -> list[Gap]:
    """The worst slice's gap of every cell, with an interval that accounts for the choice.

    Parameters
    ----------
    metric, reference, candidates, slices, clusters, weights, seed, level
        As for `calaudit.evaluate.compare`.
    min_support : int, optional
        Units that a slice, and the rest, must have to be looked at; by default those that a PASS
        needs.
    metrics : int
        Metrics that are looked at: lower bounds hold for all of them at once.

    Returns
    -------
    list of Gap
        By cell; empty for set metrics, of which a slice's value depends on its size, and without a
        slice that is large enough.
    """
    if isinstance(reference, SetScores):
        return []
    units = describe_units(len(reference), clusters, weights)
    support = MinSupport()
    least = min_support or (support.counted if metric.kind == "binary" else support.resampled)
    tail = (1.0 - level) / 2.0
    found: list[tuple[str, _Sides, _Ahead]] = []
    for cell, scores in candidates.items():
        assert isinstance(scores, UnitScores | RatioScores)
        prepared = batch(reference, [scores], units)
        sides = _sides(prepared, slices, metric, least=least, tail=tail, key=f"{seed}")
        if sides is not None:
            found.append((cell, sides, _ahead(sides, f"{seed}", tail)))
    if not found:
        return []
    largest = np.max([ahead.largest for _, _, ahead in found], axis=0)
    n_gaps = sum(len(sides.names) for _, sides, _ in found)
    reach = reach_of_all(largest, n_gaps, tail / metrics)
    return [_gap((cell, metric), sides, ahead, reach, level) for cell, sides, ahead in found]


@dataclass(frozen=True, eq=False, slots=True)
class _Ahead:
    """One cell's gaps."""

    value: Floats
    """(slices,)"""
    error: Floats
    """(slices,) standard errors, as wide as few clusters make them."""
    largest: Floats
    """(replicates,) the largest of the slices' deviations, in standard errors."""
    high: float
    """Upper bound of the largest gap."""


def _ahead(sides: "_Sides", key: str, tail: float) -> _Ahead:
    gaps = sides.inside.minus(sides.outside)
    deviations = gaps.deviations(key)
    _, high = bounds_of_largest(gaps.value, deviations, tail, freedom=sides.freedom)
    error = deviations.std(axis=0)
    largest = divide(deviations, error, 0.0).max(axis=1)
    few = np.isfinite(sides.freedom)
    wider = float(stdtrit(sides.freedom, tail) / ndtri(tail)) if few else 1.0
    return _Ahead(gaps.value, wider * error, largest, high)


def _gap(of: tuple[str, Metric], sides: "_Sides", ahead: _Ahead, reach: float, level: float) -> Gap:
    cell, metric = of
    worst = int(np.argmax(ahead.value))
    return Gap(
        cell=cell,
        metric=metric.name,
        slice=sides.names[worst],
        n_slices=len(sides.names),
        drop=float(sides.inside.value[worst]),
        rest=float(sides.outside.value[worst]),
        gap=Part(
            float(ahead.value[worst]),
            float((ahead.value - reach * ahead.error).max()),
            ahead.high,
        ),
        level=level,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Sides:
    """One cell's drops in every slice that is large enough, and outside it."""

    names: list[str]
    inside: Drops
    outside: Drops
    freedom: float
    """Of the slice with the fewest clusters; infinite for units that are independent."""


def _sides(
    prepared: Batch, slices: Slices, metric: Metric, *, least: int, tail: float, key: str
) -> _Sides | None:
    n_units = len(prepared.bucket)
    whole = prepared.sums(Partition(("all",), np.zeros(n_units, dtype=np.int8)))
    names: list[str] = []
    total: list[Floats] = []
    size: list[Floats] = []
    other_total: list[Floats] = []
    other_size: list[Floats] = []
    for partition in partitions(slices, n_units, prepared.n_buckets):
        sums = prepared.sums(partition)
        enough = (sums.n_both[0] >= least) & (whole.n_both[0, 0] - sums.n_both[0] >= least)
        enough &= (sums.weight[0] > 0) & (sums.weight[0] < whole.weight[0, 0])
        for place in np.flatnonzero(enough).tolist():
            names.append(sums.slices[place])
            total.append(sums.total[0, place])
            size.append(sums.size[0, place])
            other_total.append((whole.exact_total[0, 0] - sums.exact_total[0, place]).value())
            other_size.append((whole.exact_size[0, 0] - sums.exact_size[0, place]).value())
    if not names:
        return None
    weight = np.array(size)
    how: dict[str, Any] = {"span": metric.span, "alpha": tail, "key": key}
    inside = drops_of_sums(np.array(total), weight, **how)
    outside = drops_of_sums(np.array(other_total), np.array(other_size), **how)
    freedom = np.inf
    if prepared.clustered:
        freedom = max(float(effective_blocks(weight).min()) - 1.0, 1.0)
    return _Sides(names, inside, outside, freedom)
