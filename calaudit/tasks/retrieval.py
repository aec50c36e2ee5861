"""Retrieval: queries find the rows of a gallery by the cosine of their embeddings."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.metrics.division import unit_rows
from calaudit.metrics.truth import Relevance
from calaudit.runtime.errors import SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import setting
from calaudit.slices.evaluate import select_rows
from calaudit.tasks.base import EvalSet, Samples
from calaudit.tasks.names import ids_of
from calaudit.tasks.placed import placed
from calaudit.tasks.ranking import RANKING_METRICS, RankingTask, Tail, read_popularity, tail_of


@setting
class Retrieval(RankingTask):
    """Query → gallery by cosine of embeddings: gallery rows are items, relevant if labels agree."""

    kind: ClassVar[str] = "retrieval"
    gallery: str
    """SQL predicate: the rows that are shown."""
    output: str | None = None
    target: str = "label"
    popularity: str | None = None
    """Metadata column with a gallery row's interaction count."""
    tail: Tail | None = None
    metrics: tuple[str, ...] = RANKING_METRICS

    def read(self, samples: Samples) -> EvalSet:
        """Queries find gallery rows by cosine; those of their label are relevant."""
        pool, evaluated = samples.pool, samples.evaluated
        gallery = gallery_of(self, pool, samples.where)
        labels = pool.read_target(self.target, gallery)
        # A label that is missing is like no other, not like every other missing one.
        known = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), bool)
        relevance = (pool.read_target(self.target, evaluated)[:, None] == labels[None, :]) & known
        if self.popularity is None:
            popularity = relevance.sum(axis=0, dtype=np.float64)
        else:
            column = pool.columns([self.popularity], gallery).to_series()
            popularity = read_popularity(column, f"{pool.label}: /meta")
        tail: NDArray[np.bool_] | None = None
        if self.tail is not None and self.tail.items:
            tail = np.isin(labels.astype(str), list(self.tail.items))
        elif self.tail is not None:
            tail = tail_of(self.tail, popularity)
        # A query that is in the gallery itself would find itself first.
        exclude = evaluated[:, None] == gallery[None, :]
        with placed(target=f"{pool.label}: /meta"):
            truth = Relevance(relevance.astype(np.uint8), exclude, popularity, tail)

        def answer(given: Given, _: Given, units: NDArray[np.int64]) -> NDArray[Any]:
            return retrieval_scores(samples.read(given, units), given.read(samples.output, gallery))

        return samples.eval_set(
            self, truth, target=self.target, answer=answer, items=ids_of(pool, gallery)
        )

    def more_rows(self, pool: Pool, where: str) -> Rows | None:
        """The gallery."""
        return gallery_of(self, pool, f"{where}.gallery")


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


def gallery_of(task: Retrieval, pool: Pool, where: str) -> Rows:
    """Rows that a retrieval shows. Raises `SliceError` if there are none."""
    gallery = select_rows(task.gallery, pool, where=where)
    if not len(gallery):
        raise SliceError(
            f"no sample is in the gallery {task.gallery!r}",
            where=where,
            next_step="Fix the predicate; calaudit pool show lists the columns.",
        )
    return gallery
