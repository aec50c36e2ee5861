"""What predictions are judged against: labels, or relevance of catalogue items to queries."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.errors import PoolError
from calaudit.evaluate.division import divide


@dataclass(frozen=True, eq=False)
class Labels:
    """Class of each sample."""

    label: NDArray[np.int64]
    """(n,), class numbers from 0."""

    def __post_init__(self) -> None:
        label = np.asarray(self.label)
        if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer):
            raise PoolError(
                f"labels are {label.dtype} of shape {label.shape}, "
                "expected one integer class per sample"
            )
        object.__setattr__(self, "label", label.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64]) -> "Labels":
        """The samples at `rows`, in their order."""
        return Labels(self.label[rows])


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance of every catalogue item to every query, and what is known of the items.

    Items excluded for a query are never shown to it, and their relevance is disregarded there.
    """

    relevance: NDArray[Any]
    """(queries, items), numbers ≥ 0; 0 is irrelevant."""
    exclude: NDArray[np.bool_] | None = None
    """(queries, items), True where the item must never be shown to the query."""
    popularity: NDArray[np.float64] | None = None
    """(items,), interactions each item had."""
    tail: NDArray[np.bool_] | None = None
    """(items,), True for items of the long tail; see `calaudit.evaluate.metrics.popularity`."""

    def __post_init__(self) -> None:
        relevance = np.asarray(self.relevance)
        if relevance.ndim != 2:
            raise PoolError(f"relevance has shape {relevance.shape}, expected (queries, items)")
        if relevance.size and not (np.isfinite(relevance).all() and relevance.min() >= 0):
            raise PoolError("relevance holds negative numbers, NaN or infinity")
        if self.exclude is not None:
            exclude = np.asarray(self.exclude)
            if exclude.shape != relevance.shape:
                raise PoolError(
                    f"exclude has shape {exclude.shape}, relevance has {relevance.shape}"
                )
            object.__setattr__(self, "exclude", exclude.astype(bool, copy=False))
        for name in ("popularity", "tail"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != relevance.shape[1:]:
                raise PoolError(
                    f"{name} has shape {np.shape(column)}, "
                    f"expected one value for each of the {relevance.shape[1]} items"
                )
        object.__setattr__(self, "relevance", relevance)

    def __len__(self) -> int:
        return len(self.relevance)

    @property
    def n_items(self) -> int:
        """Size of the catalogue: every column, whether or not it is ever eligible."""
        return int(self.relevance.shape[1])

    @cached_property
    def gain(self) -> NDArray[np.float64]:
        """(queries, items) relevance, 0 where excluded."""
        gain = self.relevance.astype(np.float64)
        if self.exclude is not None:
            gain[self.exclude] = 0.0
        return gain

    @cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """(queries,) eligible items with relevance above 0."""
        return np.asarray(np.count_nonzero(self.gain, axis=1), dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> "Relevance":
        """The queries at `rows`, in their order; the catalogue stays whole."""
        exclude = None if self.exclude is None else self.exclude[rows]
        return replace(self, relevance=self.relevance[rows], exclude=exclude)


Truth = Labels | Relevance


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
        """Scores of the pairs (pairs,) or (pairs, 1) as (q, items); −inf where there is no pair."""
        given = np.asarray(scores)
        flat = given.reshape(-1)
        if flat.shape != self.row.shape:
            raise PoolError(
                f"the model gave {given.shape} scores for {len(self.row)} pairs, "
                "expected one score per pair"
            )
        dtype = flat.dtype if np.issubdtype(flat.dtype, np.floating) else np.dtype(np.float64)
        dense = np.full(self.truth.relevance.shape, -np.inf, dtype=dtype)
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
        Columns of different lengths, or a pair that appears twice.
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

    An embedding of length 0 has cosine 0 with everything. NaN passes through: a broken embedding
    ranks last.

    Parameters
    ----------
    query_embedding : ndarray, shape (queries, d)
    gallery_embedding : ndarray, shape (gallery, d)
    """
    return _unit_rows(query_embedding) @ _unit_rows(gallery_embedding).T


def _unit_rows(embedding: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows = np.asarray(embedding, dtype=np.float64).reshape(len(embedding), -1)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return divide(rows, length, 0.0)


def check_labels(label: NDArray[np.int64], n_classes: int, *, where: object = None) -> None:
    """Raise `PoolError` if a label isn't one of the model's classes 0 … n_classes − 1."""
    wrong = np.flatnonzero((label < 0) | (label >= n_classes))
    if wrong.size:
        shown = ", ".join(str(value) for value in np.unique(label[wrong])[:5])
        raise PoolError(
            f"{wrong.size} of {label.size} labels are out of range: {shown} "
            f"(first at evaluation row {wrong[0]}); the model scores {n_classes} classes, "
            f"0 to {n_classes - 1}",
            where=where,
            next_step="Mend the labels, or evaluate the model that was trained on them.",
        )
