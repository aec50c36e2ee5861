"""Ranking: one row per query; the output scores every item of the catalogue."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.graph.model import ModelTensor
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case, spans_of
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.popularity import tail_by_interactions, tail_by_rank
from calaudit.metrics.scoring import scores_of
from calaudit.metrics.truth import Relevance, Truth, check_at_least_0
from calaudit.metrics.unit_scores import UnitScores, of_units
from calaudit.runtime.errors import PoolError, SettingsError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import setting
from calaudit.statistics.baselines import Floats, Rival
from calaudit.tasks.base import Closing, EvalSet, Proposed, Samples, Task, named, width_of
from calaudit.tasks.names import Names, ids_of, texts_of
from calaudit.tasks.placed import placed
from calaudit.tasks.reduced import Reduced, highest_of

RANKING_METRICS = (
    "ndcg@10",
    "recall@10",
    "coverage@10",
    "gini@10",
    "long_tail_share@10",
    "overlap@10",
    "ties_at_cut@10",
)

RANDOM_RANKINGS = 4
"""Over which a random ranker is averaged."""
MOST_QUERIES = 4096
"""Queries, at even distances, that are enough to tell a ranker from chance."""

CUT = 10
"""Places of a ranking that are looked at, where there are more items."""
RANKED = ("ndcg", "recall", "coverage", "gini", "long_tail_share", "overlap", "ties_at_cut")


@setting
class Tail:
    """Which items are the long tail: those outside the head."""

    head_interactions: float | None = None
    """The head holds this share of all interactions (0.8 is usual)."""
    head_items: float | None = None
    """The head is this share of the items, the most popular ones."""
    items: tuple[str, ...] = ()
    """Retrieval: the labels that form the tail, named."""

    def __post_init__(self) -> None:
        """Exactly one way of saying it."""
        given = [self.head_interactions is not None, self.head_items is not None, bool(self.items)]
        if sum(given) != 1:
            raise SettingsError("give exactly one of head_interactions, head_items, items")
        for share in (self.head_interactions, self.head_items):
            if share is not None and not 0 < share < 1:
                raise SettingsError(f"a share must lie between 0 and 1 (got {share})")


class RankingTask(Task):
    """What listwise, pairwise and retrieval tasks share: queries, and relevance of items."""

    __slots__ = ()

    truth: ClassVar[type[Truth]] = Relevance
    unit: ClassVar[str] = "query"
    top: ClassVar[int | None] = 10

    def check(self, eval_set: EvalSet, width: int | None, pool: Pool) -> None:
        """Refuse a truth without any relevant item."""
        if isinstance(eval_set.truth, Relevance) and not eval_set.truth.n_relevant.any():
            raise PoolError(
                "no evaluated query has a relevant item that may be shown",
                where=pool.label,
                next_step="Fix the relevance, or what the exclude target leaves out.",
            )

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Who ranks at random, and who shows everybody the most popular items."""
        metric, truth = parse_metric(f"ndcg@{k}"), case.truth_of(Relevance)
        count = min(len(truth), MOST_QUERIES)
        rows = np.linspace(0, len(truth) - 1, count).round().astype(np.int64)
        part = truth.take(rows)
        shape = (count, truth.n_items)
        own = np.concatenate([_scored(metric, piece) for piece in case.pieces()])

        def over(theirs: Floats) -> Floats:
            gain = np.full(len(own), np.nan)
            gain[rows] = own[rows] - theirs
            return gain

        rng = np.random.default_rng(0)
        chance = [
            _scored(metric, Case(rng.random(shape, dtype=np.float32), part, None))
            for _ in range(RANDOM_RANKINGS)
        ]
        name = f"a random ranking, by nDCG@{k}"
        rivals = [Rival(name, (over(np.mean(chance, axis=0)),), True)]
        popularity = truth.popularity
        if popularity is not None and not _counted_from(popularity, truth):
            same: NDArray[Any] = np.ascontiguousarray(np.broadcast_to(popularity, shape))
            name = f"recommending the most popular items to everyone, by nDCG@{k}"
            rivals.append(Rival(name, (over(_scored(metric, Case(same, part, None))),), False))
        return rivals


