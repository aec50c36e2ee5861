"""The worst slice: how much more it loses than everyone outside it, with bounds that hold.

A drop that is picked because it is the largest looks larger than it is: of 320 that all lose
3 points, the largest shows 8.6, and its own interval never holds 3. Bounds that hold for all of
them at once hold for whichever is picked. An upper end needs no correction: the larger a drop
looks, the sooner it is picked, so that one which was picked is seldom larger than it looks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores
from calaudit.results.drops import Gap, Part
from calaudit.runtime.compiled import map_on_cores
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.jackknife import SetDrops
from calaudit.statistics.joint import (
    REPLICATES,
    Drops,
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

_ABREAST = 64
"""Slices; of more, replicates of as many cells as there are cores are gigabytes."""
_AT_ONCE = 256
"""Comparisons whose replicates are made together."""
_CUTS = 32
"""How much finer slices are cut for gaps, of which more is held than of sums."""


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

    def gaps_of(scores: Scores) -> _Gaps:
        assert isinstance(scores, UnitScores | RatioScores)
        prepared = batch(reference, [scores], units)
        gaps = _Gaps(metric.span, tail=tail, key=f"{seed}", clustered=prepared.clustered)
        gaps.add(_pieces(prepared, slices, least=least))
        return gaps

    few = len(names_of(slices)) <= _ABREAST
    every = map_on_cores(gaps_of, candidates.values()) if few else map(gaps_of, candidates.values())
    found = [each for each in zip(candidates, every, strict=True) if each[1].names]
    if not found:
        return []
    largest = np.max([gaps.largest for _, gaps in found], axis=0)
    n_gaps = sum(len(gaps.names) for _, gaps in found)
    reach = reach_of_all(largest, n_gaps, tail / metrics)
    return [_gap((cell, metric), gaps, reach, level) for cell, gaps in found]


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
class _Piece:
    """Slices that are large enough, and what is outside them; arrays are (slices, blocks)."""

    names: list[str]
    total: Floats
    size: Floats
    other_total: Floats
    other_size: Floats

    def take(self, part: slice) -> "_Piece":
        """Some of the slices."""
        sums = self.total, self.size, self.other_total, self.other_size
        return _Piece(self.names[part], *(each[part] for each in sums))


def _pieces(prepared: Batch, slices: Slices, *, least: int) -> Iterator[_Piece]:
    """Some slices at a time: replicates of all of thousands are gigabytes."""
    n_units = len(prepared.bucket)
    whole = prepared.sums(Partition(("all",), np.zeros(n_units, dtype=np.int8)))
    waiting: _Piece | None = None
    for partition in partitions(slices, n_units, _CUTS * prepared.n_buckets):
        sums = prepared.sums(partition)
        enough = (sums.n_both[0] >= least) & (whole.n_both[0, 0] - sums.n_both[0] >= least)
        enough &= (sums.weight[0] > 0) & (sums.weight[0] < whole.weight[0, 0])
        places = np.flatnonzero(enough)
        if not len(places):
            continue
        # the difference of the exact sums, which that of rounded ones isn't
        others = (
            (whole.exact_total[0, 0] - sums.exact_total[0, places]).value(),
            (whole.exact_size[0, 0] - sums.exact_size[0, places]).value(),
        )
        names = [sums.slices[place] for place in places.tolist()]
        more = _Piece(names, sums.total[0, places], sums.size[0, places], *others)
        waiting = more if waiting is None else _joined(waiting, more)
        while len(waiting.names) >= _AT_ONCE:
            yield waiting.take(slice(_AT_ONCE))
            waiting = waiting.take(slice(_AT_ONCE, None))
    if waiting is not None and waiting.names:
        yield waiting


def _joined(one: _Piece, two: _Piece) -> _Piece:
    return _Piece(
        one.names + two.names,
        np.concatenate([one.total, two.total]),
        np.concatenate([one.size, two.size]),
        np.concatenate([one.other_total, two.other_total]),
        np.concatenate([one.other_size, two.other_size]),
    )


class _Gaps:
    """One cell's gaps, collected piece by piece, without their replicates."""

    def __init__(self, span: float | None, *, tail: float, key: str, clustered: bool) -> None:
        self.names: list[str] = []
        self.largest = np.full(REPLICATES, -np.inf)
        """(replicates,) the largest of the slices' deviations, in standard errors."""
        self._span, self._tail, self._key, self._clustered = span, tail, key, clustered
        self._fewest = np.inf
        self._parts: list[Floats] = []

    def add(self, pieces: Iterable[_Piece]) -> None:
        """Collect them of some slices at a time."""
        for piece in pieces:
            self._add(piece)

    def _add(self, piece: _Piece) -> None:
        start, key = len(self.names), self._key
        how: dict[str, Any] = {"span": self._span, "alpha": self._tail, "key": key}
        inside = drops_of_sums(piece.total, piece.size, **how)
        outside = drops_of_sums(piece.other_total, piece.other_size, **how)
        gaps = inside.minus(outside)
        deviations = gaps.deviations(f"{key}\0{start}" if start else key)
        error = deviations.std(axis=0)
        np.maximum(self.largest, divide(deviations, error, 0.0).max(axis=1), out=self.largest)
        low = np.quantile(deviations, self._tail, axis=0)
        self.names += piece.names
        self._parts.append(np.array([inside.value, outside.value, gaps.value, error, low]))
        if self._clustered:
            fewest = float(effective_blocks(piece.size).min())
            self._fewest = min(self._fewest, fewest)

    @property
    def wider(self) -> float:
        """Times by which the slice with the fewest clusters makes errors larger."""
        if not self._clustered:
            return 1.0
        freedom = max(self._fewest - 1.0, 1.0)
        return float(stdtrit(freedom, self._tail) / ndtri(self._tail))

    @property
    def table(self) -> Floats:
        """(5, slices): drops inside and outside, gaps, their errors and lower quantiles."""
        return np.concatenate(self._parts, axis=1)


def _gap(of: tuple[str, Metric], gaps: _Gaps, reach: float, level: float) -> Gap:
    """The worst slice's.

    The lower bound is the largest of those that hold at once (as of `bounds_of_largest`), the
    upper one the largest of the slices' own.
    """
    cell, metric = of
    inside, outside, ahead, error, low = gaps.table
    worst = int(np.argmax(ahead))
    return Gap(
        cell=cell,
        metric=metric.name,
        slice=gaps.names[worst],
        n_slices=len(gaps.names),
        drop=float(inside[worst]),
        rest=float(outside[worst]),
        gap=Part(
            float(ahead[worst]),
            float((ahead - reach * (gaps.wider * error)).max()),
            float((ahead - gaps.wider * low).max()),
        ),
        level=level,
    )
