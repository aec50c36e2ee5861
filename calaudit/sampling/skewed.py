"""Deliberately biased: from some slices alone, from all but some, or so much of each."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Problem
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted
from calaudit.sampling.allocation import allocate
from calaudit.sampling.design import Design, DesignedRecipe, Strata, single_stratum
from calaudit.sampling.recipe import Candidates, Needs
from calaudit.slices.dimension import EVERYTHING, Dimension
from calaudit.slices.sliceset import SliceSet, match_slices

REST = "the rest"
"""Label of the candidates that no share names."""

Mask = NDArray[np.bool_]


@setting
class Skewed(DesignedRecipe):
    """The deliberate bias."""

    kind = "skewed"

    strata: tuple[Dimension, ...] = ()
    """The dimensions whose slices are named below."""
    only: tuple[str, ...] = ()
    """Draw from these slices (or SQL predicates) alone."""
    without: tuple[str, ...] = ()
    """Draw from none of these slices (or SQL predicates)."""
    shares: dict[str, float] | None = None
    """Share of the set that comes from each slice (or SQL predicate); what they leave of 1 comes
    from the other candidates."""

    def problems(self) -> Iterator[Problem]:
        """Nothing named, or shares that can't be."""
        if not self.needs.slices:
            yield Problem(
                "a skewed draw needs only, without or shares",
                None,
                'Name slices, for example only = ["noise = 0"].',
            )
        shares = self.shares or {}
        wrong = {name: share for name, share in shares.items() if not 0 < share <= 1}
        for name, share in wrong.items():
            yield Problem(f'the share of "{name}" must lie in (0, 1], got {share}')
        total = sum(map(_exact, shares.values())) if not wrong else Fraction(0)
        if total > 1:
            yield Problem(f"shares add up to {float(total):g}, more than 1", None, "Lower some.")

    @property
    def needs(self) -> Needs:
        """The slices that are named."""
        named = dict.fromkeys((*self.only, *self.without, *(self.shares or ())))
        return Needs(dimensions=self.strata, slices=tuple(named))

    def design(self, candidates: Candidates) -> Design:
        """Candidates after `only` and `without`, split by `shares`."""
        if candidates.strata is None:
            raise ValueError("a skewed draw needs the candidates' strata")
        strata, shares = _split(self, candidates.strata)
        return Design(strata, allocate(self.size, strata.counts(), shares))

    def details(self) -> str:
        """``"only noise = 0"``."""
        parts = [f"only {', '.join(self.only)}"] if self.only else []
        parts += [f"without {', '.join(self.without)}"] if self.without else []
        parts += [f"{share:.0%} {name}" for name, share in (self.shares or {}).items()]
        return ", ".join(parts)


def _exact(share: float) -> Fraction:
    """A share as the decimal fraction the user wrote: 0.1 + 0.2 + 0.7 is exactly 1."""
    return Fraction(str(share))


def _split(recipe: Skewed, slices: SliceSet) -> tuple[Strata, list[Fraction]]:
    """Candidates after `only` and `without`, split by `shares`; the weights are the shares."""
    masks = {name: _mask(slices, name) for name in recipe.needs.slices}
    _check_named(masks)
    inside = np.ones(slices.n_rows, bool)
    if recipe.only:
        inside = np.logical_or.reduce([masks[name] for name in recipe.only])
    for name in recipe.without:
        inside &= ~masks[name]
    if not recipe.shares:
        return single_stratum(slices.n_rows, EVERYTHING, inside), [Fraction(1)]
    names = list(recipe.shares)
    codes = np.full(slices.n_rows, -1, np.int32)
    for code, name in enumerate(names):
        mask = masks[name] & inside
        _check_apart(name, mask, codes, names)
        codes[mask] = code
    shares = [_exact(share) for share in recipe.shares.values()]
    left = 1 - sum(shares, Fraction(0))
    if left == 0:
        return Strata(tuple(names), codes), shares
    codes[inside & (codes < 0)] = len(names)
    return Strata((*names, REST), codes), [*shares, left]


def _mask(slices: SliceSet, pattern: str) -> Mask:
    mask = np.zeros(slices.n_rows, bool)
    for name in match_slices(pattern, slices.names):
        mask |= slices.mask(name)
    return mask


def _check_named(masks: dict[str, Mask]) -> None:
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        step = "Name a slice that has samples, or widen the candidates."
        raise DrawError.of(
            Problem(f'slice "{name}" holds no candidate', None, step) for name in empty
        )


def _check_apart(name: str, mask: Mask, codes: NDArray[np.int32], names: list[str]) -> None:
    if not mask.any():
        raise DrawError(
            f'slice "{name}" holds no candidate after only and without',
            next_step="Drop its share, or widen the candidates.",
        )
    claimed = codes[mask]
    twice = claimed[claimed >= 0]
    if len(twice):
        raise DrawError(
            f"{counted(len(twice), 'candidate is', 'candidates are')} in both "
            f'"{names[int(twice[0])]}" and "{name}"',
            next_step="Give shares of slices that don't overlap.",
        )
