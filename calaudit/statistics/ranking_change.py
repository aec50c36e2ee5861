"""What became of FP32's top k: which loss has which cause, and who was shown instead of whom.

The four lists of `calaudit.statistics.ranking_lists` are a cause apart, each from the one before.

Exposure moves between items, and from head to tail. The exposure of an item is the expected number
of lists that show it. Within each query, the places that some items lost are those that others
gained; which took which can't be told, so that each gaining item has its share of every loss.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.division import divide
from calaudit.metrics.scoring import TieBounds, bounds_of, scores_of
from calaudit.metrics.shown import Shown
from calaudit.metrics.side_by_side import memberships, values_in
from calaudit.metrics.truth import Relevance
from calaudit.metrics.unit_scores import Scores, concatenate, join_units
from calaudit.results.rankings import Flow, MovedItem, RankingLoss
from calaudit.statistics.ranking_lists import Path

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_Values = tuple[list[float] | None, list[float] | None]
_NOISE = 1e-12
"""Values that differ by a smaller share of themselves differ by rounding."""


def flows(fp32: Shown, engine: Shown, tail: NDArray[np.bool_]) -> Floats:
    """Places of each query, (queries, 6), in the order of `Flow`'s fields.

    Parameters
    ----------
    fp32, engine : Shown
        Of the same queries and items, with as many places.
    tail : ndarray of bool, shape (items,)
    """
    change = engine.exposure - fp32.exposure
    lost, gained = (_by_group(change, sign, tail) for sign in (-1.0, 1.0))
    moved = lost.sum(axis=1)
    pairs = divide(lost[:, :, None] * gained[:, None, :], moved[:, None, None], 0.0)
    places = fp32.total(fp32.probability)
    kept = np.maximum(places - moved, 0.0)
    return np.column_stack([places, kept, pairs.reshape(-1, 4)])


def flow_of(places: Floats) -> Flow:
    """Add up the rows of `flows`."""
    return Flow(*(float(value) for value in places.sum(axis=0)))


def moved_items(before: Floats, after: Floats, *, most: int) -> tuple[NDArray[np.int64], ...]:
    """Positions of the items that lost, and of those that gained, the most exposure, most first.

    Parameters
    ----------
    before, after : ndarray, shape (items,)
        Exposure under FP32 and under the engine.
    most : int
        How many of each.
    """
    change = after - before
    found = []
    for sign in (-1.0, 1.0):
        order = np.argsort(-sign * change, kind="stable")[:most]
        found.append(order[sign * change[order] > 1e-9])
    return tuple(found)


def exposure_over(matrix: sparse.csr_array, rows: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Exposure of each item over some queries, (items,)."""
    return np.asarray(matrix[rows].sum(axis=0), dtype=np.float64).reshape(-1)


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
    flows: Floats | None
    """(queries, 6), as `flows` gives them; None where no tail is known."""
    exposure: tuple[sparse.csr_array, sparse.csr_array]
    """(queries, items) under FP32 and under the engine."""

    def losses(
        self, metrics: Iterable[Metric], slices: Sequence[Rows]
    ) -> list[tuple[RankingLoss, ...]]:
        """Each metric's drop by cause, and its bounds over ties, slice by slice.

        Metrics that neither split nor are bounded are passed over.

        Parameters
        ----------
        metrics : iterable of Metric
        slices : sequence of ndarray
            Queries of each.
        """
        told = [metric for metric in metrics if metric in self.steps or metric in self.bounds]
        found: list[tuple[RankingLoss, ...]] = []
        for member in memberships(slices, len(self.answered)):
            by_metric = [
                [_told(metric, values) for values in self._values(metric, member)]
                for metric in told
            ]
            found += zip(*by_metric, strict=True) if told else [()] * member.shape[0]
        return found

    def loss(self, metric: Metric, rows: Rows) -> RankingLoss | None:
        """A metric's drop over some queries by cause, and its bounds over ties.

        None for a metric that neither splits nor is bounded.
        """
        (found,) = self.losses([metric], [rows])
        return found[0] if found else None

    def _values(self, metric: Metric, member: sparse.csr_array) -> list[_Values]:
        """A metric by its four lists and its two bounds, of each slice; None: not known."""
        none = [None] * member.shape[0]
        parts: list[Sequence[list[float] | None]] = [none, none]
        if metric in self.steps:
            parts[0] = values_in(self.steps[metric], member).T.tolist()
        if metric in self.bounds:
            bounds = self.bounds[metric]
            parts[1] = values_in([bounds.worst, bounds.best], member).T.tolist()
        return list(zip(*parts, strict=True))

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
    return [_change(case, k, [metric for metric in cut if metric.k == k]) for k in cuts_of(cut)]


def cuts_of(metrics: Iterable[Metric]) -> list[int]:
    """Ranks at which some of the metrics cut lists, rising."""
    return sorted({m.k for m in metrics if m.k is not None and m.family != "top"})


def join_changes(parts: Sequence[RankingChange], truth: Relevance) -> RankingChange:
    """What an engine made of successive queries' lists as one; `truth` is that of them all."""
    first = parts[0]
    if len(parts) == 1:
        return first
    flowed = [each.flows for each in parts if each.flows is not None]

    def exposures(which: int) -> sparse.csr_array:
        return sparse.csr_array(sparse.vstack([p.exposure[which] for p in parts], format="csr"))

    def step(metric: Metric, place: int) -> Scores:
        return concatenate([each.steps[metric][place] for each in parts])

    return RankingChange(
        k=first.k,
        truth=truth,
        answered=np.concatenate([each.answered for each in parts]),
        tied={name: np.concatenate([each.tied[name] for each in parts]) for name in first.tied},
        steps={m: (step(m, 0), step(m, 1), step(m, 2), step(m, 3)) for m in first.steps},
        bounds={
            metric: TieBounds(
                *(
                    join_units([getattr(p.bounds[metric], which) for p in parts])
                    for which in ("worst", "best")
                )
            )
            for metric in first.bounds
        },
        flows=np.concatenate(flowed) if flowed else None,
        exposure=(exposures(0), exposures(1)),
    )


def _by_group(change: sparse.csr_array, sign: float, tail: NDArray[np.bool_]) -> Floats:
    """Exposure that head and tail lost (sign −1) or gained (+1), (queries, 2)."""
    one_way = change.copy()
    one_way.data = np.maximum(sign * one_way.data, 0.0)
    groups = np.column_stack([~tail, tail]).astype(np.float64)
    return np.asarray(one_way @ groups, dtype=np.float64)


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
        exposure=(path.fp32.exposure, path.engine.exposure),
    )


def _told(metric: Metric, values: _Values) -> RankingLoss:
    worst = best = drop = across_cut = reordering = ties = None
    steps, bounds = values
    if bounds is not None:
        worst, best = bounds
    if steps is not None:
        sign = 1.0 if metric.higher_is_better else -1.0
        fp32, members, untied, engine = steps
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


def _loss(before: float, after: float, sign: float) -> float:
    """What is lost from one list to the next, without what rounding leaves of 0, and its sign."""
    equal = abs(before - after) <= _NOISE * max(abs(before), abs(after))
    return 0.0 if equal else sign * (before - after)
