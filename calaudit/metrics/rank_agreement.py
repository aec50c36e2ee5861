"""Likeness of the engine's ranking to FP32's: top-weighted overlap and rank correlations.

Excluded items take no part. FP32's own ranking is perfect, also where it ties.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.shown import TIES, Shown
from calaudit.metrics.truth import Relevance

Floats = NDArray[np.float64]

_ALL_ITEMS = "over all items that may be shown; 0 if only one of the two ties them all"
PERSISTENCE = 0.9
"""RBO's p: the first 10 places carry 86 % of the weight (Webber et al. 2010)."""


def count_greater_before(values: NDArray[Any]) -> NDArray[np.int64]:
    """For each position i, the number of j < i with values[j] > values[i], (n,).

    Parameters
    ----------
    values : ndarray, shape (n,)
        Without NaN.

    Notes
    -----
    The positions, in falling order of their values, are split bit by bit: of two positions in one
    block, the one with the bit comes after the one without. O(n log n) in time, O(n) in memory.
    """
    n = len(values)
    counts = np.zeros(n, dtype=np.int64)
    # Of equal values the later position comes first, so that equals are not counted.
    position = n - 1 - np.argsort(-values[::-1], kind="stable").astype(np.int64)
    for bit in reversed(range(max(n - 1, 0).bit_length())):
        low = (position >> bit) & 1 == 0
        block = position >> (bit + 1)
        starts = np.ones(n, dtype=bool)
        starts[1:] = block[1:] != block[:-1]
        seen = np.cumsum(low)
        before = np.maximum.accumulate(np.where(starts, seen - low, 0))
        counts[position[~low]] += (seen - before)[~low]
        position = position[np.argsort(position >> bit, kind="stable")]
    return counts


def rbo_bounds(case: Case, k: int) -> tuple[Floats, Floats]:
    """RBO with the ties, the engine's and FP32's, broken (apart, alike).

    Of the items that an engine's tie holds, the one that FP32 puts first comes last, or first: no
    other order shares less, or more, at any depth.
    """
    ours, theirs = case.ranked(), case.reference_ranked()
    bounds = []
    for sign in (-1.0, 1.0):
        one = _broken(ours, sign * theirs, 1.0)
        other = _broken(theirs, sign * ours, sign)
        bounds.append(rbo(Case(one, case.truth, other), k))
    return bounds[0], bounds[1]


@metric(
    "mean",
    title="RBO@{k} with FP32",
    needs=Relevance,
    unit="index",
    span=1.0,
    perfect=1.0,
    bounds=rbo_bounds,
    convention=f"rank-biased overlap, p = 0.9, extrapolated from rank k; {TIES}",
)
def rbo(case: Case, k: int) -> Floats:
    """Rank-biased overlap, extrapolated from depth k, p = 0.9, (queries,) in [0, 1].

    A_k·p^k + (1 − p)/p · Σ_{d ≤ k} A_d·p^d, with A_d the overlap of the two top d (Webber, Moffat
    & Zobel 2010, eq. 23; with fewer than k eligible items, k is their number). Over ties A_d is
    what `overlap@d` is: the expected overlap where one of the two lists has no tie at d, and 1 for
    two lists that tie alike.
    """
    case.relevance()
    return _rbo(case.shown(k), case.reference_shown(k))


@metric(
    "mean",
    title="Kendall τ-b with FP32",
    needs=Relevance,
    unit="index",
    span=2.0,
    perfect=1.0,
    convention=f"mean of τ-b {_ALL_ITEMS}",
    synonyms="tau, kendall tau, kendalls tau, spearman, spearmanr, rank correlation",
)
def kendall(case: Case) -> Floats:
    """Kendall's τ-b between the engine's scores and FP32's over the eligible items, (queries,).

    1 also where both tie all items; 0 where one of them ties all and the other doesn't. NaN with
    fewer than two eligible items.
    """
    from scipy.stats import kendalltau  # slow to import

    return _correlations(case, lambda ours, theirs: float(kendalltau(ours, theirs)[0]))


@metric(
    "mean",
    title="Weighted τ with FP32",
    needs=Relevance,
    unit="index",
    span=2.0,
    perfect=1.0,
    convention=f"mean of Vigna's τ with hyperbolic weights {_ALL_ITEMS}",
)
def weighted_tau(case: Case) -> Floats:
    """Weighted τ with additive hyperbolic weights (Vigna 2015), (queries,); else as `kendall`.

    A pair weighs 1/(place + 1) of the one plus that of the other, places counted from 0; the mean
    of the two τ that places by the engine and by FP32 give.
    """
    from scipy.stats import weightedtau  # slow to import

    return _correlations(case, lambda ours, theirs: float(weightedtau(ours, theirs)[0]))


