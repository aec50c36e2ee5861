"""One engine's top k beside FP32's: losses by cause, bounds over ties, exposure that moved."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.ranking.flow import (
    exposure,
    exposure_over,
    flow_of,
    flows,
    moved_items,
)
from calaudit.evaluate.ranking.lists import Path
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.scores import Scores
from calaudit.metrics.scoring import TieBounds, bounds_of, scores_of
from calaudit.metrics.truth import Relevance
from calaudit.results.rankings import Flow, MovedItem, RankingLoss

Rows = NDArray[np.int64]

_NOISE = 1e-12
"""Values that differ by a smaller share of themselves differ by rounding."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingChange:
    """What one engine made of FP32's top k; one query per unit."""

    k: int
    truth: Relevance
    answered: NDArray[np.bool_]
    """(queries,) what follows is of those that both answered."""
    tied: Mapping[str, NDArray[np.bool_]]
    """``fp32`` and ``engine`` → (queries,) whether a tie runs across the cut."""
    steps: Mapping[Metric, tuple[Scores, Scores, Scores, Scores]]
    """Metric → its scores of FP32's list, of the members, of the untied list, of the engine's."""
    bounds: Mapping[Metric, TieBounds]
    """Metric → the engine's scores with its ties broken against, and for, quality."""
    flows: NDArray[np.float64] | None
    """(queries, 6), as `calaudit.evaluate.ranking.flow.flows`; None where no tail is known."""
    exposure: tuple[sparse.csr_array, sparse.csr_array]
    """(queries, items) under FP32 and under the engine."""

    def loss(self, metric: Metric, rows: Rows) -> RankingLoss | None:
        """A metric's drop over some queries by cause, and its bounds over ties.

        None for a metric that neither splits nor is bounded.
        """
        if metric not in self.steps and metric not in self.bounds:
            return None
        worst = best = drop = across_cut = reordering = ties = None
        if metric in self.bounds:
            bounds = self.bounds[metric]
            worst, best = bounds.worst.value(rows), bounds.best.value(rows)
        if metric in self.steps:
            sign = 1.0 if metric.higher_is_better else -1.0
            fp32, members, untied, engine = (each.value(rows) for each in self.steps[metric])
            drop = _loss(fp32, engine, sign)
            # other items, in FP32's order
            across_cut = _loss(fp32, members, sign)
            # the engine's order of them, its ties broken by FP32
            reordering = _loss(members, untied, sign)
            # ties broken by FP32 against chance
            ties = _loss(untied, engine, sign)
        return RankingLoss(
            metric=metric.name,
            drop=drop,
            across_cut=across_cut,
            reordering=reordering,
            ties=ties,
            worst=worst,
            best=best,
        )

    def tied_share(self, which: str, rows: Rows) -> float:
        """Share of some queries in which a tie runs across the cut, of ``fp32`` or ``engine``."""
        kept = rows[self.answered[rows]]
        return float(self.tied[which][kept].mean()) if len(kept) else float("nan")

    def flow(self, rows: Rows) -> Flow | None:
        """Places by who held them and who does, over some queries."""
        return None if self.flows is None else flow_of(self.flows[rows[self.answered[rows]]])

    def moved(
        self,
        rows: Rows,
        *,
        most: int = 5,
        names: Callable[[NDArray[np.int64]], Sequence[str]] | None = None,
    ) -> tuple[tuple[MovedItem, ...], tuple[MovedItem, ...]]:
        """The items that lost, and that gained, the most exposure over some queries.

        Parameters
        ----------
        rows : ndarray of int64
            Positions of the queries.
        most : int
            Items of each.
        names : callable, optional
            Positions of items → what they are called; their positions by default.
        """
        kept = rows[self.answered[rows]]
        before, after = (exposure_over(matrix, kept) for matrix in self.exposure)
        popularity, tail = self.truth.popularity, self.truth.tail

        def described(items: NDArray[np.int64]) -> tuple[MovedItem, ...]:
            called = map(str, items) if names is None or not len(items) else names(items)
            return tuple(
                MovedItem(
                    item=name,
                    reference=float(before[at]),
                    candidate=float(after[at]),
                    popularity=None if popularity is None else float(popularity[at]),
                    tail=None if tail is None else bool(tail[at]),
                )
                for at, name in zip(items.tolist(), called, strict=True)
            )

        lost, gained = moved_items(before, after, most=most)
        return described(lost), described(gained)


def change_of(
    metrics: Iterable[Metric],
    outputs: NDArray[Any],
    truth: Relevance,
    reference_outputs: NDArray[Any],
) -> list[RankingChange]:
    """Set one engine's rankings beside FP32's, once for each cut among `metrics`.

    Parameters
    ----------
    metrics : iterable of Metric
        Those without a rank at which lists are cut are passed over.
    outputs, reference_outputs : ndarray, shape (queries, items)
        Ranking scores by the engine and by FP32, higher first.
    truth : Relevance

    Returns
    -------
    list of RankingChange
        By rising k.
    """
    return changes_in(metrics, Case(outputs, truth, reference_outputs))


def changes_in(metrics: Iterable[Metric], case: Case) -> list[RankingChange]:
    """`change_of` a case that has relevance and FP32's outputs."""
    cut = [metric for metric in metrics if metric.k is not None and metric.family != "top"]
    return [
        _change(case, k, [metric for metric in cut if metric.k == k])
        for k in sorted({metric.k for metric in cut if metric.k is not None})
    ]


def _change(case: Case, k: int, metrics: list[Metric]) -> RankingChange:
    path = Path.of(case, k)
    lists = (path.fp32, path.members, path.untied, path.engine)
    steps = {}
    for metric in metrics:
        if definition_of(metric).shown_only:
            fp32, members, untied, engine = (
                scores_of(metric, case.with_shown(k, shown)) for shown in lists
            )
            steps[metric] = (fp32, members, untied, engine)
    truth = case.relevance()
    bounds = {metric: found for metric in metrics if (found := bounds_of(metric, case)) is not None}
    return RankingChange(
        k=k,
        truth=truth,
        answered=~case.unanswered,
        tied={
            "fp32": path.fp32.total(1.0 - path.fp32.probability) > 0,
            "engine": path.engine.total(1.0 - path.engine.probability) > 0,
        },
        steps=steps,
        bounds=bounds,
        flows=None if truth.tail is None else flows(path.fp32, path.engine, truth.tail),
        exposure=(exposure(path.fp32), exposure(path.engine)),
    )


def _loss(before: float, after: float, sign: float) -> float:
    """What is lost from one list to the next, without what rounding leaves of 0, and its sign."""
    equal = abs(before - after) <= _NOISE * max(abs(before), abs(after))
    return 0.0 if equal else sign * (before - after)
