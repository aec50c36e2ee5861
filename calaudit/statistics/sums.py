"""Sums over units by slice and bucket, without rounding: all that intervals of means need.

They add up: over batches, over machines, in any order, with the same result to the last bit,
whatever the scores' scale. What is computed from them costs the same for a thousand units as for a
billion.

A float64 number is split into digits of base 2²⁶, whole numbers of at most 2²⁵, at places that
depend on nothing but itself; digits of one place are added up. Float64 does so exactly for up to
2²⁷ numbers, so that sums add up in any order, over batches and machines, to the same bits, and a
number of 10⁻¹² is kept beside one of 10¹². (A superaccumulator: U. Kulisch 2013, Computer
Arithmetic and Validity, §8.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.division import divide
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.random_numbers import N_BUCKETS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Digits = Mapping[int, Floats]
"""Place j → digits, whole numbers: multiples of 2^(26·j). A place that is missing holds zeros."""

_BITS = 26


def split(numbers: Floats) -> dict[int, Floats]:
    """Digits of finite numbers; those of one number don't depend on the others.

    Parameters
    ----------
    numbers : ndarray of float64

    Returns
    -------
    dict
        Place → digits, of the numbers' shape.
    """
    rest = np.array(numbers, dtype=np.float64)
    digits: dict[int, Floats] = {}
    place: int | None = None
    while (most := float(np.abs(rest).max(initial=0.0))) > 0:
        # The highest place at which a digit isn't 0: below it, half of a unit rounds to 0.
        top = -((_BITS - 1 - int(np.frexp(most)[1])) // _BITS)
        place = top if place is None else min(top, place - 1)
        whole = np.rint(_shifted(rest, -place))
        rest -= _shifted(whole, place)
        if whole.any():
            digits[place] = whole
    return digits


@dataclass(frozen=True, eq=False, slots=True)
class Exact:
    """An array of sums of numbers, kept as sums of their digits."""

    shape: tuple[int, ...]
    digits: Digits
    """Place → sums of digits, below 2⁵³, that broadcast to the shape."""

    def __add__(self, other: "Exact") -> "Exact":
        """Sums over both."""
        return self._joined(other, 1.0)

    def __sub__(self, other: "Exact") -> "Exact":
        """Sums over what is in these and not in the others."""
        return self._joined(other, -1.0)

    def _joined(self, other: "Exact", sign: float) -> "Exact":
        joined = dict(self.digits)
        for place, digit in other.digits.items():
            joined[place] = joined.get(place, 0.0) + sign * digit
        return Exact(np.broadcast_shapes(self.shape, other.shape), joined)

    def __getitem__(self, index: Any) -> "Exact":
        """The sums at an index."""
        digits = {p: np.broadcast_to(d, self.shape)[index] for p, d in self.digits.items()}
        return Exact(np.broadcast_to(0.0, self.shape)[index].shape, digits)

    def sum(self, axis: int) -> "Exact":
        """Sums over an axis."""
        digits = {p: np.broadcast_to(d, self.shape).sum(axis=axis) for p, d in self.digits.items()}
        return Exact((*self.shape[:axis], *self.shape[axis + 1 :]), digits)

    def value(self) -> Floats:
        """The sums as float64, right to an ulp; the same bits for the same sums."""
        if self.digits.keys() <= {0}:
            return np.broadcast_to(self.digits.get(0, np.zeros(())), self.shape).copy()
        total = np.zeros(self.shape)
        carry = np.zeros(self.shape)
        place, last = min(self.digits), max(self.digits)
        # Carried over, no lower digits outweigh a higher one: nothing cancels when they are added.
        while place <= last or carry.any():
            digit = self.digits.get(place, 0.0) + carry
            carry = np.rint(_shifted(digit, -1))
            total += _shifted(digit - _shifted(carry, 1), place)
            place += 1
        return total


def stack(sums: Iterable[Exact], shape: tuple[int, ...]) -> Exact:
    """Put sums of one `shape` side by side along a new first axis."""
    each = list(sums)
    places = {place for one in each for place in one.digits}
    digits = {
        place: np.array([np.broadcast_to(one.digits.get(place, 0.0), shape) for one in each])
        for place in places
    }
    return Exact((len(each), *shape), digits)


def _shifted(numbers: Floats, places: int) -> Floats:
    """Numbers times 2^(26·places)."""
    bits = _BITS * places
    # The product is faster, but beyond 2¹⁰²³ there is no factor.
    return numbers * 2.0**bits if abs(bits) < 1000 else np.ldexp(numbers, bits)


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

    @cached_property
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

    @cached_property
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
