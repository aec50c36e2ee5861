"""One engine's top k beside FP32's: losses by cause, bounds over ties, exposure that moved."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.catalogue import definition_of
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.ranking.flow import (
    Flow,
    MovedItem,
    exposure,
    exposure_over,
    flow_of,
    flows,
    moved_items,
)
from calaudit.evaluate.ranking.lists import Path
from calaudit.evaluate.scores import Scores
from calaudit.evaluate.scoring import TieBounds, bounds_of, scores_of
from calaudit.evaluate.truth import Relevance

Rows = NDArray[np.int64]

_NOISE = 1e-12
"""Values that differ by a smaller share of themselves differ by rounding."""


@dataclass(frozen=True, slots=True)
class LossSplit:
    """A drop as the sum of its causes, each signed so that positive is a loss.

    ``drop = across_cut + reordering + ties``.
    """

    drop: float
    across_cut: float
    """What is lost because the engine shows other items: FP32's list against the engine's items in
    FP32's order."""
    reordering: float
    """What is lost because it truly orders them otherwise: these items in FP32's order against the
    engine's, its ties broken by FP32."""
    ties: float
    """What is lost because items tie that FP32 told apart: ties broken by FP32 against chance."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingChange:
    """What one engine made of FP32's top k; one query per unit."""

    k: int
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

    def split(self, metric: Metric, rows: Rows) -> LossSplit | None:
        """The drop over some queries by cause; None for a metric that doesn't split."""
        if metric not in self.steps:
            return None
        sign = 1.0 if metric.higher_is_better else -1.0
        fp32, members, untied, engine = (scores.value(rows) for scores in self.steps[metric])
        return LossSplit(
            drop=_loss(fp32, engine, sign),
            across_cut=_loss(fp32, members, sign),
            reordering=_loss(members, untied, sign),
            ties=_loss(untied, engine, sign),
        )

    def tie_range(self, metric: Metric, rows: Rows) -> tuple[float, float] | None:
        """The engine's metric with its ties broken (against, for) quality, over some queries."""
        if metric not in self.bounds:
            return None
        bounds = self.bounds[metric]
        return bounds.worst.value(rows), bounds.best.value(rows)

    def tied_share(self, which: str, rows: Rows) -> float:
        """Share of some queries in which a tie runs across the cut, of ``fp32`` or ``engine``."""
        kept = rows[self.answered[rows]]
        return float(self.tied[which][kept].mean()) if len(kept) else float("nan")

    def flow(self, rows: Rows) -> Flow | None:
        """Places by who held them and who does, over some queries."""
        return None if self.flows is None else flow_of(self.flows[rows[self.answered[rows]]])

    def moved(self, rows: Rows, *, most: int = 5) -> tuple[list[MovedItem], ...]:
        """The items that lost, and that gained, the most exposure over some queries."""
        kept = rows[self.answered[rows]]
        before, after = (exposure_over(matrix, kept) for matrix in self.exposure)
        return moved_items(before, after, most=most)


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
