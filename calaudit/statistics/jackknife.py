"""Functions of whole sets of units: delete-group jackknife.

J. Shao & D. Tu (1995), The Jackknife and Bootstrap, §2.3; for groups of unequal size F. Busing, E.
Meijer & R. van der Leeden (1999), Delete-m jackknife for unequal m, Statistics and Computing 9,
3–8. The bootstrap, which draws some units twice, fails for coverage and Gini: a sample drawn with
replacement shows fewer distinct items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.metrics.set_statistics import Grouping
from calaudit.metrics.side_by_side import side_by_side
from calaudit.metrics.swapping import Beside, Moves
from calaudit.metrics.unit_scores import SetScores
from calaudit.statistics.bootstrap import statistic, stretch
from calaudit.statistics.bounds import few_changed_in_set
from calaudit.statistics.clusters import Groups, deal
from calaudit.statistics.estimate import Estimate, Levels, no_estimate
from calaudit.statistics.permutation import FEW, MOST_BLOCKS, swap_tests

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FEW_CHANGED = 20
"""With fewer changed units their number says more than their spread."""


class SetDrops:
    """A set metric under FP32 and several engines, with what slices share prepared.

    Parameters
    ----------
    reference, candidates
        Scores of the same units.
    cluster : ndarray, shape (n,), optional
        Cluster of each unit; None: units are independent.
    """

    def __init__(
        self, reference: SetScores, candidates: Sequence[SetScores], cluster: Ints | None = None
    ) -> None:
        self.reference = reference
        self._engines = side_by_side([each.statistics for each in (reference, *candidates)])
        self._cluster = cluster
        self._last: _LeftOut | None = None

    @cached_property
    def _beside(self) -> list[tuple[slice, Beside]]:
        return list(self._engines.beside())

    def groups(self, rows: Ints) -> Groups:
        """The units of a slice, dealt into groups."""
        return deal(rows, None if self._cluster is None else self._cluster[rows])

    def influence(self, rows: Ints, groups: Groups) -> tuple[Floats, Floats]:
        """Drop of each cell, (cells,), and what each group adds to it, (cells, groups).

        Squares of the latter add up to the variance of the drop.
        """
        sign = 1.0 if self.reference.metric.higher_is_better else -1.0
        left = self._left_out(rows, groups)
        drops = sign * (left.whole[0] - left.whole[1:])
        left_out = sign * (left.without[0] - left.without[1:])
        share = groups.size / len(rows)
        pseudo = drops[:, None] / share - (1.0 / share - 1.0) * left_out
        center = (pseudo * share).sum(axis=1, keepdims=True)
        spread = np.sqrt(len(share) * (1.0 / share - 1.0))
        return drops, np.divide(
            pseudo - center, spread, out=np.zeros_like(pseudo), where=spread > 0
        )

    def values(self, rows: Ints) -> Floats:
        """The metric over a slice's units by FP32 and by each candidate, (1 + cells,)."""
        return self._left_out(rows).whole

    def _left_out(self, rows: Ints, groups: Groups | None = None) -> "_LeftOut":
        """Each group of a slice left out; the slice that was asked for last is kept."""
        last = self._last
        if last is None or last.rows is not rows:
            groups = self.groups(rows) if groups is None else groups
            of = Grouping(rows, groups.group, len(groups.size))
            last = self._last = _LeftOut(rows, groups, *self._engines.without_groups(of))
        return last

    def compare(self, rows: Ints, levels: Levels, *, key: str, margin: Floats) -> Estimate:
        """Drop of every cell on one slice, (cells,).

        Parameters
        ----------
        rows : ndarray, shape (n,)
            The slice's units; n ≥ 1.
        levels : Levels
        key : str
            Of the random swaps.
        margin : ndarray, shape (cells,)
            The test is of "the drop is at most this". Swaps can test 0 only; elsewhere it is the
            jackknife's t.
        """
        groups = self._left_out(rows).groups
        drops, influence = self.influence(rows, groups)
        errors = np.sqrt((influence**2).sum(axis=1))
        below, above = stretch(influence)
        # A cluster that changes may do so as a whole.
        reach = self.most(rows)(len(rows)) * len(rows) / groups.effective
        # Where all groups lose alike, that of one more unit that doesn't.
        least = np.minimum(reach, np.abs(drops) / groups.effective)
        wide = np.where(least > errors, least, errors)
        known = (wide > 0) & groups.enough
        freedom = max(groups.freedom, 1.0)
        found = no_estimate(drops.shape)
        found.drop[:] = drops
        found.independent[:] = groups.effective
        found.error[:] = errors if groups.enough else np.nan
        n_moved = np.zeros(len(drops), dtype=np.int64)
        for cells, beside in self._beside:
            changes = _Changes.of(beside.changed[:, rows], groups)
            found.n_changed[cells], n_moved[cells] = changes.n_units, changes.n_clusters
            gap, error = (drops - margin)[cells], (errors * below)[cells]
            far = statistic(gap, error, changes.n_units.astype(np.float64))
            by_t = np.where(known[cells], stdtr(freedom, -far), 1.0)
            found.p_value[cells] = by_t
            tested = margin[cells] == 0
            if tested.any():
                by_swaps = self._by_swaps(
                    beside, changes.moves(rows, tested), changes.few, by_t, key
                )
                found.p_value[cells] = np.where(tested, by_swaps, by_t)
        ends = _ends(drops, (wide * below, wide * above), freedom, levels)
        ends[:, ~known] = np.array([-np.inf, np.inf, -np.inf, np.inf])[:, None]
        found.interval[known] = "jackknife"
        few = (n_moved < FEW_CHANGED) & (2 * n_moved < groups.n_clusters)
        for cell in np.flatnonzero(few).tolist():
            ends[:, cell] = few_changed_in_set(
                drops[cell], n_moved[cell], groups.effective, reach, levels
            )
            found.interval[cell] = "clopper-pearson"
        plain = drops + (ends[3] - drops) / above
        found.plain[:] = np.where(known & ~few, plain, np.nan)
        found.ends[:] = _clipped(ends, self.reference.metric.span)
        return found

    def _by_swaps(
        self, beside: Beside, moves: Moves, few: Bools, beyond: Floats, key: str
    ) -> Floats:
        swaps, metric = beside.swaps(moves), self.reference.metric
        return swap_tests(metric, swaps, moves.n_blocks, key=key, beyond=beyond, few=few)

    def most(self, rows: Ints) -> Callable[[float], float]:
        """N → the most that one of n units like those at `rows` can move the metric."""
        return self.reference.statistics.most(rows)


