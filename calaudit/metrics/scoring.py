"""From an engine's outputs to per-unit scores."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.truth import Truth
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores

_SMALL = 63
"""The largest whole number of a set metric's statistics that is held in a byte."""


@dataclass(frozen=True, eq=False, slots=True)
class TieBounds:
    """Scores with every tie broken against, and for, quality."""

    worst: UnitScores
    best: UnitScores


def score(
    metric: Metric,
    outputs: NDArray[Any],
    truth: Truth | None,
    reference_outputs: NDArray[Any] | None = None,
) -> Scores:
    """Score one engine's outputs by one metric; see `score_all`."""
    return score_all([metric], outputs, truth, reference_outputs)[metric]


def score_all(
    metrics: Iterable[Metric],
    outputs: NDArray[Any],
    truth: Truth | None,
    reference_outputs: NDArray[Any] | None = None,
) -> dict[Metric, Scores]:
    """Score one engine's outputs by several metrics that look at the same output.

    Parameters
    ----------
    metrics : iterable of Metric
    outputs : ndarray, shape (n, classes), (queries, items) or, for agreement, (n, …)
        Logits (or probabilities, for ``nll_of_probabilities``), values, texts (see
        `calaudit.tasks.sequence`), or ranking scores, higher first.
    truth : Labels, Values, Texts or Relevance, optional
        Of the same units. Agreement metrics do without labels; those of rankings take the excluded
        items from it.
    reference_outputs : ndarray, optional
        What FP32 gave, of the outputs' shape; agreement metrics need it. It tells which infinities
        are meant (a masked item or class): those that FP32 gives too. Without it, `compare` takes a
        unit for broken whose infinities aren't all FP32's.

    Returns
    -------
    dict
        Batches of units may be scored one by one and joined by `concatenate`.

    Raises
    ------
    PoolError
        Labels out of range, or numbers of units or items that differ.
    SettingsError
        A metric that doesn't fit this truth or this output.
    """
    case = Case(outputs, truth, reference_outputs)
    return {metric: scores_of(metric, case) for metric in metrics}


def scores_of(metric: Metric, case: Case) -> Scores:
    """Score a case by one metric; see `score_all`."""
    definition = definition_of(metric)
    values = definition.scores(case, metric)
    missing = case.unanswered
    if isinstance(values, sparse.csr_array):
        functional = definition.functional
        assert functional is not None
        influence = partial(definition.influence, metric.k)
        values = Sums(_narrow(values), functional, influence, definition.reach)
    # first what is asked fastest: whether it is a protocol's takes long to find out
    if not isinstance(values, np.ndarray):
        return SetScores(metric, values, missing, case.infinite)
    if metric.kind == "ratio":
        top = np.where(missing, np.nan, values[:, 0])
        return RatioScores(metric, top, values[:, 1], case.infinite)
    return _per_unit(metric, values, case)


def _narrow(columns: sparse.csr_array) -> sparse.csr_array:
    """The same numbers in less memory: indices of 32 bits and small whole numbers in a byte."""
    data, indices, indptr = columns.data, columns.indices, columns.indptr
    # Differences of two numbers fit in a byte as well; NaN is never small.
    if columns.has_canonical_format and (np.abs(data) <= _SMALL).all():
        small = data.astype(np.int8)
        data = small if np.array_equal(small, data) else data
    if columns.nnz <= np.iinfo(np.int32).max:
        indices, indptr = (each.astype(np.int32, copy=False) for each in (indices, indptr))
    return sparse.csr_array((data, indices, indptr), shape=columns.shape)


def _per_unit(metric: Metric, values: NDArray[Any], case: Case) -> UnitScores:
    missing = case.unanswered
    if metric.kind == "binary" and values.dtype != bool:
        missing, values = missing | np.isnan(values), values == 1.0
    return UnitScores(metric, values, missing if missing.any() else None, case.infinite)


def perfect(metric: Metric, scores: Scores) -> Scores:
    """The scores that FP32 has in an agreement metric: those of a candidate that equals it.

    Parameters
    ----------
    metric : Metric
        An agreement metric.
    scores : UnitScores
        Those of FP32's outputs held against themselves: what has no score there, such as a query
        with nothing to show, stays left out; the others lose what rounding did to them. A metric
        that doesn't say what FP32 has is left as it is.
    """
    best = metric.perfect
    if best is None or not isinstance(scores, UnitScores):
        return scores
    if metric.kind == "binary":
        return UnitScores(metric, np.full(len(scores), bool(best)), scores.missing)
    return UnitScores(metric, np.where(np.isnan(scores.values), np.nan, best))


def tie_bounds(
    metric: Metric,
    outputs: NDArray[Any],
    truth: Truth | None,
    reference_outputs: NDArray[Any] | None = None,
) -> TieBounds | None:
    """How far the order within ties can move each unit's score, as in `score`.

    Returns
    -------
    TieBounds or None
        None for metrics that ties don't move (nll, cosine …) and for those of whole sets, whose
        extremes would need a search over all queries at once (coverage, Gini).
    """
    return bounds_of(metric, Case(outputs, truth, reference_outputs))


def bounds_of(metric: Metric, case: Case) -> TieBounds | None:
    """Bound a case's scores by one metric; see `tie_bounds`."""
    bounds = definition_of(metric).bounds
    if bounds is None:
        return None
    worst, best = bounds(case) if metric.k is None else bounds(case, metric.k)
    return TieBounds(_per_unit(metric, worst, case), _per_unit(metric, best, case))
