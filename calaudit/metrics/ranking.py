"""Where the relevant items are: whether in the top k, and how high up; expected values over ties.

Queries without an eligible relevant item are left out (NaN). Excluded items are never shown and
don't count as relevant. Of MRR and MAP, which don't add up item by item, expected values over the
order of ties have closed forms (McSherry & Najork 2008, "Computing information retrieval
performance measures efficiently in the presence of tied scores"): they need only how many items,
and how many relevant ones, each tie holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.shown import TIES, Shown, count_bounds, order_within
from calaudit.metrics.truth import Relevance

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_LEFT_OUT = "queries without a relevant item are left out"


def ndcg_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """nDCG@k, linear gain, with every tie broken (against, for) the relevant items."""
    return _ndcg_bounds(case, k, _LINEAR)


@metric(
    "mean",
    title="nDCG@{k}",
    needs=Relevance,
    span=1.0,
    quality=True,
    shown_only=True,
    bounds=ndcg_bounds,
    convention=f"linear gain, log2 discount; {_LEFT_OUT}; {TIES}",
    synonyms="dcg, normalized discounted cumulative gain",
)
def ndcg(case: Case, k: int) -> NDArray[np.float64]:
    """nDCG@k with linear gain, (queries,): DCG = Σ r/log₂(place + 1), as trec_eval and sklearn."""
    return _ndcg(case, k, _LINEAR)


def ndcg_exp_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """nDCG@k, gain 2^r − 1, with every tie broken (against, for) the relevant items."""
    return _ndcg_bounds(case, k, _EXPONENTIAL)


@metric(
    "mean",
    title="nDCG@{k} (gain 2^r − 1)",
    needs=Relevance,
    span=1.0,
    quality=True,
    shown_only=True,
    bounds=ndcg_exp_bounds,
    convention=f"gain 2^r − 1, log2 discount; {_LEFT_OUT}; {TIES}",
)
def ndcg_exp(case: Case, k: int) -> NDArray[np.float64]:
    """nDCG@k with gain 2^r − 1, (queries,) (Burges et al. 2005)."""
    return _ndcg(case, k, _EXPONENTIAL)


def recall_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall@k with the tie at the cut broken (against, for) the relevant items."""
    truth, shown = case.relevance(), case.shown(k)
    least, most = count_bounds(shown, _relevance_shown(case, k) > 0)
    return divide(least, truth.n_relevant, np.nan), divide(most, truth.n_relevant, np.nan)


@metric(
    "mean",
    title="Recall@{k}",
    needs=Relevance,
    span=1.0,
    quality=True,
    shown_only=True,
    bounds=recall_bounds,
    convention=f"relevant items in the top k over all relevant; {_LEFT_OUT}; {TIES}",
    synonyms="hit, hits, hit rate, hit ratio, hr, precision",
)
def recall(case: Case, k: int) -> NDArray[np.float64]:
    """Relevant items in the top k / all relevant items R, (queries,)."""
    truth, shown = case.relevance(), case.shown(k)
    found = shown.total(shown.probability * (_relevance_shown(case, k) > 0))
    return divide(found, truth.n_relevant, np.nan)


@metric(
    "binary",
    title="Ties at rank {k}",
    needs=Relevance,
    higher_is_better=False,
    convention="share of queries with a tie across rank k",
)
def ties_at_cut(case: Case, k: int) -> NDArray[np.bool_]:
    """Whether a tie runs across rank k, so that who is shown is left to chance, (queries,)."""
    case.relevance()
    shown = case.shown(k)
    across = shown.total((shown.probability < 1.0).astype(np.float64))
    return np.asarray(across > 0)


def discounts(k: int) -> NDArray[np.float64]:
    """(k,) 1/log₂(place + 1) for the places 1 … k."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)), dtype=np.float64)


def _linear(relevance: Floats, largest: Floats) -> Floats:
    """Relevance over the query's largest: nDCG stays the same, and its sums stay finite."""
    return divide(relevance, largest, 0.0)


