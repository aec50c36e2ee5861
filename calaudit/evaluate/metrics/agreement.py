"""Likeness to FP32 on the same sample: labels play no part, FP32 itself is perfect."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.classification import predicted
from calaudit.evaluate.metrics.ranking import count_bounds
from calaudit.evaluate.metrics.shown import Shown


def top1_agreement(case: Case) -> NDArray[np.bool_]:
    """Whether the engine and FP32 predict the same class, (n,)."""
    return np.asarray(predicted(case.logits()) == predicted(case.reference()))


def cosine(case: Case) -> NDArray[np.float64]:
    """Cosine between the engine's output and FP32's, flattened per sample, (n,) in [−1, 1].

    Two outputs of length 0 have cosine 1, one alone 0; NaN where the outputs aren't finite.
    """
    ours, theirs, finite = _finite_pair(case)
    dot = np.einsum("ij,ij->i", ours, theirs)
    length = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    both_zero = ~(ours.any(axis=1) | theirs.any(axis=1))
    ratio = divide(dot, length, both_zero)
    return np.where(finite, np.clip(ratio, -1.0, 1.0), np.nan)


def max_abs_diff(case: Case) -> NDArray[np.float64]:
    """Largest |engine − FP32| over a sample's outputs, (n,), in the output's unit.

    NaN where the outputs aren't finite.
    """
    ours, theirs, finite = _finite_pair(case)
    return np.where(finite, np.abs(ours - theirs).max(axis=1, initial=0.0), np.nan)


def overlap(case: Case, k: int) -> NDArray[np.float64]:
    """Share of FP32's top k that the engine shows too, (queries,).

    With chances p and q of a place, Σᵢ min(pᵢ, qᵢ) / places. Where one of the two lists has no tie
    at the cut, as FP32's seldom has, this is the expected overlap; two lists that tie alike
    overlap fully. NaN for a query with nothing to show.
    """
    case.relevance()
    ours, theirs = case.shown(k), case.reference_shown(k)
    both = np.asarray(_matrix(ours).minimum(_matrix(theirs)).sum(axis=1)).reshape(-1)
    return divide(both, theirs.n_shown, np.nan)


def overlap_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap with the ties at the cut, the engine's and FP32's, broken (apart, alike)."""
    case.relevance()
    ours, theirs = case.shown(k), case.reference_shown(k)
    chance = _matrix(theirs).toarray()[ours.query, ours.item]
    least, _ = count_bounds(ours, chance == 1.0)
    _, most = count_bounds(ours, chance > 0.0)
    return divide(least, theirs.n_shown, np.nan), divide(most, theirs.n_shown, np.nan)


def _matrix(shown: Shown) -> sparse.csr_array:
    return sparse.csr_array((shown.probability, (shown.query, shown.item)), shape=shown.shape)


def _finite_pair(case: Case) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """The engine's and FP32's outputs, (n, d) float64, zeroed where either isn't finite."""
    n = len(case.outputs)
    ours = case.outputs.reshape(n, -1).astype(np.float64)
    theirs = case.reference().reshape(n, -1).astype(np.float64)
    finite = np.asarray(np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1))
    ours[~finite] = 0.0
    theirs[~finite] = 0.0
    return ours, theirs, finite
