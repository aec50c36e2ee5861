"""Division that says what 0 in the denominator means."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def divide(
    numerator: ArrayLike, denominator: ArrayLike, otherwise: ArrayLike
) -> NDArray[np.float64]:
    """Numerator / denominator elementwise, `otherwise` where the denominator is 0; broadcast."""
    top, bottom, rest = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (numerator, denominator, otherwise))
    )
    result: NDArray[Any] = rest.copy()
    np.divide(top, bottom, out=result, where=bottom != 0)
    return result
