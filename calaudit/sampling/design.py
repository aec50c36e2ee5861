"""The design of a draw: which strata a recipe makes of the candidates, and what each gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted
from calaudit.sampling.allocation import Allocation, allocate, neyman_weights
from calaudit.sampling.recipe import Recipe, exact_share
from calaudit.sampling.strata import Strata, cross_strata, single_stratum
from calaudit.slices.dimension import EVERYTHING
from calaudit.slices.sliceset import SliceSet, match_slices

REST = "the rest"
"""Label of the candidates that no share names."""

Mask = NDArray[np.bool_]
Weights = Sequence[Fraction | int]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Samples that may be drawn, and what the recipe needs to know about them."""

    rows: Rows
    """(n,) pool rows, ascending."""
    strata: SliceSet | None = None
    """Slices over these n rows: the recipe's dimensions, and every slice it names."""
    deviation: NDArray[np.float64] | None = None
    """(n,) values whose standard deviation Neyman's allocation uses."""
    embedding: NDArray[np.floating] | None = None
    """(n, d) for coverage."""


@dataclass(frozen=True, slots=True)
class Design:
    """Strata, and how many samples each gives."""

    strata: Strata
    allocation: Allocation
    notices: tuple[Notice, ...] = ()


def make_design(recipe: Recipe, candidates: Candidates) -> Design:
    """The design of a uniform, stratified or skewed recipe.

    Raises
    ------
    DrawError
        Too few candidates, empty strata or named slices, contradicting bounds, or a deviation
        that holds NaN or infinity.
    SliceError
        A slice is named that the candidates' strata don't have.
    """
    n = len(candidates.rows)
    if recipe.kind == "uniform":
        everything = single_stratum(n, EVERYTHING)
        return Design(everything, allocate(recipe.size, everything.counts(), [1]))
    if candidates.strata is None:
        raise ValueError(f"a {recipe.kind} draw needs the candidates' strata")
    if recipe.kind == "skewed":
        strata, shares = _skewed(recipe, candidates.strata)
        return Design(strata, allocate(recipe.size, strata.counts(), shares))
    floor = 1 if recipe.floor is None else recipe.floor
    strata = cross_strata(candidates.strata, recipe.strata, floor=floor)
    weights, notices = _weights(recipe, strata, candidates.deviation)
    allocation = allocate(
        recipe.size,
        strata.counts(),
        weights,
        floor=floor,
        cap=recipe.cap,
        margins=strata.margins,
    )
    return Design(strata, allocation, (*strata.notices, *notices))


def leaves_no_choice(recipe: Recipe, candidates: Candidates) -> bool:
    """Whether every seed draws the same samples.

    So it is where they are all that the recipe may draw: every candidate, or whole strata. A set
    for coverage depends on where it starts.

    Raises
    ------
    DrawError, SliceError
        As :func:`make_design`.
    """
    if recipe.size == len(candidates.rows) or recipe.start == "mean":
        return True
    if recipe.kind == "coverage":
        return False
    if recipe.deviation is not None and candidates.deviation is None:
        return False
    design = make_design(recipe, candidates)
    drawn, counts = design.allocation.drawn, np.asarray(design.strata.counts())
    return bool(((drawn == 0) | (drawn == counts)).all())


def check_finite(values: NDArray[np.floating], what: str) -> None:
    """Refuse values (n, …) of which some are NaN or infinite. Raises `DrawError`."""
    bad = int(np.count_nonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
    if bad:
        raise DrawError(
            f"{what} is missing or infinite for {bad} of {len(values)} candidates",
            next_step="Choose another column, or leave these samples out of the candidates.",
        )


def _weights(
    recipe: Recipe, strata: Strata, deviation: NDArray[np.float64] | None
) -> tuple[Weights, tuple[Notice, ...]]:
    counts = strata.counts()
    if recipe.allocation == "equal":
        return [1] * len(counts), ()
    if recipe.allocation != "neyman":
        return counts, ()
    if deviation is None:
        raise ValueError("Neyman's allocation needs the candidates' deviation")
    check_finite(deviation, f"the deviation {recipe.deviation}")
    weights = neyman_weights(deviation, strata.codes, len(counts))
    if sum(weights) > 0:
        return weights, ()
    message = f"{recipe.deviation} doesn't vary within any stratum; allocated proportionally"
    return counts, (Notice("neyman_flat", message, recipe.name),)


def _skewed(recipe: Recipe, slices: SliceSet) -> tuple[Strata, Weights]:
    """Candidates after `only` and `without`, split by `shares`; the weights are the shares."""
    masks = {name: _mask(slices, name) for name in recipe.named_slices}
    _check_named(masks)
    inside = np.ones(slices.n_rows, bool)
    if recipe.only:
        inside = np.logical_or.reduce([masks[name] for name in recipe.only])
    for name in recipe.without:
        inside &= ~masks[name]
    if not recipe.shares:
        return single_stratum(slices.n_rows, EVERYTHING, inside), [1]
    names = list(recipe.shares)
    codes = np.full(slices.n_rows, -1, np.int32)
    for code, name in enumerate(names):
        mask = masks[name] & inside
        _check_apart(name, mask, codes, names)
        codes[mask] = code
    shares = [exact_share(share) for share in recipe.shares.values()]
    left = 1 - sum(shares)
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
