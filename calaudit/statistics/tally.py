"""From per-unit scores to sums by slice and bucket, one batch of units at a time.

Slices are counted as partitions: groups of slices that don't overlap one another, in one go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import (
    RatioScores,
    UnitScores,
    answered,
    differs,
    of_units,
    part_of,
)
from calaudit.runtime.errors import SettingsError
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.random_numbers import N_BUCKETS, bucket_of
from calaudit.statistics.sums import Digits, Exact, Sums, split, stack

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Slices = Mapping[str, Rows] | SliceSet
"""Slice's name → its units, as positions in the scores, each once; slices may overlap."""

_MOST_CELLS = 1 << 24
"""Sums held at a time: 128 MiB."""
_MOST_UNITS = 1 << 20
"""Units of one engine that are prepared at a time: what is made of one is many times its scores."""
_FEWEST_UNITS = 1 << 17
"""Of however many engines: each piece adds numbers to all sums."""

AdditiveScores = UnitScores | RatioScores
SMALLEST = 2.0**-400
"""Where no score is larger, squares of drops vanish, and with them what is known of the error."""


@dataclass(frozen=True, eq=False, slots=True)
class Partition:
    """Slices of which a unit is in at most one."""

    names: tuple[str, ...]
    codes: NDArray[Any]
    """(n,) integers: the slice of each unit; outside [0, len(names)): in none."""

    def part(self, span: slice) -> "Partition":
        """That of successive units."""
        return Partition(self.names, self.codes[span])


def names_of(slices: Slices) -> list[str]:
    """Names of all slices, in order."""
    return slices.names if isinstance(slices, SliceSet) else list(slices)


def rows_of(slices: Slices, name: str) -> Rows:
    """Units of one slice."""
    return slices.rows(name) if isinstance(slices, SliceSet) else slices[name]


