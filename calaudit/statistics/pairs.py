"""Two arms that both answer every request: mean differences, users being independent.

Student's t of the cluster-robust error with Kish's effective number of users less 1, as for arms
that were dealt (`calaudit.statistics.arms`); no deal is there to be repeated.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.statistics.arms import (
    FEWEST_USERS,
    Answers,
    ArmDifference,
    adjusted,
    ratio_variance,
    six_sums,
    unseen,
    user_sums,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def compare_pairs(
    user: Ints,
    before: Floats,
    after: Floats,
    slices: Mapping[str, Ints],
    *,
    size: Floats | None = None,
    span: float | None = None,
    level: float = 0.95,
) -> dict[str, ArmDifference]:
    """Differences of what both arms scored on the same requests, slice by slice.

    Parameters
    ----------
    user : int64 (n,)
        Who asked.
    before, after : float64 (n,)
        The control's scores and the treatment's, of a ratio of sums the numerators; NaN where there
        is none. Requests with both count.
    slices : mapping
        Slice → its requests, as positions; slices may overlap.
    size : float64 (n,), optional
        Of a ratio of sums: the denominators.
    span : float, optional
        The most by which two scores differ.
    level : float
        Two-sided level of the intervals.

    Returns
    -------
    dict
        In the order of `slices`. Without an interval and a p-value before `FEWEST_USERS` users, or
        where nothing differs and nothing bounds what might.
    """
    sizes = np.ones(len(user)) if size is None else size
    gap = after - before
    found: dict[str, ArmDifference] = {}
    for name, rows in slices.items():
        both = rows[~np.isnan(gap[rows]) & (sizes[rows] > 0)]
        nothing = np.zeros(len(both))
        arm = nothing.astype(np.int8)
        pairs = Answers(arm, user[both], gap[both], sizes[both], span, expected=nothing)
        values = float(before[both].sum()), float(after[both].sum())
        found[name] = _difference(pairs, values, len(rows), level)
    return adjusted(found)


def _difference(pairs: Answers, totals: tuple[float, float], n: int, level: float) -> ArmDifference:
    """`totals` are both arms' scores summed over the pairs; `n` are the slice's requests."""
    sums = user_sums(pairs)
    users, weight = len(sums.user), float(pairs.sizes.sum())
    plain = ArmDifference(
        totals[0] / weight if weight else None,
        totals[1] / weight if weight else None,
        len(pairs),
        len(pairs),
        users,
        users,
        n - len(pairs),
    )
    if not weight:
        return plain
    six = six_sums(sums).sum(axis=0)
    ratio, variance, freedom = (float(each) for each in ratio_variance(six, sums.reach))
    error = float(np.sqrt(variance))
    if users < FEWEST_USERS or not np.isfinite(error) or not error:
        return replace(plain, estimate=ratio)
    tail = (1 - level) / 2
    reach = float(stdtrit(freedom, 1 - tail)) * error
    reach = max(reach, float(unseen(six, sums.reach, tail)))
    return replace(
        plain,
        estimate=ratio,
        low=ratio - reach,
        high=ratio + reach,
        p_value=2 * float(stdtr(freedom, -abs(ratio) / error)),
        standard_error=error,
    )
