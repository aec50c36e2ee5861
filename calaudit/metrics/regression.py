"""Errors between the output and the pool's target, in the target's unit.

A target may hold several values per sample; a sample's error is then their mean. A sample whose
error isn't finite has none (NaN).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import metric, unbounded
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.truth import Values

_OUTPUTS = "over a sample's values the mean"


@metric(
    "mean",
    title="Mean absolute error",
    needs=Values,
    higher_is_better=False,
    unit="target",
    quality=True,
    convention=f"mean of |output − target|; {_OUTPUTS}",
    synonyms="l1, absolute error, mad",
)
def mae(case: Case) -> NDArray[np.float64]:
    """|output − target|, (n,)."""
    return _settled(np.abs(_errors(case)).mean(axis=1))


@metric(
    "mean",
    title="Mean squared error",
    needs=Values,
    higher_is_better=False,
    unit="target²",
    quality=True,
    convention=f"mean of (output − target)²; {_OUTPUTS}",
    synonyms="l2, squared error",
)
def mse(case: Case) -> NDArray[np.float64]:
    """(output − target)², (n,), in the target's unit squared."""
    with np.errstate(over="ignore"):
        return _settled(np.square(_errors(case)).mean(axis=1))


def rmse_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """√(Σ squared errors / n); NaN without samples.

    Parameters
    ----------
    totals : ndarray, shape (…, 2)
    """
    return np.sqrt(divide(np.maximum(totals[..., 0], 0.0), totals[..., 1], np.nan))


@metric(
    "set",
    title="Root mean squared error",
    needs=Values,
    higher_is_better=False,
    unit="target",
    quality=True,
    functional=rmse_of,
    influence=unbounded,
    convention=f"root of the mean of (output − target)²; {_OUTPUTS}",
    synonyms="rms, rms error",
)
def rmse(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 2): its squared error, and 1."""
    return sparse.csr_array(np.stack([mse(case), np.ones(len(case.outputs))], axis=1))


def r2_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 − Σ squared errors / Σ (target − mean)², averaged over a sample's d values.

    Parameters
    ----------
    totals : ndarray, shape (…, 1 + 3·d)

    Returns
    -------
    ndarray, shape (…)
        NaN where a target doesn't vary, or with fewer than two samples.
    """
    n, sums = totals[..., :1], totals[..., 1:]
    error, first, second = np.split(sums, 3, axis=-1)
    spread = second - divide(first**2, n, 0.0)
    # A target that doesn't vary leaves rounding, not 0.
    spread = np.where((n < 1.5) | (spread <= 1e-12 * np.abs(second)), 0.0, spread)
    return np.asarray((1.0 - divide(error, spread, np.nan)).mean(axis=-1), dtype=np.float64)


@metric(
    "set",
    title="R²",
    needs=Values,
    unit="index",
    quality=True,
    functional=r2_of,
    influence=unbounded,
    convention="1 − squared errors over squared distances from the slice's mean; "
    f"{_OUTPUTS} of their R²",
    synonyms="r squared, r2 score, explained variance, coefficient of determination",
)
def r2(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 1 + 3·d): 1, then squared errors, targets, squared targets.

    Targets are taken from `Values.center`, so that their squares keep their digits.
    """
    errors = _errors(case)
    errors[~np.isfinite(errors).all(axis=1)] = np.nan
    true, _ = case.values()
    center = case.truth.center if isinstance(case.truth, Values) else None
    moved = true - (0.0 if center is None else center.reshape(1, -1))
    ones = np.ones((len(true), 1))
    with np.errstate(over="ignore"):
        return sparse.csr_array(np.concatenate([ones, errors**2, moved, moved**2], axis=1))


def _errors(case: Case) -> NDArray[np.float64]:
    true, given = case.values()
    with np.errstate(over="ignore"):
        return given - true


def _settled(error: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(error), error, np.nan)
