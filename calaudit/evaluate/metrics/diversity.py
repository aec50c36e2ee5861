"""Diversity of what is shown: coverage, inequality of exposure, the long tail's share.

The catalogue is every column of the relevance matrix, shown or not.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.ranking import count_bounds
from calaudit.runtime.errors import SettingsError


def coverage(case: Case, k: int) -> sparse.csr_array:
    """What each query adds to coverage@k, (queries, 2·items).

    First half: 1 where the item is surely shown. Second half: log(1 − p) where a tie gives it the
    chance p < 1.
    """
    case.relevance()
    shown = case.shown(k)
    n_queries, n_items = shown.shape
    certain = shown.probability == 1.0
    column = np.where(certain, shown.item, shown.item + n_items)
    value = np.ones(len(column))
    value[~certain] = np.log1p(-shown.probability[~certain])
    return sparse.csr_array((value, (shown.query, column)), shape=(n_queries, 2 * n_items))


def coverage_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected distinct items shown / catalogue: Σᵢ(1 − Π_q(1 − p_qi)) / items.

    Ties of different queries are broken independently.
    """
    n_items = totals.shape[-1] // 2
    certain, log_missed = totals[..., :n_items], totals[..., n_items:]
    seen = np.where(certain > 0.5, 1.0, -np.expm1(np.minimum(log_missed, 0.0)))
    return np.asarray(seen.mean(axis=-1), dtype=np.float64)


def coverage_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """K / items: at worst all that a query shows, no other query does."""
    return min(1.0, (k or 0) / max(len(totals) // 2, 1))


def exposure(case: Case, k: int) -> sparse.csr_array:
    """Chance of each item to be in each query's top k, (queries, items)."""
    case.relevance()
    shown = case.shown(k)
    return sparse.csr_array((shown.probability, (shown.query, shown.item)), shape=shown.shape)


def gini_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gini index of exposure, Σ(2i − n − 1)c₍ᵢ₎/(nΣc) with c ascending; unseen items count as 0.

    Parameters
    ----------
    totals : ndarray, shape (…, items)
        Exposure of each item, ≥ 0.

    Returns
    -------
    ndarray, shape (…)
        0 when all items are shown alike, (n − 1)/n when one takes all; NaN without exposure.
    """
    n_items = totals.shape[-1]
    ascending = np.sort(np.maximum(totals, 0.0), axis=-1)
    weighted = ascending @ (2.0 * np.arange(1, n_items + 1) - n_items - 1.0)
    whole = n_items * ascending.sum(axis=-1)
    return divide(weighted, whole, np.nan)


def gini_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """2k / all exposure: moving a share ε of the exposure changes the index by at most 2ε."""
    whole = float(totals.sum())
    return min(1.0, 2.0 * (k or 0) / whole) if whole > 0 else 1.0


def entropy_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of the items' shares of the exposure, in bits; NaN without exposure.

    Parameters
    ----------
    totals : ndarray, shape (…, items)

    Returns
    -------
    ndarray, shape (…)
        0 when one item takes all, log₂(items) when all are shown alike.
    """
    exposed = np.maximum(totals, 0.0)
    share = divide(exposed, exposed.sum(axis=-1, keepdims=True), np.nan)
    return np.asarray(special.entr(share).sum(axis=-1) / np.log(2.0), dtype=np.float64)


def entropy_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """ε·log₂(items − 1) + h(ε), ε = k / all exposure, h the binary entropy.

    The most that the entropy changes when a share ε of the exposure moves (Audenaert 2007).
    """
    n_items, whole = len(totals), float(totals.sum())
    most = float(np.log2(max(n_items, 1)))
    moved = (k or 0) / whole if whole > 0 else 1.0
    if moved >= 0.5 or n_items < 3:
        return most
    spread = float(special.entr([moved, 1.0 - moved]).sum() / np.log(2.0))
    return min(most, moved * float(np.log2(n_items - 1)) + spread)


def long_tail_share(case: Case, k: int) -> NDArray[np.float64]:
    """Share of long-tail items among those shown in the top k, (queries,); their mean is APLT.

    (Abdollahpouri et al. 2019.) NaN for a query with nothing to show.
    """
    tail, shown = _tail(case), case.shown(k)
    return divide(shown.total(shown.probability * tail[shown.item]), shown.n_shown, np.nan)


def long_tail_share_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Long-tail share with the tie at the cut broken (against, for) the tail."""
    tail, shown = _tail(case), case.shown(k)
    least, most = count_bounds(shown, tail[shown.item])
    return divide(least, shown.n_shown, np.nan), divide(most, shown.n_shown, np.nan)


def _tail(case: Case) -> NDArray[np.bool_]:
    tail = case.relevance().tail
    if tail is None:
        raise SettingsError(
            "the long-tail share needs to know which items are the long tail",
            next_step="Give the pool an items/popularity column.",
        )
    return np.asarray(tail, dtype=bool)
