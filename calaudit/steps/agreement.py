"""Two engines' outputs beside each other: of one engine on two backends, of an engine and FP32.

Outputs are read piece by piece.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.case import Case, spans_of
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import scores_of
from calaudit.metrics.shown import rankable
from calaudit.metrics.unit_scores import concatenate
from calaudit.results.audited import Agreement
from calaudit.runtime.pool import Rows
from calaudit.steps.pieces import Pieces
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reduction import Scoring

_FEW = 8
"""Where the highest are more than one column in so many, all are sorted as fast."""


def compare_outputs(
    eval_set: EvalSet, cell: str, one: Predictions, twin: str | None, other: Predictions
) -> Agreement:
    """Compare a task's output as two backends give it for the same rows.

    Parameters
    ----------
    eval_set : EvalSet
    cell, twin : str
        The cells; `twin` is None for the FP32 reference.
    one, other : Predictions
        Theirs.
    """
    kept = eval_set.reduction
    whole = all(set(eval_set.outputs) <= set(each.output_names) for each in (one, other))
    if isinstance(kept, Scoring) and kept.scores_of(one) and not whole:
        return _compare_scored(eval_set, kept, (cell, one), (twin, other))
    if eval_set.task.alike is not None:
        return _compare_alike(eval_set, eval_set.task.alike, (cell, one), (twin, other))
    largest: float | None = None
    k, n, places = eval_set.task.top, len(eval_set.truth), 1
    same: list[NDArray[np.float64]] = []
    for units, base in Pieces(eval_set, other).bases():
        a, b = eval_set.answers(one, other, units), base.outputs
        if a.dtype.kind == "O":
            k = 1
            same.append(np.asarray(a == b, dtype=np.float64))
            continue
        kept = np.isfinite(a) & np.isfinite(b)
        difference = np.abs(a[kept].astype(np.float64) - b[kept].astype(np.float64))
        if difference.size:
            largest = max(largest or 0.0, float(difference.max()))
        k = k if a.ndim == 2 else None
        if k is not None:
            same.append(_n_shared(highest(base.with_outputs(a), k), highest(base, k)))
            places = min(k, a.shape[1])
    found = np.concatenate(same) if same else np.zeros(0)
    share = float(np.mean(found) / places) if k is not None and len(found) else None
    return Agreement(cell, twin, eval_set.output, n, largest, k, share)


def _compare_alike(
    eval_set: EvalSet,
    name: str,
    cell: tuple[str, Predictions],
    twin: tuple[str | None, Predictions],
) -> Agreement:
    """`compare_outputs` by a metric of likeness; of units that it doesn't score, by none."""
    metric = parse_metric(name)
    value: float | None = None
    if eval_set.unit == eval_set.task.unit:
        parts = [
            scores_of(metric, base.with_outputs(eval_set.answers(cell[1], twin[1], units)))
            for units, base in Pieces(eval_set, twin[1]).bases()
        ]
        found = concatenate(parts).value() if parts else math.nan
        value = None if math.isnan(found) else found
    n = len(eval_set.truth)
    alike = None if value is None else name
    return Agreement(
        cell[0], twin[0], eval_set.output, n, None, None, None, metric=alike, value=value
    )


def _compare_scored(
    eval_set: EvalSet,
    kept: Scoring,
    cell: tuple[str, Predictions],
    twin: tuple[str | None, Predictions],
) -> Agreement:
    """`compare_outputs` of scores: how far apart the outputs of twins are isn't known."""
    (name, one), (other_name, other) = cell, twin
    units, k = np.arange(len(eval_set.truth)), eval_set.task.top
    largest = share = None
    if not kept.scores_of(other):  # FP32 itself
        largest = kept.largest_difference(one)
    if k is not None and len(units):
        ours = kept.highest(one, units)
        if kept.scores_of(other):
            theirs = kept.highest(other, units)
        else:
            cases = Pieces(eval_set, other).bases()
            theirs = np.concatenate([highest(base, k) for _, base in cases]).astype(np.int32)
        share = float(np.mean(_n_shared(ours, theirs)) / ours.shape[1])
    return Agreement(name, other_name, eval_set.output, len(units), largest, k, share)


def highest(case: Case, k: int) -> NDArray[np.int64]:
    """The `k` highest columns of scores (n, items) that may be shown, (n, k).

    Of equal scores the lower column comes first.
    """
    lost = -rankable(case.outputs, case.exclude())
    if _FEW * k >= lost.shape[1]:
        return np.asarray(np.argsort(lost, axis=1, kind="stable")[:, :k])
    # of thousands of columns most needn't be sorted
    edge = np.partition(lost, k - 1, axis=1)[:, k - 1 : k]
    above, tied = lost < edge, lost == edge
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= room))
    columns = np.nonzero(chosen)[1].reshape(-1, k)
    order = np.argsort(np.take_along_axis(lost, columns, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(columns, order, axis=1), np.int64)


def _n_shared(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """How many columns each two rows (n, k) have in common."""
    shared = [len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)]
    return np.array(shared, dtype=np.float64)


def squared_differences(
    output: str, one: Predictions, other: Predictions, rows: Rows
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Σ (a − b)² and Σ b² over each row's values of an output, both (n,).

    Where both are the same infinity nothing differs, and it counts in neither sum; where just one
    is, or one is NaN, the row's difference is NaN. Outputs of integers differ by NaN: their numbers
    are names.

    Parameters
    ----------
    output : str
        A model output that both have.
    one, other : Predictions
        The second is what the first is compared with.
    rows : int64 (n,)
        Rows that both hold, ascending.
    """
    differences, powers = np.full(len(rows), np.nan), np.zeros(len(rows))
    for piece in spans_of(len(rows), 2 * other.bytes_of([output]) // max(len(other.rows), 1)):
        a, b = one.read(output, rows[piece]), other.read(output, rows[piece])
        differences[piece], powers[piece] = squared_difference(a, b)
    return differences, powers


def squared_difference(
    one: NDArray[Any], other: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`squared_differences` of outputs (n, …) in memory."""
    if one.dtype.kind != "f" or one.shape != other.shape:
        return np.full(len(other), np.nan), np.zeros(len(other))
    x = one.reshape(len(one), -1).astype(np.float64)
    y = other.reshape(x.shape).astype(np.float64)
    apart = x != y
    with np.errstate(invalid="ignore"):
        lost = np.square(np.subtract(x, y, where=apart, out=np.zeros_like(x)))
    differences = np.where(np.isfinite(lost).all(axis=1), lost.sum(axis=1), np.nan)
    return differences, np.square(np.where(np.isfinite(y), y, 0.0)).sum(axis=1)
