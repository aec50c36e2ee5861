"""Functions of whole sets of units: delete-group jackknife.

J. Shao & D. Tu (1995), The Jackknife and Bootstrap, §2.3. The bootstrap, which draws some units
twice, fails for coverage and Gini: it can't show an item that the sample doesn't.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.evaluate.scores import SetScores
from calaudit.evaluate.statistics.draws import scatter
from calaudit.evaluate.statistics.interval import Estimate, Levels

Floats = NDArray[np.float64]

GROUPS = 50
FEWEST_GROUPS = 10
"""Of at least two units each; with fewer no interval is given."""
FEW_CHANGED = 10
"""With fewer changed units no interval is given: their number says more than their spread."""


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
    sign = 1.0 if reference.metric.higher_is_better else -1.0
    span = reference.metric.span or np.inf
    n_groups = max(1, min(GROUPS, len(rows) // 2))
    group = scatter(rows, n_groups)
    whole, without = _leave_out(reference, rows, group, n_groups)
    drop = np.empty(len(candidates))
    ends = np.tile([[-np.inf], [np.inf], [-np.inf], [np.inf]], (1, len(candidates)))
    p_value = np.ones(len(candidates))
    names: list[str | None] = []
    for cell, candidate in enumerate(candidates):
        theirs, theirs_without = _leave_out(candidate, rows, group, n_groups)
        drop[cell] = sign * (whole - theirs)
        parts = sign * (without - theirs_without)
        error = float(np.sqrt((n_groups - 1) / n_groups * ((parts - parts.mean()) ** 2).sum()))
        enough = n_groups >= FEWEST_GROUPS and n_changed[cell] >= FEW_CHANGED
        names.append("jackknife" if enough and error > 0 else None)
        if names[-1]:
            for index, tail in enumerate(levels.tails):
                reach = -float(stdtrit(n_groups - 1, tail)) * error
                ends[2 * index : 2 * index + 2, cell] = drop[cell] - reach, drop[cell] + reach
            p_value[cell] = stdtr(n_groups - 1, -drop[cell] / error)
    ends = np.clip(ends, -span, span) if np.isfinite(span) else ends
    return Estimate(drop, *ends, p_value, tuple(names), n_changed)


def changed_units(reference: SetScores, candidate: SetScores) -> NDArray[np.bool_]:
    """Units whose statistics differ, (n,)."""
    difference = (reference.statistics - candidate.statistics).tocsr()
    difference.data[np.abs(difference.data) < 1e-12] = 0.0
    difference.eliminate_zeros()
    return np.asarray(np.diff(difference.indptr) > 0)


def _leave_out(
    scores: SetScores, rows: NDArray[np.int64], group: NDArray[np.int64], n_groups: int
) -> tuple[float, Floats]:
    """The metric over all rows, and without each group, (n_groups,)."""
    totals = scores.totals(rows, group, n_groups)
    whole = totals.sum(axis=0)
    return float(scores.functional(whole)), scores.functional(whole - totals)
