"""Units that can't be judged, since an output isn't a number where it should be one.

The one rule, of every metric: a unit counts only if each of its outputs that the metric reads is
finite, or is the same infinity under FP32 too, which masks items and classes so. Units that FP32
leaves unanswered are left out; those that it answers and the engine doesn't, the engine has broken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unanswered(
    outputs: NDArray[Any],
    reference: NDArray[Any] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Units whose outputs hold NaN, or an infinity that FP32's don't, (n,).

    Parameters
    ----------
    outputs : ndarray, shape (n, …)
        Numbers; or texts, None where there is none.
    reference : ndarray, optional
        What FP32 gave, of the same shape; FP32's own outputs are held against themselves. Without,
        no infinity is known to be meant.
    ignored : ndarray of bool, optional
        Outputs that aren't read, of the same shape.
    """
    if outputs.dtype.kind == "O":
        return np.array([each is None for each in outputs], dtype=bool)
    if outputs.dtype.kind not in "fc" or np.isfinite(outputs).all():
        return np.zeros(len(outputs), dtype=bool)
    wrong = ~np.isfinite(outputs)
    if reference is not None:
        wrong &= ~(np.isinf(outputs) & (outputs == reference))
    if ignored is not None:
        wrong &= ~ignored
    return np.asarray(wrong.reshape(len(outputs), -1).any(axis=1))
