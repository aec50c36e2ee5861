"""Two engines' outputs beside each other: of one engine on two backends, of an engine and FP32.

Outputs are read piece by piece.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.case import spans_of
from calaudit.metrics.shown import rankable
from calaudit.results.audited import Agreement
from calaudit.runtime.pool import Rows
from calaudit.steps.pieces import Pieces
from calaudit.tasks.base import EvalSet


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
            same.append(_n_shared(_shown(a, base.exclude()), _shown(b, base.exclude()), k))
            places = min(k, a.shape[1])
    found = np.concatenate(same) if same else np.zeros(0)
    share = float(np.mean(found) / places) if k is not None and len(found) else None
    return Agreement(cell, twin, eval_set.output, n, largest, k, share)


def _n_shared(one: NDArray[Any], other: NDArray[Any], k: int) -> NDArray[np.float64]:
    """How many of each row's `k` highest columns two score arrays (n, items) have in common.

    Of equal scores the lower column comes first.
    """
    first, second = (np.argsort(-each, axis=1, kind="stable")[:, :k] for each in (one, other))
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return np.array(shared, dtype=np.float64)


def _shown(scores: NDArray[Any], excluded: NDArray[Any] | None) -> NDArray[Any]:
    return rankable(scores, None if excluded is None else excluded.astype(bool))


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
