"""Lower bounds that hold for many drops at once, so that the worst of them may be told.

A drop that is picked because it is the largest looks larger than it is: of 320 that all lose
3 points, the largest shows 8.6, and its own interval never holds 3. Bounds that hold for all of
them at once hold for whichever is picked. An upper end needs no correction: the larger a drop
looks, the sooner it is picked, so that one which was picked is seldom larger than it looks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from calaudit.evaluate.measure import sums_by_slice
from calaudit.evaluate.partition import Slices, names_of, rows_of
from calaudit.evaluate.statistics.clusters import effective_blocks
from calaudit.evaluate.statistics.jackknife import SetDrops
from calaudit.evaluate.statistics.joint import REPLICATES, Drops, drops_of_sums, reach_of_all
from calaudit.evaluate.statistics.sums import Sums
from calaudit.evaluate.tally import Units, describe_units
from calaudit.metrics.division import divide
from calaudit.metrics.scores import Scores, SetScores

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
    weights: NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], float]:
    """(Cell, slice) → a lower bound of its drop; all of them hold at once.

    Parameters
    ----------
    reference, candidates, slices, clusters, weights, seed
        As for `calaudit.evaluate.compare`.
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
    units = describe_units(len(reference), clusters, weights)
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
