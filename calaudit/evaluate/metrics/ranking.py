"""Ranking quality in the top k: expected values when scores tie.

Queries without an eligible relevant item are left out (NaN). Excluded items are never shown and
don't count as relevant.
"""

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.shown import Shown


def ndcg(case: Case, k: int) -> NDArray[np.float64]:
    """nDCG@k with linear gain, (queries,): DCG = Σ r/log₂(place + 1), as trec_eval and sklearn."""
    return _ndcg(case.shown(k), _linear(case.relevance().gain))


def ndcg_exp(case: Case, k: int) -> NDArray[np.float64]:
    """nDCG@k with gain 2^r − 1, (queries,) (Burges et al. 2005)."""
    return _ndcg(case.shown(k), _exponential(case.relevance().gain))


def recall(case: Case, k: int) -> NDArray[np.float64]:
    """Relevant items in the top k / all relevant items R, (queries,)."""
    truth, shown = case.relevance(), case.shown(k)
    found = shown.total(shown.probability * (truth.gain[shown.query, shown.item] > 0))
    return divide(found, truth.n_relevant, np.nan)


def ties_at_cut(case: Case, k: int) -> NDArray[np.bool_]:
    """Whether a tie runs across rank k, so that who is shown is left to chance, (queries,)."""
    case.relevance()
    shown = case.shown(k)
    across = shown.total((shown.probability < 1.0).astype(np.float64))
    return np.asarray(across > 0)


def ndcg_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """nDCG@k, linear gain, with every tie broken (against, for) the relevant items."""
    return _ndcg_bounds(case.shown(k), _linear(case.relevance().gain))


def ndcg_exp_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """nDCG@k, gain 2^r − 1, with every tie broken (against, for) the relevant items."""
    return _ndcg_bounds(case.shown(k), _exponential(case.relevance().gain))


def recall_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall@k with the tie at the cut broken (against, for) the relevant items."""
    truth, shown = case.relevance(), case.shown(k)
    least, most = count_bounds(shown, truth.gain[shown.query, shown.item] > 0)
    return divide(least, truth.n_relevant, np.nan), divide(most, truth.n_relevant, np.nan)


def count_bounds(
    shown: Shown, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fewest and most `chosen` entries that the order within ties can bring into the top k.

    Parameters
    ----------
    shown : Shown
    chosen : ndarray of bool, shape (entries,)

    Returns
    -------
    tuple of ndarray, each of shape (queries,)
    """
    certain = shown.probability == 1.0
    surely = shown.total((certain & chosen).astype(np.float64))
    open_places = shown.n_shown - shown.total(certain.astype(np.float64))
    contenders = shown.total((~certain & chosen).astype(np.float64))
    others = shown.total((~certain & ~chosen).astype(np.float64))
    return surely + np.maximum(open_places - others, 0), surely + np.minimum(
        open_places, contenders
    )


def discounts(k: int) -> NDArray[np.float64]:
    """(k,) 1/log₂(place + 1) for the places 1 … k."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)), dtype=np.float64)


def _linear(relevance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relevance over the query's largest: nDCG stays the same, and its sums stay finite."""
    return divide(relevance, relevance.max(axis=1, initial=0.0, keepdims=True), 0.0)


def _exponential(relevance: NDArray[np.float64]) -> NDArray[np.float64]:
    """2^r − 1 over 2^largest of the query, which nDCG doesn't notice."""
    most = relevance.max(axis=1, initial=0.0, keepdims=True)
    return np.asarray(np.exp2(relevance - most) - np.exp2(-most), dtype=np.float64)


def _ndcg(shown: Shown, gain: NDArray[np.float64]) -> NDArray[np.float64]:
    expected = shown.mean_over_places(discounts(shown.k))
    return _over_ideal(shown.total(gain[shown.query, shown.item] * expected), gain, shown.k)


def _ndcg_bounds(
    shown: Shown, gain: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bounds = []
    earned = gain[shown.query, shown.item]
    weight = _weights(shown.query, shown.shape[0], shown.k)
    for sign in (1.0, -1.0):
        order = np.lexsort((sign * earned, shown.first, shown.query))
        bounds.append(_over_ideal(shown.total(earned[order] * weight), gain, shown.k))
    return bounds[0], bounds[1]


def _over_ideal(dcg: NDArray[np.float64], gain: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """`dcg` over that of the ideal order; NaN for a query without gain."""
    query, item = np.nonzero(gain)
    earned = gain[query, item]
    earned = earned[np.lexsort((-earned, query))]
    ideal = np.bincount(query, weights=earned * _weights(query, len(gain), k), minlength=len(gain))
    return divide(dcg, ideal, np.nan)


def _weights(query: NDArray[np.int64], n_queries: int, k: int) -> NDArray[np.float64]:
    """Discount of each entry, whose place is its rank among its query's; 0 beyond k."""
    counts = np.bincount(query, minlength=n_queries)
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    return np.concatenate([discounts(k), [0.0]])[np.minimum(place, k)]
