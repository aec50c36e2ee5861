"""Sums over units by slice and bucket: all that intervals of shares, means and ratios need.

They add up: over batches, over machines, in any order, with the same result to the last bit,
because what is added is a multiple of 2⁻³⁰, and float64 adds those exactly up to 2²³ per bucket.
What is computed from them costs the same for a thousand units as for a billion.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SettingsError
from calaudit.evaluate.division import divide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """Sums of one metric over the units of several slices, for several cells.

    Shapes: C cells, S slices, B buckets; C′ is C where an engine broke units, else 1.
    """

    slices: tuple[str, ...]
    clustered: bool
    """Whether a bucket holds clusters, rather than units that are independent."""
    weighted: bool
    n: Ints
    """(S,) units that FP32 scored."""
    n_left_out: Ints
    """(S,) units that it didn't."""
    n_broken: Ints
    """(C, S) units that FP32 scored and the engine didn't."""
    lost: Ints
    """(C, S) units that got worse."""
    gained: Ints
    """(C, S) units that got better."""
    squared: Floats
    """(S,) Σ w² of the units' weights."""
    size: Floats
    """(C′, S, B) Σ w·denominator, of units with both scores."""
    before: Floats
    """(C′, S, B) Σ w·score under FP32, of the same units."""
    total: Floats
    """(C, S, B) Σ w·drop; positive is quality lost."""

    def __add__(self, other: "Sums") -> "Sums":
        """Sums over both: of the same slices, cells and number of clusters."""
        if self.slices != other.slices or self.total.shape != other.total.shape:
            raise SettingsError("sums over different slices, cells or clusters don't add up")
        kept = {"slices", "clustered", "weighted"}
        added: dict[str, Any] = {
            each.name: getattr(self, each.name)
            if each.name in kept
            else getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
        }
        return Sums(**added)

    @property
    def n_both(self) -> Ints:
        """(C, S) units with both scores."""
        return self.n - self.n_broken

    @property
    def n_changed(self) -> Ints:
        """(C, S) units that score differently under the engine."""
        return self.lost + self.gained

    @property
    def weight(self) -> Floats:
        """(C, S) what totals are divided by."""
        return np.broadcast_to(self.size.sum(axis=2), self.lost.shape)

    @property
    def drop(self) -> Floats:
        """(C, S) the metric's drop; NaN without units."""
        return divide(self.total.sum(axis=2), self.weight, np.nan)

    @property
    def reference(self) -> Floats:
        """(C, S) the metric under FP32, over the units that the engine scored too."""
        return divide(self.before.sum(axis=2), self.weight, np.nan)

    def candidate(self, higher_is_better: bool) -> Floats:
        """(C, S) the metric under the engine, over the same units."""
        lost = self.total.sum(axis=2)
        after = self.before.sum(axis=2) - (lost if higher_is_better else -lost)
        return divide(after, self.weight, np.nan)

    @property
    def n_blocks(self) -> Ints:
        """(S,) buckets that hold units: clusters, as far as they are told apart."""
        return np.asarray(np.count_nonzero(self.size.any(axis=0), axis=1), dtype=np.int64)
