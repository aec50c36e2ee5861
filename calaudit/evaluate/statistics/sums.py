"""Sums over units by slice and bucket: all that intervals of shares, means and ratios need.

They are exact, and add up: over batches, over machines, in any order, with the same result to the
last bit, whatever the scores' scale. What is computed from them costs the same for a thousand units
as for a billion.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.statistics.draws import N_BUCKETS
from calaudit.evaluate.statistics.exact import Exact
from calaudit.metrics.division import divide
from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of one metric over the units of several slices, for several cells.

    Shapes: C cells, S slices, B buckets; C′ is C where an engine broke units, else 1.
    """

    slices: tuple[str, ...]
    clustered: bool
    """Whether a bucket holds clusters, rather than units that are independent."""
    weighted: bool
    """Whether units differ in size: by their weight or their denominator."""
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
    exact_squared: Exact
    exact_size: Exact
    exact_before: Exact
    exact_total: Exact

    def __add__(self, other: "Sums") -> "Sums":
        """Sums over both: of the same slices, cells and number of clusters."""
        if self.slices != other.slices or self.exact_total.shape != other.exact_total.shape:
            raise SettingsError("sums over different slices, cells or clusters don't add up")
        kept = {"slices", "clustered", "weighted"}
        added: dict[str, Any] = {
            each.name: getattr(self, each.name)
            if each.name in kept
            else getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
        }
        return Sums(**added)

    @cached_property
    def squared(self) -> Floats:
        """(S,) Σ (w·denominator)² of the units."""
        return self.exact_squared.value()

    @cached_property
    def size(self) -> Floats:
        """(C′, S, B) Σ w·denominator, of units with both scores."""
        return self.exact_size.value()

    @cached_property
    def before(self) -> Floats:
        """(C′, S, B) Σ w·score under FP32, of the same units."""
        return self.exact_before.value()

    @cached_property
    def total(self) -> Floats:
        """(C, S, B) Σ w·drop; positive is quality lost."""
        return self.exact_total.value()

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
        return np.broadcast_to(self.exact_size.sum(axis=2).value(), self.lost.shape)

    @property
    def drop(self) -> Floats:
        """(C, S) the metric's drop; NaN without units."""
        return divide(self.exact_total.sum(axis=2).value(), self.weight, np.nan)

    @property
    def reference(self) -> Floats:
        """(C, S) the metric under FP32, over the units that the engine scored too."""
        return divide(self.exact_before.sum(axis=2).value(), self.weight, np.nan)

    def candidate(self, higher_is_better: bool) -> Floats:
        """(C, S) the metric under the engine, over the same units."""
        lost, before = self.exact_total.sum(axis=2), self.exact_before.sum(axis=2)
        after = before - lost if higher_is_better else before + lost
        return divide(after.value(), self.weight, np.nan)

    @property
    def n_blocks(self) -> Ints:
        """(S,) buckets that hold units: clusters, as far as they are told apart."""
        return np.asarray(np.count_nonzero(self.size.any(axis=0), axis=1), dtype=np.int64)

    @property
    def independent(self) -> Floats:
        """(C, S) units of equal size that say as much: Kish's (Σm)²/Σm² over units, or clusters.

        Clusters that share buckets at random add (Σm)²/buckets to the squares, which is taken off.
        """
        kept = self.size.sum(axis=2) ** 2
        units = divide(kept, self.squared, 0.0)
        if self.clustered:
            squares = (self.size**2).sum(axis=2)
            n_buckets = self.size.shape[2]
            if n_buckets == N_BUCKETS:
                apart = (squares - kept / n_buckets) / (1.0 - 1.0 / n_buckets)
                squares = np.maximum(apart, self.squared)
            units = divide(kept, squares, 0.0)
        return np.broadcast_to(units, self.lost.shape)
