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
        infinities are left to `infinities`.
    ignored : ndarray of bool, optional
        Outputs that aren't read, of the same shape.
    """
    if outputs.dtype.kind == "O":
        return np.array([each is None for each in outputs], dtype=bool)
    if _all_finite(outputs):
        return np.zeros(len(outputs), dtype=bool)
    wrong = np.isnan(outputs)
    if reference is not None:
        wrong |= np.isinf(outputs) & (outputs != reference)
    if ignored is not None:
        wrong &= ~ignored
    return np.asarray(wrong.reshape(len(outputs), -1).any(axis=1))


def infinities(
    outputs: NDArray[Any], ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.uint64] | None:
    """A number for each unit that tells which of its outputs are infinite, and how, (n,).

    0: none is. Units whose numbers differ don't have the same infinities. None: no unit has any.
    """
    if outputs.dtype.kind == "O" or _all_finite(outputs):
        return None
    signs = np.where(np.isinf(outputs), np.sign(np.nan_to_num(outputs)), 0.0)
    if ignored is not None:
        signs[ignored] = 0.0
    flat = signs.reshape(len(outputs), -1).astype(np.int64).astype(np.uint64)
    # Odd multiples of the golden ratio of 2⁶⁴, added up modulo 2⁶⁴ (D. Knuth, TAOCP 3, §6.4).
    places = np.arange(flat.shape[1], dtype=np.uint64)
    factor = (places * np.uint64(2) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    factor = (factor ^ (factor >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (flat * factor).sum(axis=1, dtype=np.uint64)
    return np.asarray(found) if found.any() else None


def _all_finite(outputs: NDArray[Any]) -> bool:
    return outputs.dtype.kind not in "fc" or bool(np.isfinite(outputs).all())
