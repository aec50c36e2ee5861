"""The worst slice: how much more it loses than everyone outside it, with bounds that hold.

A drop that is picked because it is the largest looks larger than it is: of 320 that all lose
3 points, the largest shows 8.6, and its own interval never holds 3. Bounds that hold for all of
them at once hold for whichever is picked. An upper end needs no correction: the larger a drop
looks, the sooner it is picked, so that one which was picked is seldom larger than it looks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores
from calaudit.results.drops import Gap, Part
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.jackknife import SetDrops
from calaudit.statistics.joint import (
    REPLICATES,
    Drops,
    bounds_of_largest,
    drops_of_sums,
    reach_of_all,
)
from calaudit.statistics.measure import sums_by_slice
from calaudit.statistics.sums import Sums
from calaudit.statistics.tally import (
    Batch,
    Partition,
    Slices,
    Units,
    batch,
    describe_units,
    names_of,
    partitions,
    rows_of,
)

Floats = NDArray[np.float64]
Found = tuple[str, str, float, float, float]
"""Cell, slice, drop, its standard error, degrees of freedom of that."""

_AT_ONCE = 256
"""Comparisons whose replicates are made together."""


def joint_lows(
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    tail: float,
    clusters: NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], float]:
    """(Cell, slice) → a lower bound of its drop; all of them hold at once.

    Parameters
    ----------
    reference, candidates, slices, clusters, seed
        As for `calaudit.statistics.compare`.
    tail : float
        Chance that any bound is above its true drop.

    Returns
    -------
    dict
        Without those that nothing bounds: without units, or of a single cluster.

    Notes
    -----
    The reach is that of the joint replicates' largest deviation, in standard errors (P. Westfall &
    S. Young 1993, Resampling-Based Multiple Testing, §2.3): drops that move together, as those of
    engines on the same units do, cost less than as many independent ones. For set metrics, whose
    groups differ from slice to slice, it is Bonferroni's.
    """
    units = describe_units(len(reference), clusters)
    if isinstance(reference, SetScores):
        found = list(_of_sets(reference, candidates, slices, units))
        largest = np.empty(0)
    else:
        largest = np.full(REPLICATES, -np.inf)
        found = []
        for part in sums_by_slice(reference, list(candidates.values()), slices, units):
            found += _of_sums(part, reference, list(candidates), largest, tail=tail, key=f"{seed}")
    if not found:
        return {}
    beyond = float(ndtr(-reach_of_all(largest, len(found), tail)))
    span = reference.metric.span or np.inf
    return {
        (cell, name): max(drop + float(stdtrit(freedom, beyond)) * error, -span)
        for cell, name, drop, error, freedom in found
    }


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
        As for `calaudit.statistics.compare`.
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


def _of_sums(
    sums: Sums, reference: Scores, cells: list[str], largest: Floats, *, tail: float, key: str
) -> list[Found]:
    """Drops with units; `largest` is raised to their deviations."""
    size = np.broadcast_to(sums.size, sums.total.shape)
    freedom = np.full(sums.n_both.shape, np.inf)
    if sums.clustered:
        freedom = effective_blocks(size) - 1.0
    found: list[Found] = []
    chosen = np.argwhere((sums.n_both > 0) & (freedom >= 1.0))
    for start in range(0, len(chosen), _AT_ONCE):
        cell, place = chosen[start : start + _AT_ONCE].T
        drops = drops_of_sums(
            sums.total[cell, place],
            size[cell, place],
            span=reference.metric.span,
            alpha=tail,
            key=key,
        )
        own = f"{key}\0{sums.slices[0]}\0{start}"
        np.maximum(largest, _largest(drops, own), out=largest)
        found += [
            (cells[c], sums.slices[s], drop, error, float(freedom[c, s]))
            for c, s, drop, error in zip(
                cell.tolist(), place.tolist(), drops.value.tolist(), drops.error.tolist(),
                strict=True,
            )
        ]  # fmt: skip
    return found


def _largest(drops: Drops, key: str) -> Floats:
    return np.asarray(divide(drops.deviations(key), drops.error, 0.0).max(axis=1))


def _of_sets(
    reference: SetScores, candidates: Mapping[str, Scores], slices: Slices, units: Units
) -> Iterator[Found]:
    sets = {cell: each for cell, each in candidates.items() if isinstance(each, SetScores)}
    of_sets = SetDrops(reference, list(sets.values()), units.cluster if units.clustered else None)
    for name in names_of(slices):
        rows = rows_of(slices, name)
        groups = of_sets.groups(rows)
        if not len(rows) or not groups.enough:
            continue
        drops, influence = of_sets.influence(rows, groups)
        errors = np.sqrt((influence**2).sum(axis=1))
        for cell, drop, error in zip(sets, drops.tolist(), errors.tolist(), strict=True):
            yield cell, name, drop, error, len(groups.size) - 1.0


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