def partitions(slices: Slices, n: int, width: int) -> Iterator[Partition]:
    """Partitions that together hold all `slices`, in their order.

    Parameters
    ----------
    slices : SliceSet or mapping
    n : int
        Units.
    width : int
        Numbers that are summed per slice: partitions are cut so that memory stays bounded.
    """
    step = max(1, _MOST_CELLS // max(width, 1))
    if not isinstance(slices, SliceSet):
        yield from _joined(slices, n, step)
        return
    yield Partition((slices.names[0],), np.zeros(n, dtype=np.int8))
    for dimension in slices.dimensions:
        for start in range(0, len(dimension.labels), step):
            shifted = dimension.codes - np.int32(start) if start else dimension.codes
            yield Partition(dimension.labels[start : start + step], shifted)


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """Who belongs together, and who counts how much."""

    cluster: Ints
    """(n,) cluster of each unit, in [0, n_clusters)."""
    n_clusters: int
    clustered: bool
    """False: every unit is a cluster of its own."""
    weight: Floats | None = None
    """(n,) ≥ 0; None: all count alike."""

    def take(self, rows: Ints | slice) -> "Units":
        """The units at `rows`."""
        weight = None if self.weight is None else self.weight[rows]
        return Units(self.cluster[rows], self.n_clusters, self.clustered, weight)


def describe_units(
    n: int, clusters: NDArray[Any] | None = None, weights: NDArray[Any] | None = None
) -> Units:
    """Check clusters and weights of n units.

    Parameters
    ----------
    n : int
    clusters : array of integers (n,), optional
        Units of equal number belong together: one speaker's, one user's, one image at several
        noise levels. None: units are independent.
    weights : array (n,), optional
        How much each unit counts; at least 0.

    Raises
    ------
    SettingsError
        Other shapes, negative or infinite weights, or clusters that aren't integers ≥ 0.
    """
    for name, column in (("clusters", clusters), ("weights", weights)):
        if column is not None and np.shape(column) != (n,):
            raise SettingsError(f"{name} have shape {np.shape(column)}, expected ({n},)")
    if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise SettingsError("weights must be finite numbers, at least 0")
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    if clusters is None:
        return Units(np.arange(n, dtype=np.int64), n, clustered=False, weight=weight)
    if not np.issubdtype(clusters.dtype, np.integer) or (n and clusters.min() < 0):
        raise SettingsError("clusters must be integers, at least 0")
    cluster = clusters.astype(np.int64, copy=False)
    return Units(cluster, int(cluster.max(initial=-1)) + 1, clustered=True, weight=weight)


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Scores of a batch of units under FP32 and several engines, ready to be summed."""

    bucket: Ints
    """(n,)"""
    n_buckets: int
    clustered: bool
    present: NDArray[np.bool_]
    """(n,) units that FP32 scored."""
    before: Digits
    """Place → (n,) digits of FP32's weighted scores."""
    size: Digits | None
    """Of weight times denominator; None: 1 each."""
    square: Digits | None
    """Of the square of weight times denominator; None: 1 each."""
    changes: "tuple[_Changes, ...]"

    @property
    def width(self) -> int:
        """Numbers that are summed per slice."""
        digits = max(len(each.drop) for each in self.changes) if self.changes else 0
        return self.n_buckets * max(len(self.changes), 1) * max(digits, len(self.before), 1)

    def sums(self, partition: Partition) -> Sums:
        """Add up the units of each slice."""
        at = _Places(partition.codes, self.bucket, len(partition.names), self.n_buckets)
        inside = at.inside(np.arange(len(self.bucket)))
        scored = inside[self.present[inside]]
        changes = [each.within(at) for each in self.changes]
        size, before = at.by_bucket(scored, self.size), at.by_bucket(scored, self.before)
        none = Exact((1, *size.shape), {})
        sizes, befores = none + size, none + before
        if any(len(each.broken) for each in changes):
            broken = [each.broken for each in changes]
            sizes = sizes - stack([at.by_bucket(rows, self.size) for rows in broken], size.shape)
            befores -= stack([at.by_bucket(rows, self.before) for rows in broken], size.shape)
        n = at.by_slice(scored)
        return Sums(
            slices=partition.names,
            clustered=self.clustered,
            weighted=self.square is not None,
            n=n,
            n_left_out=at.by_slice(inside) - n,
            n_broken=_stacked([at.by_slice(each.broken) for each in changes], n.shape),
            lost=_stacked([at.by_slice(each.rows[each.lost]) for each in changes], n.shape),
            gained=_stacked([at.by_slice(each.rows[~each.lost]) for each in changes], n.shape),
            exact_squared=Exact(n.shape, {0: n.astype(np.float64)})
            if self.square is None
            else at.by_bucket(scored, self.square).sum(axis=1),
            exact_size=sizes,
            exact_before=befores,
            exact_total=stack(
                [at.by_bucket(c.rows, c.drop, own=True) for c in changes], size.shape
            ),
        )


def sums_of(
    reference: AdditiveScores,
    candidates: Sequence[AdditiveScores],
    slices: Slices,
    units: Units,
) -> Iterator[Sums]:
    """Sums over all slices, some at a time, in their order.

    Many units are prepared piece by piece: sums add up to the same bits.

    Parameters, errors: as of :func:`batch`; `slices` are of all units.
    """
    n = len(reference)
    _check_scale(reference.metric, [reference, *candidates])
    step = max(_FEWEST_UNITS, _MOST_UNITS // max(len(candidates), 1))
    spans = [slice(at, at + step) for at in range(0, max(n, 1), step)]

    def prepared(span: slice) -> Batch:
        others = [part_of(each, span) for each in candidates]
        return _prepared(part_of(reference, span), others, units.take(span))

    first = prepared(spans[0])
    for group in _groups(partitions(slices, n, first.width), first.width):
        found = [first.sums(each.part(spans[0])) for each in group]
        for span in spans[1:]:
            more = prepared(span)
            found = [
                sums + more.sums(each.part(span)) for sums, each in zip(found, group, strict=True)
            ]
        yield from found


def _groups(found: Iterable[Partition], width: int) -> Iterator[list[Partition]]:
    """Neighbours whose sums may be held at a time."""
    group: list[Partition] = []
    n_slices = 0
    for each in found:
        n_slices += len(each.names)
        if group and n_slices * width > _MOST_CELLS:
            yield group
            group, n_slices = [], len(each.names)
        group.append(each)
    if group:
        yield group


def batch(reference: AdditiveScores, candidates: Sequence[AdditiveScores], units: Units) -> Batch:
    """Prepare the scores of a batch of units for being summed.

    Parameters
    ----------
    reference : UnitScores or RatioScores
    candidates : sequence
        The engines' scores of the same units.
    units : Units

    Raises
    ------
    SettingsError
        Denominators that differ, or scores so small that their squares vanish.
    """
    _check_scale(reference.metric, [reference, *candidates])
    return _prepared(reference, candidates, units)


def _prepared(
    reference: AdditiveScores, candidates: Sequence[AdditiveScores], units: Units
) -> Batch:
    n = len(reference)
    others = [answered(reference, each) for each in candidates]
    additive = [each for each in others if isinstance(each, UnitScores | RatioScores)]
    ones = np.ones(n) if units.weight is None else units.weight
    size = units.weight
    if isinstance(reference, RatioScores):
        size = reference.denominator * ones
    before = np.where(reference.present, of_units(reference), 0.0)
    return Batch(
        bucket=bucket_of(units.cluster, units.n_clusters),
        n_buckets=min(max(units.n_clusters, 1), N_BUCKETS),
        clustered=units.clustered,
        present=reference.present,
        before=split(before * ones),
        size=None if size is None else split(size),
        square=None if size is None else split(size**2),
        changes=tuple(_changes(reference, each, ones) for each in additive),
    )


def _joined(slices: Mapping[str, Rows], n: int, most: int) -> Iterator[Partition]:
    """Neighbours that don't overlap in one partition, up to `most`."""
    names: list[str] = []
    codes = np.full(n, -1, dtype=np.int32)
    for name, rows in slices.items():
        if names and (len(names) == most or (codes[rows] >= 0).any()):
            yield Partition(tuple(names), codes)
            names, codes = [], np.full(n, -1, dtype=np.int32)
        codes[rows] = len(names)
        names.append(name)
    if names:
        yield Partition(tuple(names), codes)


@dataclass(frozen=True, eq=False, slots=True)
class _Places:
    """Where each unit's numbers go."""

    codes: NDArray[Any]
    bucket: Ints
    n_slices: int
    n_buckets: int

    def inside(self, rows: Ints) -> Ints:
        """Those of `rows` that are in a slice."""
        code = self.codes[rows]
        return rows[(code >= 0) & (code < self.n_slices)]

    def by_slice(self, rows: Ints) -> Ints:
        """(S,) how many of `rows`, all inside, are in each slice."""
        return np.bincount(self.codes[rows], minlength=self.n_slices).astype(np.int64)

    def by_bucket(self, rows: Ints, digits: Digits | None, *, own: bool = False) -> Exact:
        """(S, B) sums over `rows`, ascending, of the units' digits; None counts them.

        If they are `own`, there are digits of `rows` alone.
        """
        shape = self.n_slices, self.n_buckets
        key = self.codes[rows].astype(np.int64)
        key *= self.n_buckets
        key += self.bucket[rows]
        sums = {}
        for place, digit in ({0: None} if digits is None else digits).items():
            given = digit
            if digit is not None and not own and len(rows) < len(digit):
                given = digit[rows]
            flat = np.bincount(key, given, minlength=shape[0] * shape[1])
            sums[place] = flat.astype(np.float64, copy=False).reshape(shape)
        return Exact(shape, sums)


@dataclass(frozen=True, eq=False, slots=True)
class _Changes:
    """What one engine does to a batch: only the units that it changes."""

    rows: Ints
    lost: NDArray[np.bool_]
    """(rows,) whether the unit got worse, not better."""
    drop: Digits
    """Place → (rows,) digits of the weighted drops."""
    broken: Ints
    """Rows that FP32 scored and the engine didn't."""

    def within(self, at: _Places) -> "_Changes":
        """Those in a slice."""
        code = at.codes[self.rows]
        kept = (code >= 0) & (code < at.n_slices)
        drop = {place: digit[kept] for place, digit in self.drop.items()}
        return _Changes(self.rows[kept], self.lost[kept], drop, at.inside(self.broken))


def _changes(reference: AdditiveScores, other: AdditiveScores, weight: Floats) -> _Changes:
    if isinstance(reference, RatioScores) and isinstance(other, RatioScores):
        _check_denominators(reference, other)
    before, after = of_units(reference), of_units(other)
    rows = np.flatnonzero(differs(reference, other) & (weight > 0))
    worse = before[rows] > after[rows]
    lost = worse if reference.metric.higher_is_better else ~worse
    # The difference of the digits is exact, the difference of the numbers isn't.
    one, two = (Exact(rows.shape, split(each[rows] * weight[rows])) for each in (before, after))
    drop = (one - two if reference.metric.higher_is_better else two - one).digits
    return _Changes(rows, lost, drop, np.flatnonzero(reference.present & ~other.present))


def _check_denominators(reference: RatioScores, other: RatioScores) -> None:
    if not np.array_equal(reference.denominator, other.denominator):
        raise SettingsError(
            f"denominators of {reference.metric} differ between engines",
            next_step="Compare a ratio whose denominator the engine moves as a set metric.",
        )


def _check_scale(metric: Metric, scores: Sequence[AdditiveScores]) -> None:
    most = max((float(np.abs(of_units(e)[e.present]).max(initial=0.0)) for e in scores), default=0)
    if 0.0 < most < SMALLEST:
        raise SettingsError(
            f"scores of {metric} are at most {most:.2g}, too small to be squared",
            next_step="Give the target and the output in a unit in which they are larger.",
        )


def _stacked(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.array(arrays).reshape(-1, *shape) if arrays else np.zeros((0, *shape), dtype=np.int64)