def _exponential(relevance: Floats, largest: Floats) -> Floats:
    """2^r − 1 over 2^largest of the query, which nDCG doesn't notice."""
    return np.asarray(np.exp2(relevance - largest) - np.exp2(-largest), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Gain:
    """What an item earns by its relevance."""

    name: str
    of: Callable[[Floats, Floats], Floats]
    """Relevance of entries, and the largest of each one's query → what they earn, elementwise."""

    def earned(self, case: Case, k: int) -> Floats:
        """What each item of the top k earns, (entries,)."""
        return self._earned(case, case.shown(k).query, _relevance_shown(case, k))

    def ideal(self, case: Case, k: int) -> Floats:
        """DCG@k of the ideal order, (queries,): the same for all engines."""
        return case.kept_of_truth(f"ideal DCG@{k}, {self.name}", lambda: self._ideal(case, k))

    def _earned(self, case: Case, query: Rows, relevance: Floats) -> Floats:
        gain = case.relevance().gain
        largest = case.kept_of_truth(
            "largest relevance", lambda: gain.max(axis=1, initial=0.0).astype(np.float64)
        )
        return self.of(relevance, largest[query])

    def _ideal(self, case: Case, k: int) -> Floats:
        gain = case.relevance().gain
        query, item = np.nonzero(gain)
        earned = self._earned(case, query, gain[query, item])
        earned = earned[np.lexsort((-earned, query))]
        weighted = earned * _weights(query, len(gain), k)
        return np.bincount(query, weights=weighted, minlength=len(gain)).astype(np.float64)


_LINEAR: Final = _Gain("linear", _linear)
_EXPONENTIAL: Final = _Gain("exponential", _exponential)


def _relevance_shown(case: Case, k: int) -> Floats:
    """Relevance of each item of the top k, (entries,)."""
    shown, gain = case.shown(k), case.relevance().gain
    return case.kept(f"relevance of the top {k}", lambda: gain.take(shown.key))


def _ndcg(case: Case, k: int, gain: _Gain) -> Floats:
    case.relevance()
    shown = case.shown(k)
    expected = shown.mean_over_places(discounts(k))
    dcg = shown.total(gain.earned(case, k) * expected)
    return divide(dcg, gain.ideal(case, k), np.nan)


def _ndcg_bounds(case: Case, k: int, gain: _Gain) -> tuple[Floats, Floats]:
    case.relevance()
    shown, bounds = case.shown(k), []
    earned = gain.earned(case, k)
    weight = _weights(shown.query, shown.shape[0], k)
    for sign in (1.0, -1.0):
        order = order_within(shown.query, shown.shape[0], shown.first, sign * earned)
        bounds.append(divide(shown.total(earned[order] * weight), gain.ideal(case, k), np.nan))
    return bounds[0], bounds[1]


def _weights(query: NDArray[np.int64], n_queries: int, k: int) -> NDArray[np.float64]:
    """Discount of each entry, whose place is its rank among its query's; 0 beyond k."""
    counts = np.bincount(query, minlength=n_queries)
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    return np.concatenate([discounts(k), [0.0]])[np.minimum(place, k)]


def mrr_bounds(case: Case, k: int) -> tuple[Floats, Floats]:
    """MRR with every tie broken (against, for) the relevant items."""
    ties = _ties(case, k)
    hit = _first_hits(ties)
    bounds = []
    for place in (ties.first[hit] + ties.size[hit] - ties.relevant[hit], ties.first[hit]):
        total = np.zeros(ties.n_queries)
        total[ties.query[hit]] = np.where(place < k, 1.0 / (place + 1), 0.0)
        bounds.append(np.where(case.relevance().n_relevant > 0, total, np.nan))
    return bounds[0], bounds[1]


@metric(
    "mean",
    title="MRR@{k}",
    needs=Relevance,
    span=1.0,
    quality=True,
    bounds=mrr_bounds,
    convention="1/place of the first relevant item, 0 if it isn't in the top k; "
    f"{_LEFT_OUT}; {TIES}",
    synonyms="rr, reciprocal rank",
)
def mrr(case: Case, k: int) -> Floats:
    """Reciprocal place of the first relevant item, 0 if it isn't in the top k, (queries,)."""
    ties = _ties(case, k)
    hit = _first_hits(ties)
    total = np.zeros(ties.n_queries)
    missed = np.ones(len(hit))
    relevant, size = ties.relevant[hit], ties.size[hit]
    for step in range(k):
        place = ties.first[hit] + step
        # Of the `size − step` places left in the tie, `relevant` hold a relevant item.
        chance = missed * divide(relevant, size - step, 0.0)
        total[ties.query[hit]] += np.where(place < k, chance / (place + 1), 0.0)
        missed = np.maximum(missed - chance, 0.0)
    return np.where(case.relevance().n_relevant > 0, total, np.nan)


def average_precision_bounds(case: Case, k: int) -> tuple[Floats, Floats]:
    """AP@k with every tie broken (against, for) the relevant items."""
    ties = _ties(case, k)
    bounds = []
    for first in (ties.first + ties.size - ties.relevant, ties.first):
        total = np.zeros(ties.n_queries)
        for number in range(k):
            place = first + number
            inside = (number < ties.relevant) & (place < k)
            gain = np.where(inside, (ties.relevant_before + number + 1) / (place + 1), 0.0)
            total += np.bincount(ties.query, weights=gain, minlength=ties.n_queries)
        bounds.append(_over_most(case, total, k))
    return bounds[0], bounds[1]


@metric(
    "mean",
    name="map",
    title="MAP@{k}",
    needs=Relevance,
    span=1.0,
    quality=True,
    bounds=average_precision_bounds,
    convention="precision at each relevant item of the top k, added up, over the smaller of k "
    f"and the relevant items; {_LEFT_OUT}; {TIES}",
    synonyms="average precision, precision, p",
)
def average_precision(case: Case, k: int) -> Floats:
    """AP@k: precision at each relevant item of the top k, added up, over min(R, k), (queries,)."""
    ties = _ties(case, k)
    total = np.zeros(ties.n_queries)
    for step in range(k):
        # At the tie's place `step` stands a relevant item with chance r/t; before it, in the tie,
        # stand on average step·(r − 1)/(t − 1) more.
        place = ties.first + step
        inside = (step < ties.size) & (place < k)
        mates = step * divide(ties.relevant - 1, ties.size - 1, 0.0)
        found = ties.relevant_before + 1 + mates
        gain = ties.relevant / ties.size * found / (place + 1)
        total += np.bincount(ties.query, weights=gain * inside, minlength=ties.n_queries)
    return _over_most(case, total, k)


@dataclass(frozen=True, eq=False, slots=True)
class _Ties:
    """The ties that reach into the top k, a single item being a tie of one; arrays (ties,)."""

    n_queries: int
    query: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]
    relevant: NDArray[np.int64]
    relevant_before: NDArray[np.int64]
    """Relevant items in the query's better ties."""


