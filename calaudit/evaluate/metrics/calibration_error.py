"""Expected calibration error: how far confidence is from the share of right answers."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.classification import log_softmax, predicted, shares

BINS = 15
"""Bins of equal width of the confidence, as Guo et al. 2017 take."""


def ece(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 16): confidence − right in its bin's column, 1 in the last one.

    For outputs that are logits. NaN where no confidence can be told: the largest is infinite.
    """
    if case.probabilities:
        return ece_of_probabilities(case)
    return _statistics(case, np.exp(log_softmax(case.logits()).max(axis=1)))


def ece_of_probabilities(case: Case) -> sparse.csr_array:
    """`ece` for outputs that are probabilities."""
    return _statistics(case, shares(case).max(axis=1))


def ece_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ over the bins of |Σ(confidence − right)| / n; NaN without samples.

    Parameters
    ----------
    totals : ndarray, shape (…, bins + 1)
        Of each bin, confidences minus right answers; then n.
    """
    return divide(np.abs(totals[..., :-1]).sum(axis=-1), totals[..., -1], np.nan)


def ece_influence(_: int | None, __: NDArray[np.float64], n: int) -> float:
    """2/n: a sample leaves one bin for another, and weighs at most 1/n in each."""
    return min(1.0, 2.0 / max(n, 1))


def _statistics(case: Case, confidence: NDArray[np.float64]) -> sparse.csr_array:
    label, n = case.label(), len(case.outputs)
    right = predicted(case.logits()) == label
    # Bins are open below and closed above: 1 is in the last one.
    bin_of = np.clip(np.ceil(np.nan_to_num(confidence) * BINS) - 1, 0, BINS - 1).astype(np.int64)
    row = np.concatenate([np.arange(n), np.arange(n)])
    column = np.concatenate([bin_of, np.full(n, BINS)])
    value = np.concatenate([confidence - right, np.ones(n)])
    return sparse.csr_array((value, (row, column)), shape=(n, BINS + 1))
