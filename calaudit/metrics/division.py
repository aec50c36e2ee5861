"""Division that says what 0 in the denominator means, and of vectors by their length."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def divide(
    numerator: ArrayLike, denominator: ArrayLike, otherwise: ArrayLike
) -> NDArray[np.float64]:
    """Numerator / denominator elementwise, `otherwise` where the denominator is 0; broadcast."""
    top, bottom, rest = (
        np.asarray(value, dtype=np.float64) for value in (numerator, denominator, otherwise)
    )
    if rest.ndim == 0 and bottom.all():  # as nearly always: nothing to fill
        return np.asarray(np.divide(top, bottom), dtype=np.float64)
    result: NDArray[Any] = np.empty(np.broadcast_shapes(top.shape, bottom.shape, rest.shape))
    result[...] = rest
    np.divide(top, bottom, out=result, where=bottom != 0)
    return result


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows (n, d) over their length, (n, d) float64; rows of zeros stay so.

    Numbers may be of any size: their squares neither vanish nor overflow.
    """
    wide = np.asarray(rows, dtype=np.float64)
    near_one = divide(wide, np.abs(wide).max(axis=1, initial=0.0, keepdims=True), 0.0)
    return divide(near_one, np.sqrt(np.einsum("ij,ij->i", near_one, near_one))[:, None], 0.0)
