"""MRR and MAP: metrics of the relevant items' places that don't add up item by item.

Expected values over the order of ties have closed forms (McSherry & Najork 2008, "Computing
information retrieval performance measures efficiently in the presence of tied scores"). Both need
only how many items, and how many relevant ones, each tie holds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.shown import Shown

Floats = NDArray[np.float64]


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
    shown, gain = case.shown(k), case.relevance().gain
    starts = np.flatnonzero(_starts(shown))
    query = shown.query[starts]
    if not starts.size:
        none = np.zeros(0, dtype=np.int64)
        return _Ties(shown.shape[0], none, none, none, none, none)
    is_relevant = (gain[shown.query, shown.item] > 0).astype(np.int64)
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