def _ties(case: Case, k: int) -> _Ties:
    case.relevance()
    shown = case.shown(k)
    starts = np.flatnonzero(_starts(shown))
    query = shown.query[starts]
    if not starts.size:
        none = np.zeros(0, dtype=np.int64)
        return _Ties(shown.shape[0], none, none, none, none, none)
    is_relevant = (_relevance_shown(case, k) > 0).astype(np.int64)
    relevant = np.add.reduceat(is_relevant, starts)
    running = np.cumsum(relevant) - relevant
    of_query = np.searchsorted(query, np.arange(shown.shape[0]))
    before = running - running[np.minimum(of_query, len(query) - 1)][query]
    return _Ties(shown.shape[0], query, shown.first[starts], shown.tied[starts], relevant, before)


def _starts(shown: Shown) -> NDArray[np.bool_]:
    starts = np.ones(len(shown.query), dtype=bool)
    starts[1:] = (shown.query[1:] != shown.query[:-1]) | (shown.first[1:] != shown.first[:-1])
    return starts


def _first_hits(ties: _Ties) -> NDArray[np.int64]:
    """Each query's best tie with a relevant item in it."""
    return np.flatnonzero((ties.relevant > 0) & (ties.relevant_before == 0))


def _over_most(case: Case, total: Floats, k: int) -> Floats:
    return divide(total, np.minimum(case.relevance().n_relevant, k), np.nan)
