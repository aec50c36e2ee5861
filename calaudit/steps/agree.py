"""Agree: the same engine on two backends, output by output."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.shown import rankable
from calaudit.metrics.truth import Relevance
from calaudit.results.agreement import Agreement
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
    a, b = eval_set.answer(one, other), eval_set.answer(other, other)
    if a.dtype.kind == "O":
        same_text = float(np.mean(a == b)) if len(a) else None
        return Agreement(cell, twin, eval_set.output, len(a), None, 1, same_text)
    kept = np.isfinite(a) & np.isfinite(b)
    difference = np.abs(a[kept].astype(np.float64) - b[kept].astype(np.float64))
    largest = float(difference.max()) if difference.size else None
    k = eval_set.task.top if a.ndim == 2 else None
    same = None
    if k is not None:
        excluded = eval_set.truth.exclude if isinstance(eval_set.truth, Relevance) else None
        same = top_overlap(_shown(a, excluded), _shown(b, excluded), k)
    return Agreement(cell, twin, eval_set.output, len(a), largest, k, same)


def top_overlap(one: NDArray[Any], other: NDArray[Any], k: int) -> float:
    """Mean share of each row's `k` highest columns that two score arrays (n, items) share.

    Of equal scores the lower column comes first.
    """
    first, second = (np.argsort(-each, axis=1, kind="stable")[:, :k] for each in (one, other))
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared) / first.shape[1])


def _shown(scores: NDArray[Any], excluded: NDArray[Any] | None) -> NDArray[Any]:
    return rankable(scores, None if excluded is None else excluded.astype(bool))
