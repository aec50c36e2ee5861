"""Sums of float64 numbers without rounding, whatever their scale.

A number is split into digits of base 2²⁶, whole numbers of at most 2²⁵, at places that depend on
nothing but itself; digits of one place are added up. Float64 does so exactly for up to 2²⁷ numbers,
so that sums add up in any order, over batches and machines, to the same bits, and a number of 10⁻¹²
is kept beside one of 10¹². (A superaccumulator: U. Kulisch 2013, Computer Arithmetic and Validity,
§8.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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
