"""Names of units and items: what people know them by."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.pool import Pool, Rows

Names = Callable[[Rows], list[str]]
"""Positions → what people know them by."""


def ids_of(pool: Pool, rows: Rows) -> Names:
    """Names of units that are the pool's `rows`."""

    def name(units: Rows) -> list[str]:
        order = np.argsort(rows[units])  # pools are read in ascending order
        found = np.empty(len(units), dtype=object)
        found[order] = pool.ids(rows[units][order])
        return [str(one) for one in found]

    return name


def texts_of(values: NDArray[Any] | list[Any]) -> Names:
    """Names of units or items that are listed in memory."""
    return lambda positions: [str(values[int(at)]) for at in positions]
