"""How popular the shown items are: the long tail's share, ARP, its lift over FP32, novelty."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.shown import TIES, Shown, count_bounds
from calaudit.metrics.truth import Relevance
from calaudit.runtime.errors import PoolError, SettingsError

Floats = NDArray[np.float64]


def tail_by_interactions(popularity: ArrayLike, head_share: float = 0.8) -> NDArray[np.bool_]:
    """Items outside the head: the fewest, most popular items that hold `head_share` of all.

    Parameters
    ----------
    popularity : array_like, shape (items,)
        Interactions of each item, ≥ 0. Of equally popular items the earlier joins the head first.
    head_share : float
        Share of interactions that the head holds, in (0, 1).

    Returns
    -------
    ndarray of bool, shape (items,)

    Raises
    ------
    PoolError
        A popularity that is negative, NaN or infinite.
    SettingsError
        A share outside (0, 1).
    """
    count = _counts(popularity, head_share)
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    tail = np.empty(len(count), dtype=bool)
    # An item is in the head as long as those before it don't yet hold the share; without the
    # tolerance, rounding in share × total would admit one item more.
    tail[order] = before >= head_share * count.sum() * (1 - 1e-12)
    return tail


def tail_by_rank(popularity: ArrayLike, head_share: float = 0.2) -> NDArray[np.bool_]:
    """Items outside the `head_share` most popular ones (rounded down to whole items).

    Parameters, ties, return value and errors as for `tail_by_interactions`, but `head_share` is a
    share of the items.
    """
    count = _counts(popularity, head_share)
    order = np.argsort(-count, kind="stable")
    tail = np.ones(len(count), dtype=bool)
    tail[order[: int(head_share * len(count) + 1e-9)]] = False
    return tail


def _counts(popularity: ArrayLike, head_share: float) -> NDArray[np.float64]:
    if not 0 < head_share < 1:
        raise SettingsError(f"the head's share is {head_share}, expected between 0 and 1")
    count = np.asarray(popularity, dtype=np.float64)
    if count.size and not (np.isfinite(count).all() and count.min() >= 0):
        raise PoolError("popularity holds negative numbers, NaN or infinity")
    return count


@metric(
    "mean",
    title="Average popularity@{k}",
    needs=Relevance,
    higher_is_better=False,
    unit="interactions",
    shown_only=True,
    convention=f"mean popularity of the items in the top k (ARP); {TIES}",
    synonyms="popularity, popularity bias, average recommendation popularity",
)
def arp(case: Case, k: int) -> Floats:
    """Mean popularity of the items in the top k, (queries,); their mean is the ARP.

    (Yin et al. 2012, "Challenging the long tail recommendation".) NaN with nothing to show.
    """
    return _mean_of(case.shown(k), _popularity(case))


@metric(
    "ratio",
    title="Popularity lift@{k}",
    needs=Relevance,
    higher_is_better=False,
    shown_only=True,
    convention=f"average popularity of the top k over FP32's, minus 1; {TIES}",
)
def popularity_lift(case: Case, k: int) -> Floats:
    """What the engine's popularity adds to FP32's, and FP32's, (queries, 2).

    The ratio of their sums is ARP by the engine / ARP by FP32 − 1.
    """
    popularity = _popularity(case)
    ours = _mean_of(case.shown(k), popularity)
    theirs = _mean_of(case.reference_shown(k), popularity)
    # The same items added up in another order differ by rounding.
    added = np.where(np.isclose(ours, theirs, rtol=1e-12, atol=0.0), 0.0, ours - theirs)
    added[np.isnan(ours) | np.isnan(theirs)] = np.nan
    return np.stack([added, np.nan_to_num(theirs)], axis=1)


@metric(
    "mean",
    title="Novelty@{k}",
    needs=Relevance,
    unit="bits",
    worst=0.0,
    shown_only=True,
    convention="mean of −log2 of the item's share of all interactions over the top k, an item "
    f"without any counting as having one; {TIES}",
)
def novelty(case: Case, k: int) -> Floats:
    """Mean −log₂(interactions of the item / all interactions) over the top k, in bits, (queries,).

    (Vargas & Castells 2011.) An item without interactions counts as one with a single one. NaN with
    nothing to show, or without any interaction at all.
    """
    popularity = _popularity(case)
    share = divide(np.maximum(popularity, 1.0), popularity.sum(), np.nan)
    return _mean_of(case.shown(k), -np.log2(share))


def _mean_of(shown: Shown, value: Floats) -> Floats:
    return divide(shown.total(shown.probability * value[shown.item]), shown.n_shown, np.nan)


def _popularity(case: Case) -> Floats:
    popularity = case.relevance().popularity
    if popularity is None:
        raise SettingsError(
            "this metric needs the items' popularity",
            next_step="Give the pool an items/popularity column, or name another in the task.",
        )
    return np.asarray(popularity, dtype=np.float64)


def long_tail_share_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Long-tail share with the tie at the cut broken (against, for) the tail."""
    tail, shown = _tail(case), case.shown(k)
    least, most = count_bounds(shown, tail[shown.item])
    return divide(least, shown.n_shown, np.nan), divide(most, shown.n_shown, np.nan)


@metric(
    "mean",
    title="Long-tail share@{k}",
    needs=Relevance,
    span=1.0,
    shown_only=True,
    bounds=long_tail_share_bounds,
    convention=f"mean share of tail items in the top k; {TIES}",
    synonyms="long tail, tail share, aplt",
)
def long_tail_share(case: Case, k: int) -> NDArray[np.float64]:
    """Share of long-tail items among those shown in the top k, (queries,); their mean is APLT.

    (Abdollahpouri et al. 2019.) NaN for a query with nothing to show.
    """
    tail, shown = _tail(case), case.shown(k)
    return divide(shown.total(shown.probability * tail[shown.item]), shown.n_shown, np.nan)


def _tail(case: Case) -> NDArray[np.bool_]:
    tail = case.relevance().tail
    if tail is None:
        raise SettingsError(
            "the long-tail share needs to know which items are the long tail",
            next_step="Give the pool an items/popularity column.",
        )
    return np.asarray(tail, dtype=bool)
