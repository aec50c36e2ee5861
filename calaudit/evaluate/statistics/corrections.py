"""Corrections for testing several slices at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values: those below α are rejected with family-wise error α.

    For slices that were named beforehand. S. Holm (1979), Scand. J. Statist. 6, 65–70.

    Parameters
    ----------
    p_values : array_like, shape (tests,)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_yekutieli(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: of those below q, a share of at most q is expected to be false.

    For screening many slices, which overlap, so that their tests depend on one another in any way.
    Y. Benjamini & D. Yekutieli (2001), Ann. Statist. 29, 1165–1188, theorem 1.3: step-up on
    p₍ᵢ₎·(m/i)·Σ 1/j.

    Parameters
    ----------
    p_values : array_like, shape (tests,)
    """
    p = np.asarray(p_values, dtype=np.float64)
    m = len(p)
    rank = np.arange(1, m + 1)
    order = np.argsort(p, kind="stable")
    raised = p[order] * m / rank * np.sum(1.0 / rank)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return adjusted