@metric(
    "mean",
    title="τ_AP with FP32",
    needs=Relevance,
    unit="index",
    span=2.0,
    perfect=1.0,
    convention=f"mean of τ_AP with FP32's order as the truth {_ALL_ITEMS}; {TIES}",
)
def tau_ap(case: Case) -> Floats:
    """τ_AP with FP32's ranking as the truth, (queries,) in [−1, 1].

    2/(n − 1) · Σ_{i ≥ 2} C(i)/(i − 1) − 1, with C(i) the items above place i that FP32 too puts
    above the one at i (Yilmaz, Aslam & Robertson 2008). Expected value over the order of the
    engine's ties; a pair that FP32 alone ties counts half, one that both tie as right. NaN with
    fewer than two eligible items.
    """
    return _correlations(case, _tau_ap)


def _rbo(ours: Shown, theirs: Shown) -> Floats:
    """RBO of two top k, from the chances of the items in both to be in the top d."""
    n_queries = ours.shape[0]
    _, i, j = np.intersect1d(ours.key, theirs.key, assume_unique=True, return_indices=True)
    depth = theirs.n_shown
    total, share = np.zeros(n_queries), np.full(n_queries, np.nan)
    for d in range(1, ours.k + 1):
        both = np.minimum(_chance(ours, i, d), _chance(theirs, j, d))
        common = np.bincount(ours.query[i], weights=both, minlength=n_queries)
        reached = d <= depth
        share = np.where(reached, common / d, share)
        total += np.where(reached, (1 - PERSISTENCE) * PERSISTENCE ** (d - 1) * share, 0.0)
    return np.asarray(total + share * PERSISTENCE**depth, dtype=np.float64)


def _chance(shown: Shown, entries: NDArray[np.int64], depth: int) -> Floats:
    """Chance of each of the `entries` to be in the top `depth` ≤ k."""
    first, tied = shown.first[entries], shown.tied[entries]
    return np.asarray(np.clip(depth - first, 0, tied) / tied, dtype=np.float64)


def _broken(main: Floats, second: Floats, sign: float) -> Floats:
    """Scores without ties: by `main`, then by `second`, then by the item's number."""
    number = np.broadcast_to(sign * np.arange(main.shape[1]), main.shape)
    order = np.lexsort((number, second, main), axis=1)
    scores = np.empty(main.shape)
    np.put_along_axis(scores, order, np.arange(main.shape[1], dtype=np.float64)[None, :], axis=1)
    return scores


def _correlations(case: Case, correlate: Callable[[Floats, Floats], float]) -> Floats:
    """A correlation over each query's eligible items, with the constant cases settled."""
    case.relevance()
    ours, theirs, exclude = case.ranked(), case.reference_ranked(), case.exclude()
    found = np.full(len(ours), np.nan)
    for query, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if exclude is not None:
            one, other = one[~exclude[query]], other[~exclude[query]]  # noqa: PLW2901
        if len(one) < 2:
            continue
        flat, flat_too = bool((one == one[0]).all()), bool((other == other[0]).all())
        found[query] = float(flat and flat_too) if flat or flat_too else correlate(one, other)
    return found


def _tau_ap(ours: Floats, theirs: Floats) -> float:
    n = len(ours)
    rising = np.lexsort((theirs, -ours))
    falling = np.lexsort((-theirs, -ours))
    # Within a tie of the engine's the order is such that neither count sees the tie's own pairs.
    right = count_greater_before(theirs[rising])
    wrong = count_greater_before(-theirs[falling])
    starts = np.ones(n, dtype=bool)
    starts[1:] = ours[rising][1:] != ours[rising][:-1]
    first = np.flatnonzero(starts)
    size = np.diff(np.append(first, n))
    tie = np.cumsum(starts) - 1
    rights, wrongs = (np.bincount(tie, weights=count) / size for count in (right, wrong))
    above = rights + (first - rights - wrongs) / 2
    tied_twice = _tied_pairs(tie, theirs[rising], len(first))
    mates = 0.5 + divide(tied_twice, size * (size - 1), 0.0)
    step = np.arange(n) - first[tie]
    expected = above[tie] + step * mates[tie]
    return float(2.0 / (n - 1) * (expected[1:] / np.arange(1, n)).sum() - 1.0)


def _tied_pairs(tie: NDArray[np.int64], value: Floats, n_ties: int) -> Floats:
    """Pairs of equal `value` within each tie; values ascend within a tie."""
    starts = np.ones(len(tie), dtype=bool)
    starts[1:] = (tie[1:] != tie[:-1]) | (value[1:] != value[:-1])
    size = np.diff(np.append(np.flatnonzero(starts), len(tie)))
    pairs = size * (size - 1) / 2
    return np.bincount(tie[starts], weights=pairs, minlength=n_ties).astype(np.float64)
