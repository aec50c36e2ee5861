"""Exams of rankings: listwise pools, pairs of query and item, and retrieval from a gallery."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.evaluate.listwise import Pairs, from_pairs, retrieval_scores
from calaudit.formats.predictions import Predictions
from calaudit.metrics.popularity import tail_by_interactions, tail_by_rank
from calaudit.metrics.truth import Relevance, check_at_least_0
from calaudit.runtime.errors import PoolError, Problem, SettingsError, SliceError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.evaluate import select_rows
from calaudit.slices.predicate import column_in_sql
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.exam import Basis, Exam, Names, ids_of, placed, texts_of
from calaudit.steps.tasks import Pairwise, Ranking, Retrieval, Tail

_SHOWN = 3


def listwise_exam(task: Ranking, basis: Basis) -> Exam:
    """One row per query, the output scores every item; see `calaudit.steps.truths.set_exam`."""
    pool, evaluated = basis.pool, basis.evaluated
    relevance = _numbers(pool, task.relevance, evaluated)
    exclude = task.exclude or ("exclude" if "exclude" in pool.targets else None)
    hidden = None if exclude is None else _numbers(pool, exclude, evaluated)
    history = hidden if task.history is None else _numbers(pool, task.history, evaluated)
    if task.popularity is not None and task.popularity in pool.items:
        popularity = _popularity(pool.item_column(task.popularity), f"{pool.label}: /items")
    elif task.popularity in (None, "popularity"):
        popularity = relevance.sum(axis=0, dtype=np.float64)
    else:
        raise PoolError(
            f"there is no item column {task.popularity!r}",
            where=pool.label,
            next_step=near(str(task.popularity), pool.items),
        )
    genres = _genres(task.genres, pool)
    vectors = genres if task.vectors is None else pool.item_vectors(task.vectors)
    with placed(target=f"{pool.label}: /targets/{task.relevance}", where=basis.where):
        query = ids_of(pool, evaluated)
        check_at_least_0("relevance", relevance, query=lambda at: query(np.array([at]))[0])
        truth = Relevance(relevance, hidden, genres=genres, history=history)
    with placed(target=f"{pool.label}: /items", where=basis.where):
        truth = replace(
            truth,
            popularity=popularity,
            tail=_tail(task.tail, popularity),
            vectors=None if vectors is None else vectors.astype(np.float64),
        )
    items = _item_names(task.names, pool, truth.n_items)
    return basis.exam(truth, target=task.relevance, unit="query", items=items)


def gallery_of(task: Retrieval, pool: Pool, where: str) -> Rows:
    """Rows that a retrieval shows. Raises `SliceError` if there are none."""
    gallery = select_rows(task.gallery, pool, where=where)
    if not len(gallery):
        raise SliceError(
            f"no sample is in the gallery {task.gallery!r}",
            where=where,
            next_step="Mend the predicate; calaudit pool show lists the columns.",
        )
    return gallery


def retrieval_exam(task: Retrieval, basis: Basis) -> Exam:
    """Queries find gallery rows by the cosine of embeddings; those of their label are relevant."""
    pool, evaluated = basis.pool, basis.evaluated
    gallery = gallery_of(task, pool, basis.where)
    labels = pool.read_target(task.target, gallery)
    # A label that is missing is like no other, not like every other missing one.
    known = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), bool)
    relevance = (pool.read_target(task.target, evaluated)[:, None] == labels[None, :]) & known
    if task.popularity is None:
        popularity = relevance.sum(axis=0, dtype=np.float64)
    else:
        column = pool.columns([task.popularity], gallery).to_series()
        popularity = _popularity(column, f"{pool.label}: /meta")
    tail: NDArray[np.bool_] | None = None
    if task.tail is not None and task.tail.items:
        tail = np.isin(labels.astype(str), list(task.tail.items))
    elif task.tail is not None:
        tail = _tail(task.tail, popularity)
    # A query that is in the gallery itself would find itself first.
    exclude = evaluated[:, None] == gallery[None, :]
    with placed(target=f"{pool.label}: /meta"):
        truth = Relevance(relevance.astype(np.uint8), exclude, popularity, tail)

    def answer(predictions: Predictions, _: Predictions) -> NDArray[Any]:
        return retrieval_scores(basis.read(predictions), predictions.read(basis.output, gallery))

    return basis.exam(
        truth, target=task.target, unit="query", answer=answer, items=ids_of(pool, gallery)
    )


def pairwise_exam(task: Pairwise, basis: Basis) -> Exam:
    """One row per (query, item), the output is one score."""
    pool, evaluated = basis.pool, basis.evaluated
    columns = pool.columns([task.query, task.item], evaluated)
    _check_named(columns, basis)
    query, item = (columns[name].to_numpy() for name in (task.query, task.item))
    relevance = _numbers(pool, task.relevance, evaluated)
    with placed(target=f"{pool.label}: /targets/{task.relevance}", where=basis.where):
        pairs = from_pairs(query, item, relevance)
        popularity = pairs.truth.gain.sum(axis=0)
        tail = _tail(task.tail, popularity)
        truth = Relevance(pairs.truth.relevance, pairs.truth.exclude, popularity, tail)
    return basis.exam(
        truth,
        target=task.relevance,
        unit="query",
        answer=lambda predictions, _: pairs.listwise(basis.read(predictions)),
        slices=_slices_of_queries(basis.slices, pairs, pool.label),
        unit_of_row=pairs.row,
        ids=texts_of(pairs.queries),
        items=texts_of(pairs.items),
    )


def _check_named(columns: pl.DataFrame, basis: Basis) -> None:
    """Every pair belongs to a query and to an item."""
    problems = []
    for column in columns:
        missing = np.flatnonzero(column.is_null().to_numpy())
        if len(missing):
            shown = ", ".join(basis.pool.ids(basis.evaluated[missing[:_SHOWN]]))
            more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
            problems.append(
                Problem(
                    f"{len(missing):,} of {len(column):,} judged samples have no {column.name}: "
                    f"{shown}{more}",
                    f"{basis.pool.label}: /meta/{column.name}",
                    f"Fill them in, or leave them out: add AND {column_in_sql(column.name)} IS NOT "
                    "NULL to the audit's evaluate.",
                )
            )
    if problems:
        raise PoolError.of(problems)


def _numbers(pool: Pool, target: str, rows: Rows) -> NDArray[Any]:
    values = pool.read_target(target, rows)
    if values.dtype.kind not in "biuf":
        raise PoolError(
            "holds text, expected numbers",
            where=f"{pool.label}: /targets/{target}",
            next_step="Store one number per query and item: 0 where the item isn't relevant.",
        )
    return values


def _popularity(column: pl.Series, group: str) -> NDArray[np.float64]:
    if not column.dtype.is_numeric() or column.null_count():
        found = f"{column.null_count():,} missing values" if column.null_count() else column.dtype
        raise PoolError(
            f"holds {found}, expected one number of interactions per item",
            where=f"{group}/{column.name}",
            next_step="Store 0 where an item had none.",
        )
    return column.to_numpy().astype(np.float64)


def _tail(tail: Tail, popularity: NDArray[np.float64]) -> NDArray[np.bool_]:
    if tail.head_items is not None:
        return tail_by_rank(popularity, tail.head_items)
    if tail.head_interactions is not None:
        return tail_by_interactions(popularity, tail.head_interactions)
    raise SettingsError(
        "tail.items names labels, which only a retrieval task has",
        next_step="Use head_interactions or head_items.",
    )


def _genres(column: str | None, pool: Pool) -> NDArray[np.bool_] | None:
    """(items, genres); None where the usual column is missing."""
    if column is None or (column == "genres" and column not in pool.items):
        return None
    texts = [str(text or "") for text in pool.item_column(column).to_list()]
    separator = next((sign for sign in "|,;" if any(sign in text for text in texts)), None)
    split = re.compile(r"\s+" if separator is None else rf"\s*{re.escape(separator)}\s*")
    of_items = [{genre for genre in split.split(text.strip()) if genre} for text in texts]
    known = {genre: number for number, genre in enumerate(sorted(set().union(*of_items)))}
    found = np.zeros((len(texts), len(known)), dtype=bool)
    for item, genres in enumerate(of_items):
        found[item, [known[genre] for genre in genres]] = True
    return found


def _item_names(column: str | None, pool: Pool, n_items: int) -> Names:
    if column is not None and column not in pool.items and column != "title":
        raise PoolError(
            f"there is no item column {column!r}",
            where=pool.label,
            next_step=near(column, pool.items),
        )
    for name in (column or "id", "id"):
        if name in pool.items and not pool.items[name].shape:
            given = pool.item_column(name).to_list()
            return texts_of([i if text is None else text for i, text in enumerate(given)])
    return texts_of(list(range(n_items)))


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
