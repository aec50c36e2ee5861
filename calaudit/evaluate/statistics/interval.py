"""What every interval method takes and returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Levels:
    """Error rates of the two intervals that are reported side by side."""

    level: float = 0.95
    """Two-sided coverage of the interval that is shown."""
    alpha: float = 0.05
    """One-sided error of the bounds that gates are held against."""

    @property
    def tails(self) -> tuple[float, float]:
        """Tail probabilities: of the two-sided interval's ends, of the one-sided bounds."""
        return (1.0 - self.level) / 2.0, self.alpha


@dataclass(frozen=True, eq=False, slots=True)
class Estimate:
    """Drops of several cells on one slice."""

    drop: NDArray[np.float64]
    """(cells,)"""
    ends: NDArray[np.float64]
    """(4, cells): low, high, one-sided low, one-sided high; ±inf where nothing bounds the drop."""
    p_value: NDArray[np.float64]
    """(cells,) one-sided, of "the drop is at most the margin"."""
    interval: tuple[str | None, ...]
    """Method used for each cell; None where none applies."""
    n_changed: NDArray[np.int64]
    """(cells,) units that score differently under the engine."""


def no_estimate(n_cells: int) -> Estimate:
    """What a slice without units shows: nothing."""
    return Estimate(
        drop=np.full(n_cells, np.nan),
        ends=np.full((4, n_cells), np.nan),
        p_value=np.full(n_cells, np.nan),
        interval=(None,) * n_cells,
        n_changed=np.zeros(n_cells, dtype=np.int64),
    )
