"""Holm's step-down correction for several tests (S. Holm 1979, Scand. J. Statist. 6, 65–70)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: those below α are rejected with family-wise error α.

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
