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
from calaudit.metrics.unit_scores import Scores, UnitScores, concatenate, join_units
from calaudit.results.rankings import Flow, MovedItem, RankingLoss
from calaudit.statistics.ranking_lists import Path

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

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
    """Exposure of each item over some queries, each of them once, (items,)."""
    chosen = matrix if len(rows) == matrix.shape[0] else matrix[rows]
    return np.asarray(chosen.sum(axis=0), dtype=np.float64).reshape(-1)


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
        (found,) = losses_of([self], metrics, slices)
        return found

    def loss(self, metric: Metric, rows: Rows) -> RankingLoss | None:
        """A metric's drop over some queries by cause, and its bounds over ties.

        None for a metric that neither splits nor is bounded.
        """
        (found,) = self.losses([metric], [rows])
        return found[0] if found else None

    def tied_share(self, which: str, rows: Rows) -> float:
        """Share of some queries in which a tie runs across the cut, of ``fp32`` or ``engine``."""
        kept = rows[self.answered[rows]]
        if not len(kept):
            return float("nan")
        return np.count_nonzero(self.tied[which][kept]) / len(kept)

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


def changes_in(
    metrics: Iterable[Metric], case: Case, scores: Mapping[Metric, Scores] | None = None
) -> list[RankingChange]:
    """`change_of` a case that has relevance and FP32's outputs; its scores may be known."""
    cut = [metric for metric in metrics if metric.k is not None and metric.family != "top"]
    return [
        _change(case, k, [metric for metric in cut if metric.k == k], scores or {})
        for k in cuts_of(cut)
    ]


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


def _change(
    case: Case, k: int, metrics: Sequence[Metric], known: Mapping[Metric, Scores]
) -> RankingChange:
    path = Path.of(case, k)
    steps = {
        metric: _steps(metric, case, path, known.get(metric))
        for metric in metrics
        if definition_of(metric).shown_only
    }
    bounds = {}
    ties = ((path.engine.tied > 1) & ~case.unanswered[path.engine.query]).any()
    for metric in metrics:
        engine = steps[metric][-1] if metric in steps else None
        if isinstance(engine, UnitScores) and definition_of(metric).bounds is not None and not ties:
            bounds[metric] = TieBounds(engine, engine)  # of one order alone
        elif (found := bounds_of(metric, case)) is not None:
            bounds[metric] = found
    truth = case.relevance()
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


def _steps(
    metric: Metric, case: Case, path: Path, engine: Scores | None
) -> tuple[Scores, Scores, Scores, Scores]:
    """A metric's scores of the four lists; those of the engine's own may be known."""

    def of(shown: Shown) -> Scores:
        return scores_of(metric, case.with_shown(shown.k, shown))

    fp32 = case.of_reference()
    if np.array_equal(fp32.unanswered, case.unanswered):  # as of any engine that answers all
        ours = case.kept_of_truth(f"{metric.name} of FP32", lambda: scores_of(metric, fp32))
    else:
        ours = of(path.fp32)
    engine = of(path.engine) if engine is None else engine
    untied = engine if path.untied is path.engine else of(path.untied)
    return ours, of(path.members), untied, engine


def losses_of(
    changes: Sequence[RankingChange], metrics: Iterable[Metric], slices: Sequence[Rows]
) -> list[list[tuple[RankingLoss, ...]]]:
    """`RankingChange.losses` of several engines, whose lists are cut at one k."""
    if not changes:
        return []
    first = changes[0]
    told = [metric for metric in metrics if metric in first.steps or metric in first.bounds]
    found: list[list[tuple[RankingLoss, ...]]] = [[] for _ in changes]
    for member in memberships(slices, len(first.answered)):
        by_metric = [_told(metric, changes, member) for metric in told]
        for at, own in enumerate(found):
            of_slices = zip(*(each[at] for each in by_metric), strict=True)
            own.extend(of_slices if told else [()] * member.shape[0])
    return found


def _told(
    metric: Metric, changes: Sequence[RankingChange], member: sparse.csr_array
) -> list[list[RankingLoss]]:
    """A metric's loss by cause, change by change, slice by slice."""
    stepped, bounded = metric in changes[0].steps, metric in changes[0].bounds
    lists: list[list[Scores]] = [
        [
            *(each.steps[metric] if stepped else ()),
            *((each.bounds[metric].worst, each.bounds[metric].best) if bounded else ()),
        ]
        for each in changes
    ]
    values = _values_in(lists, member)
    columns: list[list[Any]] = [[[None] * member.shape[0]] * len(changes)] * 6
    if stepped:
        sign = 1.0 if metric.higher_is_better else -1.0
        fp32, members, untied, engine = np.moveaxis(values[:, :4], 1, 0)
        pairs = (
            (fp32, engine),
            (fp32, members),  # other items, in FP32's order
            (members, untied),  # the engine's order of them, its ties broken by FP32
            (untied, engine),  # ties broken by FP32 against chance
        )
        columns[:4] = [_loss(before, after, sign).tolist() for before, after in pairs]
    if bounded:
        columns[4:] = [values[:, -2].tolist(), values[:, -1].tolist()]
    return [
        [RankingLoss(metric.name, *told) for told in zip(*own, strict=True)]
        for own in zip(*columns, strict=True)
    ]


def _values_in(lists: Sequence[Sequence[Scores]], member: sparse.csr_array) -> Floats:
    """A metric by each change's lists on each slice, (changes, lists, slices); each asked once."""
    flat = [one for lists_of_one in lists for one in lists_of_one]
    once = {id(one): one for one in flat}
    place = {key: at for at, key in enumerate(once)}
    values = values_in(list(once.values()), member)
    return values[[place[id(one)] for one in flat]].reshape(len(lists), -1, member.shape[0])


def _loss(before: Floats, after: Floats, sign: float) -> Floats:
    """What is lost from one list to the next, without what rounding leaves of 0, and its sign."""
    equal = np.abs(before - after) <= _NOISE * np.maximum(np.abs(before), np.abs(after))
    return np.where(equal, 0.0, sign * (before - after))