@setting
class Ranking(RankingTask):
    """Listwise: one row per query, the output scores every item of the catalogue."""

    kind: ClassVar[str] = "ranking"
    by_row: ClassVar[bool] = True
    proposed: ClassVar[int | None] = 10
    output: str | None = None
    relevance: str = "relevance"
    exclude: str | None = None
    """Target (N, items) that marks what may not be shown; default: `exclude` if the pool has it."""
    popularity: str | None = "popularity"
    """Item column with interaction counts; None: summed relevance over the evaluated queries."""
    vectors: str | None = None
    """Item column with vectors, for intra-list diversity; without one, genres serve."""
    genres: str | None = "genres"
    """Item column with the genres of each, separated by ``|``, commas or spaces."""
    history: str | None = None
    """Target (N, items) that marks what the user had dealt with before, for genre calibration;
    default: what is excluded."""
    names: str | None = "title"
    """Item column that tells people which item is meant; without it, `id` or the number serves."""
    tail: Tail = Tail(head_interactions=0.8)
    metrics: tuple[str, ...] = RANKING_METRICS

    def read(self, samples: Samples) -> EvalSet:
        """Relevance and what is known of the items; the output scores every item."""
        pool, evaluated = samples.pool, samples.evaluated
        relevance = read_numbers(pool, self.relevance, evaluated)
        exclude = self._hidden(pool)
        hidden = None if exclude is None else read_numbers(pool, exclude, evaluated)
        history = hidden if self.history is None else read_numbers(pool, self.history, evaluated)
        if self.popularity is not None and self.popularity in pool.items:
            popularity = read_popularity(pool.item_column(self.popularity), f"{pool.label}: /items")
        elif self.popularity in (None, "popularity"):
            popularity = relevance.sum(axis=0, dtype=np.float64)
        else:
            raise PoolError(
                f"there is no item column {self.popularity!r}",
                where=pool.label,
                next_step=near(str(self.popularity), pool.items),
            )
        genres = _genres(self.genres, pool)
        vectors = genres if self.vectors is None else pool.item_vectors(self.vectors)
        with placed(target=f"{pool.label}: /targets/{self.relevance}", where=samples.where):
            query = ids_of(pool, evaluated)
            check_at_least_0("relevance", relevance, query=lambda at: query(np.array([at]))[0])
            truth = Relevance(relevance, hidden, genres=genres, history=history)
        with placed(target=f"{pool.label}: /items", where=samples.where):
            truth = replace(
                truth,
                popularity=popularity,
                tail=tail_of(self.tail, popularity),
                vectors=None if vectors is None else vectors.astype(np.float64),
            )
        items = _item_names(self.names, pool, truth.n_items)
        return samples.eval_set(self, truth, target=self.relevance, items=items)

    def reduced(self, samples: Samples) -> tuple[Reduced, ...]:
        """The highest items."""
        exclude = self._hidden(samples.pool)

        def hidden(rows: Rows) -> NDArray[np.bool_]:
            return np.asarray(read_numbers(samples.pool, str(exclude), rows) != 0)

        return tuple(
            highest_of(
                samples.metrics,
                samples.output,
                samples.shapes.get(samples.output),
                what="item",
                hidden=None if exclude is None else hidden,
            )
        )

    def _hidden(self, pool: Pool) -> str | None:
        """The target that marks what isn't shown."""
        return self.exclude or ("exclude" if "exclude" in pool.targets else None)

    def check(self, eval_set: EvalSet, width: int | None, pool: Pool) -> None:
        """Refuse a catalogue of another size than the model scores, too."""
        if isinstance(eval_set.truth, Relevance) and width not in (None, eval_set.truth.n_items):
            raise PoolError(
                f"relevance has {eval_set.truth.n_items} items, the model scores {width}",
                where=pool.label,
                next_step="Give the pool the model's own catalogue, in the order of its scores.",
            )
        RankingTask.check(self, eval_set, width, pool)

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> Proposed | None:
        """Relevance (N, items) for an output of scores."""
        relevance = pool.targets.get("relevance")
        if relevance is None or len(relevance.shape) != 1:
            return None
        items = relevance.shape[0]
        fitting = [each for each in outputs if width_of(each) in (items, None)]
        if not fitting:
            return None
        k = min(CUT, max(1, items // 2))
        values = {
            "kind": "ranking",
            **named(fitting[0], outputs),
            "tail": {"head_interactions": 0.8},
            "metrics": [f"{name}@{k}" for name in RANKED],
        }
        remark = (
            f"Each sample is a query, its output scores {items:,} items. The head is the most "
            "popular items that hold 80 % of the interactions; the others are the long tail."
        )
        return Proposed(values, remark, (f"ndcg@{k}", f"long_tail_share@{k}"))


def read_numbers(pool: Pool, target: str, rows: Rows) -> NDArray[Any]:
    """A target of numbers; text is refused."""
    values = pool.read_target(target, rows)
    if values.dtype.kind not in "biuf":
        raise PoolError(
            "holds text, expected numbers",
            where=f"{pool.label}: /targets/{target}",
            next_step="Store one number per query and item: 0 where the item isn't relevant.",
        )
    return values


def read_popularity(column: pl.Series, group: str) -> NDArray[np.float64]:
    """Interactions of each item (items,), which must be known of all."""
    if not column.dtype.is_numeric() or column.null_count():
        found = f"{column.null_count():,} missing values" if column.null_count() else column.dtype
        raise PoolError(
            f"holds {found}, expected one number of interactions per item",
            where=f"{group}/{column.name}",
            next_step="Store 0 where an item had none.",
        )
    return column.to_numpy().astype(np.float64)


def tail_of(tail: Tail, popularity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(items,) whether an item is of the long tail, by its popularity."""
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


def _counted_from(popularity: Floats, truth: Relevance) -> bool:
    """Whether popularity was counted from what is judged, so that it knows the answers."""
    gained = np.zeros(truth.n_items)
    for units in spans_of(len(truth), truth.n_items * gained.itemsize):
        gained += truth.take(units).gain.sum(axis=0)
    counted = (gained, truth.relevance.sum(axis=0, dtype=np.float64))
    return any(np.array_equal(popularity, each) for each in counted)


def _scored(metric: Metric, case: Case) -> Floats:
    found = scores_of(metric, case)
    return of_units(found) if isinstance(found, UnitScores) else np.full(len(found), np.nan)
