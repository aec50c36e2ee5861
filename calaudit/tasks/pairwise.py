"""Pairwise ranking: one row per (query, item); the output holds one score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.graph.model import ModelTensor
from calaudit.metrics.truth import Relevance, check_at_least_0
from calaudit.runtime.errors import PoolError, Problem, SliceError
from calaudit.runtime.pool import Pool
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted, first_of
from calaudit.slices.predicate import column_in_sql
from calaudit.slices.sliceset import SliceSet
from calaudit.tasks.base import Closing, EvalSet, Proposed, Samples, named
from calaudit.tasks.names import texts_of
from calaudit.tasks.placed import placed
from calaudit.tasks.ranking import (
    CUT,
    RANKED,
    RANKING_METRICS,
    RankingTask,
    Tail,
    read_numbers,
    tail_of,
)

_SHOWN = 3


@setting
class Pairwise(RankingTask):
    """One row per (query, item); the output holds one score."""

    kind: ClassVar[str] = "pairwise"
    proposed: ClassVar[int | None] = 20
    output: str | None = None
    query: str = "query"
    item: str = "item"
    relevance: str = "relevance"
    tail: Tail = Tail(head_interactions=0.8)
    metrics: tuple[str, ...] = RANKING_METRICS

    def read(self, samples: Samples) -> EvalSet:
        """Rows gathered by query; items that weren't paired with it are excluded."""
        pool, evaluated = samples.pool, samples.evaluated
        columns = pool.columns([self.query, self.item], evaluated)
        _check_named(columns, samples)
        query, item = (columns[name].to_numpy() for name in (self.query, self.item))
        relevance = read_numbers(pool, self.relevance, evaluated)
        with placed(target=f"{pool.label}: /targets/{self.relevance}", where=samples.where):
            pairs = from_pairs(query, item, relevance)
            popularity = pairs.truth.gain.sum(axis=0)
            tail = tail_of(self.tail, popularity)
            truth = Relevance(pairs.truth.relevance, pairs.truth.exclude, popularity, tail)
        return samples.eval_set(
            self,
            truth,
            target=self.relevance,
            answer=lambda given, _, units: pairs.listwise(
                samples.read(given, pairs.pairs_of(units)), units
            ),
            slices=_slices_of_queries(samples.slices, pairs, pool.label),
            unit_of_row=pairs.row,
            ids=texts_of(pairs.queries),
            items=texts_of(pairs.items),
        )

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> Proposed | None:
        """Relevance of one number per sample, with columns `query` and `item`."""
        relevance = pool.targets.get("relevance")
        if relevance is None or relevance.shape or not {"query", "item"} <= set(pool.meta):
            return None
        values = {
            "kind": "pairwise",
            **named(outputs[0], outputs),
            "tail": {"head_interactions": 0.8},
            "metrics": [f"{name}@{CUT}" for name in RANKED],
        }
        remark = "Each sample is an item of a query; its output is the item's score."
        used = ("query", "item", "relevance")
        gated = (f"ndcg@{CUT}", f"long_tail_share@{CUT}")
        return Proposed(values, remark, gated, used, query="query")


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

    def pairs_of(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the pairs of some queries, ascending."""
        if len(queries) == len(self.queries):
            return np.arange(len(self.row))
        return np.flatnonzero(np.isin(self.row, queries))

    def listwise(self, scores: ArrayLike, queries: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Scores of the pairs (pairs,) or (pairs, 1) as (q, items), in their own type.

        The lowest number of the type, −inf for floats, where there is no pair.

        Parameters
        ----------
        scores : array_like
            Of the pairs of `queries`, in their order.
        queries : int64 (q,), optional
            Ascending; default: all.
        """
        given = np.asarray(scores)
        flat = given.reshape(-1)
        every = np.arange(len(self.queries)) if queries is None else queries
        pairs = self.pairs_of(every)
        if flat.shape != pairs.shape:
            raise PoolError(
                f"the model gave {given.shape} scores for {counted(len(pairs), 'pair')}, "
                "expected one score per pair"
            )
        integer = np.issubdtype(flat.dtype, np.integer)
        lowest = np.iinfo(flat.dtype).min if integer else -np.inf
        dtype = flat.dtype if flat.dtype.kind in "iuf" else np.dtype(np.float64)
        dense = np.full((len(every), len(self.items)), lowest, dtype=dtype)
        dense[np.searchsorted(every, self.row[pairs]), self.column[pairs]] = flat
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


def _check_named(columns: pl.DataFrame, samples: Samples) -> None:
    """Every pair belongs to a query and to an item."""
    problems = []
    for column in columns:
        missing = np.flatnonzero(column.is_null().to_numpy())
        if len(missing):
            shown = samples.pool.ids(samples.evaluated[missing[:_SHOWN]])
            problems.append(
                Problem(
                    f"{len(missing):,} of {len(column):,} evaluated samples have no {column.name}: "
                    f"{first_of(shown, len(missing))}",
                    f"{samples.pool.label}: /meta/{column.name}",
                    f"Fill them in, or leave them out: add AND {column_in_sql(column.name)} IS NOT "
                    "NULL to the audit's evaluate.",
                )
            )
    if problems:
        raise PoolError.of(problems)


def _slices_of_queries(slices: SliceSet, pairs: Pairs, label: str) -> SliceSet:
    first = pairs.first_pair
    for dimension in slices.dimensions:
        differs = dimension.codes != dimension.codes[first][pairs.row]
        if differs.any():
            raise SliceError(
                f"dimension {dimension.name} differs within query "
                f"{pairs.queries[pairs.row[differs][0]]}; a query is in a slice as a whole",
                where=label,
                next_step="Slice a pairwise pool by columns that belong to the query.",
            )
    return slices.take(first)
