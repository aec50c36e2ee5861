"""What every interval method takes and returns."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    """Drops of several comparisons: arrays of one shape (…), such as (cells, slices)."""

    drop: Floats
    ends: Floats
    """(4, …): low, high, one-sided low, one-sided high; ±inf where nothing bounds the drop."""
    p_value: Floats
    """One-sided, of "the drop is at most the margin"."""
    interval: NDArray[np.object_]
    """Name of the method that was used; None where none applies."""
    n_changed: NDArray[np.int64]
    """Units that score differently under the engine."""
    design_effect: Floats
    """Variance of the drop over that of as many independent units; NaN where unknown."""
    error: Floats
    """Standard error of the drop; NaN where unknown."""
    independent: Floats
    """Independent units of equal size that the units amount to; NaN where there are none."""
    plain: Floats
    """One-sided upper bound before it was stretched for a heavy tail."""


def no_estimate(shape: tuple[int, ...]) -> Estimate:
    """What slices without units show: nothing."""
    return Estimate(
        drop=np.full(shape, np.nan),
        ends=np.full((4, *shape), np.nan),
        p_value=np.full(shape, np.nan),
        interval=np.full(shape, None, dtype=object),
        n_changed=np.zeros(shape, dtype=np.int64),
        design_effect=np.full(shape, np.nan),
        error=np.full(shape, np.nan),
        independent=np.full(shape, np.nan),
        plain=np.full(shape, np.nan),
    )


def fill(whole: Estimate, where: Any, part: Estimate) -> None:
    """Put the estimates `part` at the index `where` of `whole`."""
    for each in fields(Estimate):
        of_all = getattr(whole, each.name)
        index = np.index_exp[where]
        of_all[(slice(None), *index) if each.name == "ends" else index] = getattr(part, each.name)
