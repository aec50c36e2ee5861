"""Other forms of ranking made listwise: rows of (query, item), and embeddings of a gallery."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.metrics.division import unit_rows
from calaudit.metrics.truth import Relevance, check_at_least_0
from calaudit.runtime.errors import PoolError
from calaudit.runtime.words import counted


@dataclass(frozen=True, eq=False)
class Pairs:
    """A pairwise pool turned listwise: one row per query, one column per item."""

    queries: NDArray[Any]
    """(q,) distinct query ids, sorted."""
    items: NDArray[Any]
    """(items,) distinct item ids, sorted: the catalogue."""
    row: NDArray[np.int64]
    """(pairs,) query number of each pair."""
    column: NDArray[np.int64]
    """(pairs,) item number of each pair."""
    truth: Relevance
    """Items that were not paired with a query are excluded for it."""

    @property
    def first_pair(self) -> NDArray[np.int64]:
        """(q,) the first pair of each query: where to read its metadata."""
        return np.asarray(np.unique(self.row, return_index=True)[1], dtype=np.int64)

    def listwise(self, scores: ArrayLike) -> NDArray[Any]:
        """Scores of the pairs (pairs,) or (pairs, 1) as (q, items), in their own type.

        The lowest number of the type, −inf for floats, where there is no pair.
        """
        given = np.asarray(scores)
        flat = given.reshape(-1)
        if flat.shape != self.row.shape:
            raise PoolError(
                f"the model gave {given.shape} scores for {counted(len(self.row), 'pair')}, "
                "expected one score per pair"
            )
        integer = np.issubdtype(flat.dtype, np.integer)
        lowest = np.iinfo(flat.dtype).min if integer else -np.inf
        dtype = flat.dtype if flat.dtype.kind in "iuf" else np.dtype(np.float64)
        dense = np.full(self.truth.relevance.shape, lowest, dtype=dtype)
        dense[self.row, self.column] = flat
        return dense


def from_pairs(
    query: ArrayLike,
    item: ArrayLike,
    relevance: ArrayLike,
    *,
    popularity: ArrayLike | None = None,
    tail: ArrayLike | None = None,
) -> Pairs:
    """Gather rows of (query, item, relevance) into one row per query.

    Parameters
    ----------
    query, item : array_like, shape (pairs,)
        Ids: numbers or text.
    relevance : array_like, shape (pairs,)
    popularity, tail : array_like, shape (pairs,), optional
        Of each pair's item; an item's first pair counts.

    Raises
    ------
    PoolError
        Columns of different lengths, a pair that appears twice, or a relevance below 0.
    """
    query_ids, item_ids, value = np.asarray(query), np.asarray(item), np.asarray(relevance)
    if not query_ids.shape == item_ids.shape == value.shape:
        raise PoolError(
            f"query, item and relevance have shapes {query_ids.shape}, {item_ids.shape} and "
            f"{value.shape}, expected one value each per pair"
        )
    queries, row = np.unique(query_ids, return_inverse=True)
    items, first, column = np.unique(item_ids, return_index=True, return_inverse=True)
    cell = row.astype(np.int64) * len(items) + column
    cells, counts = np.unique(cell, return_counts=True)
    if counts.size and counts.max() > 1:
        twice = int(cells[np.argmax(counts > 1)])
        raise PoolError(
            f"query {queries[twice // len(items)]} and item {items[twice % len(items)]} "
            "are paired more than once",
            next_step="Keep one row per (query, item).",
        )
    dense = np.zeros((len(queries), len(items)), dtype=value.dtype)
    exclude = np.ones(dense.shape, dtype=bool)
    dense[row, column] = value
    exclude[row, column] = False
    check_at_least_0("relevance", dense, query=queries.__getitem__, item=items.__getitem__)
    truth = Relevance(
        dense,
        exclude,
        None if popularity is None else np.asarray(popularity, dtype=np.float64)[first],
        None if tail is None else np.asarray(tail, dtype=bool)[first],
    )
    return Pairs(queries, items, row.astype(np.int64), column.astype(np.int64), truth)


def retrieval_scores(
    query_embedding: NDArray[np.floating[Any]], gallery_embedding: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Cosine of every query with every gallery item, (queries, gallery).

    An embedding of length 0 has cosine 0 with everything. One that holds NaN or infinity has cosine
    NaN with everything: a query leaves all of its own scores unanswered, a gallery item one score
    of every query.

    Parameters
    ----------
    query_embedding : ndarray, shape (queries, d)
    gallery_embedding : ndarray, shape (gallery, d)
    """
    query, gallery = _flat(query_embedding), _flat(gallery_embedding)
    cosines = unit_rows(np.nan_to_num(query)) @ unit_rows(np.nan_to_num(gallery)).T
    cosines[~np.isfinite(query).all(axis=1)] = np.nan
    cosines[:, ~np.isfinite(gallery).all(axis=1)] = np.nan
    return np.asarray(cosines)


def _flat(embedding: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(embedding, dtype=np.float64).reshape(len(embedding), -1)
