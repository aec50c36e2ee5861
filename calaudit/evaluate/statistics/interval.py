"""What every interval method returns."""

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
    """Drops of several cells on one slice. ±inf is an end that nothing bounds."""

    drop: NDArray[np.float64]
    """(cells,)"""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    one_sided_low: NDArray[np.float64]
    one_sided_high: NDArray[np.float64]
    p_value: NDArray[np.float64]
    """One-sided, of "the drop is at most the margin"."""
    interval: tuple[str | None, ...]
    """Method used for each cell."""
    n_changed: NDArray[np.int64]