@dataclass(frozen=True, eq=False, slots=True)
class _LeftOut:
    """The metric on one slice by FP32 and each candidate."""

    rows: Ints
    groups: Groups
    whole: Floats
    """(1 + cells,)"""
    without: Floats
    """(1 + cells, groups) with each group left out."""


@dataclass(frozen=True, eq=False, slots=True)
class _Changes:
    """The units of one slice that some engines change, and in which clusters they are."""

    n_units: Ints
    """(engines,)"""
    n_clusters: Ints
    """(engines,)"""
    few: Bools
    """(engines,) whether there are few clusters, of which half or more change."""
    engine: Ints
    """(changes,) ascending."""
    place: Ints
    """(changes,) the unit's, in the slice."""
    cluster: Ints
    """(changes,) the unit's, among those that the engine changes."""

    @classmethod
    def of(cls, changed: Bools, groups: Groups) -> "_Changes":
        """From what each engine changes, (engines, units)."""
        engine, place = np.nonzero(changed)
        moved = np.zeros((len(changed), groups.n_clusters), dtype=bool)
        moved[engine, groups.place[place]] = True
        number = np.cumsum(moved, axis=1) - 1
        n_clusters = np.count_nonzero(moved, axis=1)
        return cls(
            np.count_nonzero(changed, axis=1),
            n_clusters,
            (2 * n_clusters >= groups.n_clusters) & (groups.n_clusters < FEW),
            engine,
            place,
            number[engine, groups.place[place]],
        )

    @property
    def n_blocks(self) -> Ints:
        """(engines,) blocks in which clusters are swapped."""
        return np.minimum(self.n_clusters, MOST_BLOCKS)

    def moves(self, rows: Ints, tested: Bools) -> Moves:
        """What changes places in the test of some engines, (engines,)."""
        kept = tested[self.engine]
        engine = self.engine[kept]
        n_blocks = np.where(tested, self.n_blocks, 0)
        block = self.cluster[kept] % n_blocks[engine]
        return Moves(rows, n_blocks, engine, self.place[kept], block)


def _ends(drops: Floats, errors: tuple[Floats, Floats], freedom: float, levels: Levels) -> Floats:
    below, above = errors
    reach = [-float(stdtrit(freedom, tail)) for tail in levels.tails]
    return np.array([end for t in reach for end in (drops - t * below, drops + t * above)])


def _clipped(ends: Floats, span: float | None) -> Floats:
    return ends if span is None else np.where(np.isfinite(ends), np.clip(ends, -span, span), ends)
