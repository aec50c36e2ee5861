"""NaN and infinity in inputs: found in one pass, named by sample."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import Problem

_SHOWN = 5


def rows_not_finite(values: NDArray[Any]) -> NDArray[np.int64]:
    """Positions along the first axis that hold NaN or infinity; none for integers."""
    if values.dtype.kind != "f" or len(values) == 0:
        return np.empty(0, np.int64)
    # The sum is finite unless a value isn't, or the sum overflows: one pass without a mask.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return np.empty(0, np.int64)
    return np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))


def not_finite_problem(
    values: NDArray[Any], ids: Callable[[NDArray[np.int64]], Sequence[str]], where: str
) -> Problem | None:
    """What to say about an input (n, …) that holds NaN or infinity; None when all is finite.

    `ids` names the samples at given positions.
    """
    bad = rows_not_finite(values)
    if len(bad) == 0:
        return None
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return Problem(
        f"holds NaN or infinity in {len(bad)} sample{'s' if len(bad) > 1 else ''}: "
        f"{', '.join(ids(bad[:_SHOWN]))}{more}",
        where,
        "Mend or leave out these samples; a model can't be judged on them.",
    )
