"""Functions of whole sets of units: delete-group jackknife.

J. Shao & D. Tu (1995), The Jackknife and Bootstrap, §2.3. The bootstrap, which draws some units
twice, fails for coverage and Gini: a sample drawn with replacement shows fewer distinct items.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.evaluate.scores import SetScores
from calaudit.evaluate.statistics.draws import scatter
from calaudit.evaluate.statistics.interval import Estimate, Levels
from calaudit.evaluate.statistics.sparse import few_changed_in_set

Floats = NDArray[np.float64]

GROUPS = 50
FEWEST_GROUPS = 10
"""Of at least two units each; with fewer no interval is given."""
FEW_CHANGED = 20
"""With fewer changed units their number says more than their spread."""


def compare_sets(
    reference: SetScores,
    candidates: Sequence[SetScores],
    rows: NDArray[np.int64],
    *,
    n_changed: NDArray[np.int64],
    levels: Levels,
) -> Estimate:
    """Drop of a set metric, for several cells on one slice.

    Parameters
    ----------
    reference, candidates
        Scores of the same units.
    rows : ndarray, shape (n,)
        The slice's units; n ≥ 1.
    n_changed : ndarray, shape (cells,)
        Units of the slice whose statistics differ from the reference's.
    levels : Levels
    """
    n = len(rows)
    sign = 1.0 if reference.metric.higher_is_better else -1.0
    n_groups = max(1, min(GROUPS, n // 2))
    group = scatter(rows, n_groups)
    totals, without = _leave_out(reference, rows, group, n_groups)
    whole, influence = float(reference.functional(totals)), reference.influence(totals, n)
    drop = np.empty(len(candidates))
    ends = np.empty((4, len(candidates)))
    p_value = np.ones(len(candidates))
    names: list[str | None] = []
    for cell, candidate in enumerate(candidates):
        theirs, theirs_without = _leave_out(candidate, rows, group, n_groups)
        drop[cell] = sign * (whole - float(candidate.functional(theirs)))
        parts = sign * (without - theirs_without)
        error = float(np.sqrt((n_groups - 1) / n_groups * ((parts - parts.mean()) ** 2).sum()))
        if n_changed[cell] < FEW_CHANGED:
            changed = int(n_changed[cell])
            ends[:, cell] = few_changed_in_set(drop[cell], changed, n, influence, levels)
            names.append("clopper-pearson")
        elif n_groups >= FEWEST_GROUPS and error > 0:
            ends[:, cell] = _ends(drop[cell], error, n_groups, levels)
            p_value[cell] = stdtr(n_groups - 1, -drop[cell] / error)
            names.append("jackknife")
        else:
            ends[:, cell] = [-np.inf, np.inf, -np.inf, np.inf]
            names.append(None)
    span = reference.metric.span or np.inf
    ends = np.where(np.isfinite(ends), np.clip(ends, -span, span), ends)
    return Estimate(drop, ends, p_value, tuple(names), n_changed)


def changed_units(reference: SetScores, candidate: SetScores) -> NDArray[np.bool_]:
    """Units whose statistics differ, (n,)."""
    difference = (reference.statistics - candidate.statistics).tocsr()
    difference.data[np.abs(difference.data) < 1e-12] = 0.0
    difference.eliminate_zeros()
    return np.asarray(np.diff(difference.indptr) > 0)


def _leave_out(
    scores: SetScores, rows: NDArray[np.int64], group: NDArray[np.int64], n_groups: int
) -> tuple[Floats, Floats]:
    """Sums over all rows, (m,), and the metric without each group, (n_groups,)."""
    totals = scores.totals(rows, group, n_groups)
    whole = totals.sum(axis=0)
    return whole, scores.functional(whole - totals)


def _ends(drop: float, error: float, n_groups: int, levels: Levels) -> Floats:
    reach = [-float(stdtrit(n_groups - 1, tail)) * error for tail in levels.tails]
    return np.array([end for step in reach for end in (drop - step, drop + step)])
