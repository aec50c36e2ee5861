"""From per-unit scores to sums by slice and bucket, one batch of units at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SettingsError
from calaudit.evaluate.partition import Partition
from calaudit.evaluate.scores import RatioScores, UnitScores
from calaudit.evaluate.statistics.draws import N_BUCKETS, bucket_of
from calaudit.evaluate.statistics.sums import Sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AdditiveScores = UnitScores | RatioScores

_STEP = 2.0**-30
"""What is summed is rounded to multiples of this: errors of 5e-10, but exact sums."""


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

    def take(self, rows: Ints) -> "Units":
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
    weight = None if weights is None else _rounded(np.asarray(weights, dtype=np.float64))
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
    before: NDArray[Any]
    """(n,) FP32's scores: bool, or weighted multiples of 2⁻³⁰."""
    size: Floats | None
    """(n,) weight times denominator; None: 1 each."""
    weight: Floats | None
    changes: "tuple[_Changes, ...]"

    def sums(self, partition: Partition) -> Sums:
        """Add up the units of each slice."""
        at = _Places(partition.codes, self.bucket, len(partition.names), self.n_buckets)
        inside = at.inside(None)
        scored = inside[self.present[inside]]
        changes = [each.within(at) for each in self.changes]
        size = at.by_bucket(scored, self.size)
        if self.before.dtype == bool:
            before = at.by_bucket(scored[self.before[scored]], None)
        else:
            before = at.by_bucket(scored, self.before)
        sizes, befores = size[None], before[None]
        if any(len(each.broken) for each in changes):
            sizes = np.stack([size - at.by_bucket(each.broken, self.size) for each in changes])
            values = self.before.astype(np.float64, copy=False)
            befores = np.stack([before - at.by_bucket(each.broken, values) for each in changes])
        n = at.by_slice(scored)
        return Sums(
            slices=partition.names,
            clustered=self.clustered,
            weighted=self.weight is not None,
            n=n,
            n_left_out=at.by_slice(inside) - n,
            n_broken=_stacked([at.by_slice(each.broken) for each in changes], n.shape),
            lost=_stacked([at.by_slice(each.rows[each.drop > 0]) for each in changes], n.shape),
            gained=_stacked([at.by_slice(each.rows[each.drop < 0]) for each in changes], n.shape),
            squared=self._squared(at, scored, n),
            size=sizes,
            before=befores,
            total=_stacked([at.by_bucket(c.rows, c.drop, own=True) for c in changes], size.shape),
        )

    def _squared(self, at: "_Places", scored: Ints, n: Ints) -> Floats:
        if self.weight is None:
            return n.astype(np.float64)
        code = at.codes[scored]
        square = self.weight[scored] ** 2
        return np.asarray(np.bincount(code, square, minlength=at.n_slices), dtype=np.float64)


def batch(reference: AdditiveScores, candidates: Sequence[AdditiveScores], units: Units) -> Batch:
    """Prepare the scores of a batch of units for being summed.

    Parameters
    ----------
    reference : UnitScores or RatioScores
    candidates : sequence
        The engines' scores of the same units.
    units : Units
    """
    size = units.weight
    if isinstance(reference, RatioScores):
        size = _rounded(_times(reference.denominator, units.weight))
    before = _values(reference)
    present = np.ones(len(before), bool) if before.dtype == bool else ~np.isnan(before)
    if before.dtype != bool or units.weight is not None:
        before = _rounded(_times(np.where(present, before, 0.0), units.weight))
    return Batch(
        bucket=bucket_of(units.cluster, units.n_clusters),
        n_buckets=min(max(units.n_clusters, 1), N_BUCKETS),
        clustered=units.clustered,
        present=present,
        before=before,
        size=size,
        weight=units.weight,
        changes=tuple(_changes(reference, each, units.weight) for each in candidates),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Places:
    """Where each unit's numbers go."""

    codes: NDArray[Any]
    bucket: Ints
    n_slices: int
    n_buckets: int

    def inside(self, rows: Ints | None) -> Ints:
        """Those of `rows` that are in a slice."""
        code = self.codes if rows is None else self.codes[rows]
        kept = np.flatnonzero((code >= 0) & (code < self.n_slices))
        return kept if rows is None else rows[kept]

    def by_slice(self, rows: Ints) -> Ints:
        """(S,) how many of `rows`, all inside, are in each slice."""
        return np.bincount(self.codes[rows], minlength=self.n_slices).astype(np.int64)

    def by_bucket(self, rows: Ints, values: Floats | None, *, own: bool = False) -> Floats:
        """(S, B) sums of the units' `values`, or of those `rows` alone if they are their own."""
        key = self.codes[rows].astype(np.int64)
        key *= self.n_buckets
        key += self.bucket[rows]
        given = values if own or values is None else values[rows]
        flat = np.bincount(key, given, minlength=self.n_slices * self.n_buckets)
        return flat.astype(np.float64, copy=False).reshape(self.n_slices, self.n_buckets)


@dataclass(frozen=True, eq=False, slots=True)
class _Changes:
    """What one engine does to a batch: only the units that it changes."""

    rows: Ints
    drop: Floats
    """(rows,) weighted, multiples of 2⁻³⁰."""
    broken: Ints
    """Rows that FP32 scored and the engine didn't."""

    def within(self, at: _Places) -> "_Changes":
        """Those in a slice."""
        code = at.codes[self.rows]
        kept = (code >= 0) & (code < at.n_slices)
        return _Changes(self.rows[kept], self.drop[kept], at.inside(self.broken))


def _changes(reference: AdditiveScores, other: AdditiveScores, weight: Floats | None) -> _Changes:
    before, after = _values(reference), _values(other)
    higher = reference.metric.higher_is_better
    if before.dtype == bool:
        rows = np.flatnonzero(before != after)
        drop = np.where(before[rows] == higher, 1.0, -1.0)
        broken = np.empty(0, dtype=np.int64)
    else:
        difference = before - after if higher else after - before
        # NaN compares False: units that either engine has no score for don't change.
        rows = np.flatnonzero(np.abs(difference) > _STEP / 2)
        drop = difference[rows]
        broken = np.flatnonzero(np.isnan(after) & ~np.isnan(before))
    if isinstance(reference, RatioScores) and isinstance(other, RatioScores):
        _check_denominators(reference, other)
    counted = _rounded(_times(drop, None if weight is None else weight[rows]))
    return _Changes(rows, counted, broken)


def _check_denominators(reference: RatioScores, other: RatioScores) -> None:
    if not np.array_equal(reference.denominator, other.denominator):
        raise SettingsError(
            f"denominators of {reference.metric} differ between engines",
            next_step="Compare a ratio whose denominator the engine moves as a set metric.",
        )


def _values(scores: AdditiveScores) -> NDArray[Any]:
    return scores.numerator if isinstance(scores, RatioScores) else scores.values


def _times(values: NDArray[Any], weight: Floats | None) -> Floats:
    return np.asarray(values if weight is None else values * weight, dtype=np.float64)


def _rounded(values: Floats) -> Floats:
    return np.asarray(np.rint(values / _STEP) * _STEP, dtype=np.float64)


def _stacked(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.array(arrays).reshape(-1, *shape) if arrays else np.zeros((0, *shape), dtype=np.int64)
