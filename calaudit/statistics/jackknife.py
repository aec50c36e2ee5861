"""Functions of whole sets of units: delete-group jackknife.

J. Shao & D. Tu (1995), The Jackknife and Bootstrap, §2.3; for groups of unequal size F. Busing, E.
Meijer & R. van der Leeden (1999), Delete-m jackknife for unequal m, Statistics and Computing 9,
3–8. The bootstrap, which draws some units twice, fails for coverage and Gini: a sample drawn with
replacement shows fewer distinct items.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.metrics.set_statistics import Grouping, Pair
from calaudit.metrics.side_by_side import side_by_side
from calaudit.metrics.unit_scores import SetScores
from calaudit.statistics.bootstrap import statistic, stretch
from calaudit.statistics.bounds import few_changed_in_set
from calaudit.statistics.clusters import Groups, deal
from calaudit.statistics.estimate import Estimate, Levels, no_estimate
from calaudit.statistics.permutation import FEW, MOST_BLOCKS, blocks_of, swap_test

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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
        self.candidates = candidates
        self._engines = side_by_side([each.statistics for each in (reference, *candidates)])
        self._pairs: dict[int, Pair] = {}
        self._cluster = cluster

    def pair(self, cell: int) -> Pair:
        """FP32's statistics beside a candidate's."""
        if cell not in self._pairs:
            candidate = self.candidates[cell]
            self._pairs[cell] = self.reference.statistics.beside(candidate.statistics)
        return self._pairs[cell]

    def groups(self, rows: Ints) -> Groups:
        """The units of a slice, dealt into groups."""
        return deal(rows, None if self._cluster is None else self._cluster[rows])

    def influence(self, rows: Ints, groups: Groups) -> tuple[Floats, Floats]:
        """Drop of each cell, (cells,), and what each group adds to it, (cells, groups).

        Squares of the latter add up to the variance of the drop.
        """
        metric = self.reference.metric
        sign = 1.0 if metric.higher_is_better else -1.0
        left = Grouping(rows, groups.group, len(groups.size))
        whole, without = self._engines.without_groups(left)
        drops, left_out = sign * (whole[0] - whole[1:]), sign * (without[0] - without[1:])
        share = groups.size / len(rows)
        pseudo = drops[:, None] / share - (1.0 / share - 1.0) * left_out
        center = (pseudo * share).sum(axis=1, keepdims=True)
        spread = np.sqrt(len(share) * (1.0 / share - 1.0))
        return drops, np.divide(
            pseudo - center, spread, out=np.zeros_like(pseudo), where=spread > 0
        )

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
        groups = self.groups(rows)
        drops, influence = self.influence(rows, groups)
        errors = np.sqrt((influence**2).sum(axis=1))
        # A cluster that changes may do so as a whole.
        reach = self.most(rows)(len(rows)) * len(rows) / groups.effective
        found = no_estimate(drops.shape)
        found.drop[:] = drops
        found.independent[:] = groups.effective
        found.error[:] = errors if groups.enough else np.nan
        freedom = max(groups.freedom, 1.0)
        wider = stretch(influence)
        for cell, drop in enumerate(drops.tolist()):
            changed = self.pair(cell).changed[rows]
            member, n_moved = _changed_clusters(changed, groups.place)
            n_changed = np.count_nonzero(changed)
            found.n_changed[cell] = n_changed
            # Where all groups lose alike, that of one more unit that doesn't.
            error = max(errors[cell], min(reach, abs(drop) / groups.effective))
            stretched = error * wider[0][cell], error * wider[1][cell]
            known = groups.enough and error > 0
            ends = np.array([-np.inf, np.inf, -np.inf, np.inf])
            if n_moved < FEW_CHANGED and 2 * n_moved < groups.n_clusters:
                ends = few_changed_in_set(drop, n_moved, groups.effective, reach, levels)
                found.interval[cell] = "clopper-pearson"
            elif known:
                ends = _ends(drop, stretched, freedom, levels)
                found.interval[cell] = "jackknife"
                found.plain[cell] = drop + (ends[3] - drop) / wider[1][cell]
            found.ends[:, cell] = _clipped(ends, self.reference.metric.span)
            above = float(margin[cell])
            by_t = 1.0
            if known:
                gap, far = np.array(drop - above), errors[cell] * wider[0][cell]
                by_t = float(stdtr(freedom, -statistic(gap, far, float(n_changed))))
            found.p_value[cell] = by_t
            if above == 0:
                few = groups.n_clusters < FEW and 2 * n_moved >= groups.n_clusters
                n_blocks = min(n_moved, MOST_BLOCKS)
                found.p_value[cell] = swap_test(
                    self.reference.metric,
                    self.pair(cell).swaps(rows, blocks_of(member, n_moved), n_blocks),
                    n_blocks,
                    key=key,
                    beyond=by_t,
                    few=few,
                )
        return found

    def most(self, rows: Ints) -> Callable[[float], float]:
        """N → the most that one of n units like those at `rows` can move the metric."""
        return self.reference.statistics.most(rows)


def _changed_clusters(changed: NDArray[np.bool_], place: Ints) -> tuple[Ints, int]:
    """Cluster of each unit among those that changed, -1 for others; and the number of those."""
    moved = np.zeros(int(place.max(initial=-1)) + 1, dtype=bool)
    moved[place[changed]] = True
    number = np.where(moved, np.cumsum(moved) - 1, -1)
    return np.where(changed, number[place], -1).astype(np.int64), int(np.count_nonzero(moved))


def _ends(drop: float, errors: tuple[float, float], freedom: float, levels: Levels) -> Floats:
    reach = [-float(stdtrit(freedom, tail)) for tail in levels.tails]
    below, above = errors
    return np.array([end for t in reach for end in (drop - t * below, drop + t * above)])


def _clipped(ends: Floats, span: float | None) -> Floats:
    return ends if span is None else np.where(np.isfinite(ends), np.clip(ends, -span, span), ends)
