"""Layout: which values of a batch belong to which sample, learnt from two runs.

A tap need not have the batch as its first axis: attention is often computed on (time, batch,
features), on (batch · heads, …) or on (batch · windows, …). In row-major order all of these are
(blocks, batch, rest), with one block where the batch comes first. So a layout is one number, and it
is found by looking: of all numbers that the shapes allow, the one under which a sample's values in
a batch are those that it has alone.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

N_COMPARED: Final = 1 << 16
"""Values of a sample that are compared at most."""
TOLERANCE: Final = 1e-3
"""Values that differ by no more than this share of the largest are equal up to rounding: kernels
sum in another order in a batch of another size."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each sample's values lie in a tap."""

    shape: tuple[int, ...]
    """The tap's shape for one sample."""
    axis: int
    """The axis that grows with the batch, alone or multiplied by others."""
    blocks: int
    """Blocks of values, each of which holds a part of every sample in turn."""

    def fits(self, values: NDArray[Any], n: int) -> bool:
        """Whether `values` have the shape that `n` samples have in this layout."""
        return values.shape == _grown(self.shape, self.axis, n)

    def rows(self, values: NDArray[Any], n: int) -> NDArray[Any]:
        """The values of each of `n` samples (n, m); a view where the batch comes first."""
        size = math.prod(self.shape)
        split = values.reshape(self.blocks, n, size // self.blocks)
        return split.swapaxes(0, 1).reshape(n, size)


@dataclass(frozen=True, slots=True)
class Unclear:
    """Why a tap's values can't be told apart by sample."""

    reason: str
    for_good: bool
    """Other samples wouldn't tell more."""
    mixed: bool = False
    """A sample's values depend on the rest of its batch."""


@dataclass(frozen=True, slots=True)
class Alone:
    """What is remembered of a tap that one sample was run through by itself."""

    shape: tuple[int, ...]
    places: NDArray[np.int64]
    """Positions (k,) in the flattened tap, evenly spread."""
    values: NDArray[Any]
    """The values there (k,)."""


def remember(values: NDArray[Any]) -> Alone:
    """Keep what `find_layout` needs of a tap's `values` for one sample: a small part of them."""
    step = -(-values.size // N_COMPARED) | 1  # odd: no power of two that axes have
    places = np.arange(0, values.size, step)
    return Alone(values.shape, places, values.reshape(-1)[places].copy())


def find_layout(alone: Alone, pair: NDArray[Any]) -> Layout | Unclear:
    """Where samples lie, from one sample alone and from it and another in a batch of two.

    Parameters
    ----------
    alone : Alone
        Of the sample that comes first in `pair`.
    pair : array
        The tap for both samples.
    """
    size = math.prod(alone.shape)
    axis = _axis_that_doubles(alone.shape, pair.shape)
    if axis is None or size == 0:
        return Unclear(f"its shape is {alone.shape} for one sample, {pair.shape} for two", True)
    before, length = math.prod(alone.shape[:axis]), alone.shape[axis]
    found = []
    for part in (part for part in range(1, length + 1) if length % part == 0):
        rest = size // (before * part)
        places = alone.places + alone.places // rest * rest  # past the other sample's blocks
        if _equal(alone.values, pair.reshape(-1)[places]):
            found.append(before * part)
    if len(found) == 1:
        return Layout(alone.shape, axis, found[0])
    if found:
        return Unclear(f"samples may lie in its {pair.shape} in {len(found)} ways", False)
    return Unclear("a sample's values change with the others of its batch", True, mixed=True)


def _axis_that_doubles(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """The one axis that is twice as long in `two`, where all others are as long."""
    return next((axis for axis in range(len(one)) if two == _grown(one, axis, 2) != one), None)


def _grown(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] * n, *shape[axis + 1 :])


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether they are the same up to rounding; NaN and infinities in the same places."""
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    a, b = one[finite].astype(np.float64), other[finite].astype(np.float64)
    return bool((np.abs(a - b) <= TOLERANCE * np.abs(a).max(initial=0)).all())
