"""A draw: which rows a recipe chooses among the candidates, and what it holds of each slice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem
from calaudit.runtime.outside import offer_of
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted
from calaudit.sampling.keys import derive_seed, row_keys
from calaudit.sampling.recipe import Candidates, Choice, Recipe, StratumDraw
from calaudit.slices.sliceset import SliceSet


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The chosen samples."""

    rows: Rows
    """(size,) pool rows, ascending."""
    weights: NDArray[np.float64]
    """(size,) N_h/n_h, scaled to mean 1: how many candidates a sample stands for, relative to the
    others. Kinds without inclusion probabilities: all 1."""
    strata: tuple[StratumDraw, ...]
    notices: tuple[Notice, ...]
    seed: int
    """The seed the user gave: the recipe's own, or else the command's."""

    @property
    def kish_n_eff(self) -> float:
        """Kish's effective sample size."""
        return kish_n_eff(self.weights)


def kish_n_eff(weights: NDArray[np.float64]) -> float:
    """Kish's effective sample size (Σw)²/Σw² of positive weights (n,); n when all are equal."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def draw(recipe: Recipe, candidates: Candidates, *, seed: int) -> Draw:
    """Carry out a recipe.

    Parameters
    ----------
    recipe : Recipe
    candidates : Candidates
        With what the recipe needs to know of them.
    seed : int
        Used unless the recipe has its own. The same recipe, candidates and seed give the same rows
        on every machine.

    Raises
    ------
    DrawError
        There are fewer candidates than `size`, a stratum or named slice is empty, bounds
        contradict one another, or a deviation or embedding holds NaN or infinity; or a kind of
        another package chose what isn't a `Choice` of `size` candidates.
    SliceError
        A slice is named that the candidates' strata don't have.
    """
    check_size(recipe, len(candidates.rows))
    used = seed if recipe.seed is None else recipe.seed
    keys = row_keys(derive_seed(used, recipe.name), candidates.rows)
    with _located(recipe):
        chosen = recipe.choose(candidates, keys)
        _check_choice(chosen, recipe, len(candidates.rows))
    order = np.argsort(chosen.positions)
    return Draw(
        rows=candidates.rows[chosen.positions[order]],
        weights=chosen.weights[order],
        strata=chosen.strata,
        notices=chosen.notices,
        seed=used,
    )


def check_draw(recipe: Recipe, candidates: Candidates) -> None:
    """Refuse what `draw` would, as far as it shows without the values that a model gives.

    Parameters
    ----------
    recipe : Recipe
    candidates : Candidates
        As for :func:`draw`; deviation and embedding may be left out.

    Raises
    ------
    DrawError, SliceError
        As :func:`draw` raises them.
    """
    check_size(recipe, len(candidates.rows))
    with _located(recipe):
        recipe.check(candidates)


def leaves_no_choice(recipe: Recipe, candidates: Candidates) -> bool:
    """Whether every seed draws the same samples.

    So it is where they are all that the recipe may draw: every candidate, or whole strata. A set
    for coverage depends on where it starts.

    Raises
    ------
    DrawError, SliceError
        As :func:`draw`.
    """
    return recipe.size == len(candidates.rows) or recipe.settled(candidates)


def check_size(recipe: Recipe, n_candidates: int) -> None:
    """Refuse a recipe that asks for more samples than there are. Raises `DrawError`."""
    if n_candidates < recipe.size:
        raise DrawError(
            f"{counted(recipe.size, 'sample is', 'samples are')} asked for, but there "
            f"{'is' if n_candidates == 1 else 'are'} only {counted(n_candidates, 'candidate')}",
            where=recipe.name,
            next_step=f"Ask for at most {n_candidates}, or widen the candidates."
            if n_candidates
            else "Change the predicate, or the samples that are evaluated.",
        )


def _check_choice(chosen: Choice, recipe: Recipe, n: int) -> None:
    """Refuse a choice among `n` candidates by which another package breaks `Choice`'s contract."""
    offer = offer_of(type(recipe))
    if offer is None:
        return
    for wrong in (_positions_wrong(chosen, recipe.size, n), _weights_wrong(chosen, recipe.size),
                  _strata_wrong(chosen, recipe.size, n)):  # fmt: skip
        if wrong:
            raise DrawError(
                f"{offer} chose wrongly: {wrong}",
                next_step="Fix its choose: docs/formats/recipe.md says what a Choice holds.",
            )


def _positions_wrong(chosen: Choice, size: int, n: int) -> str:
    positions = chosen.positions
    if not isinstance(positions, np.ndarray) or positions.dtype.kind not in "iu":
        told = getattr(positions, "dtype", type(positions).__name__)
        return f"positions are {told}, expected an array of whole numbers"
    if positions.shape != (size,):
        return f"positions have shape {positions.shape}, expected ({size},)"
    outside = positions[(positions < 0) | (positions >= n)]
    if len(outside):
        return f"position {outside[0]} is none of the {n} candidates, which count from 0"
    places, counts = np.unique(positions, return_counts=True)
    if len(places) < size:
        return f"position {places[counts > 1][0]} is chosen {counts.max()} times"
    return ""


def _weights_wrong(chosen: Choice, size: int) -> str:
    weights = chosen.weights
    if not isinstance(weights, np.ndarray) or weights.dtype.kind != "f":
        told = getattr(weights, "dtype", type(weights).__name__)
        return f"weights are {told}, expected an array of floats"
    if weights.shape != (size,):
        return f"weights have shape {weights.shape}, expected ({size},)"
    wrong = weights[~(np.isfinite(weights) & (weights > 0))]
    if len(wrong):
        return f"a weight is {wrong[0]}, expected a finite number above 0"
    mean = float(weights.mean(dtype=np.float64))
    return "" if abs(mean - 1) < 1e-6 else f"weights have mean {mean:.6g}, expected 1"


def _strata_wrong(chosen: Choice, size: int, n: int) -> str:
    for values, kind in ((chosen.strata, StratumDraw), (chosen.notices, Notice)):
        if not isinstance(values, tuple) or not all(isinstance(one, kind) for one in values):
            return f"expected a tuple of {kind.__name__} (got {values!r})"
    for each in chosen.strata:
        if not 0 <= each.drawn <= each.population:
            return f"stratum {each.label!r} gives {each.drawn} of {each.population} candidates"
    drawn = sum(each.drawn for each in chosen.strata)
    if drawn != size:
        return f"its strata give {drawn} samples, expected {size}"
    population = sum(each.population for each in chosen.strata)
    if population > n:
        return f"its strata hold {population} candidates, but there are {n}"
    return ""


@contextmanager
def _located(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except DrawError as error:
        raise DrawError.of(
            Problem(
                problem.message,
                recipe.name if problem.where is None else f"{recipe.name}: {problem.where}",
                problem.next_step,
            )
            for problem in error.problems
        ) from None


@dataclass(frozen=True, slots=True)
class SliceDraw:
    """One slice of the candidates and of the draw."""

    name: str
    candidates: int
    """Samples that the recipe could have drawn."""
    drawn: int
    share: float
    """Of the calibration set, in [0, 1]."""
    mean_weight: float | None
    """Mean weight of its drawn samples; None when there are none."""


def compose(
    slices: SliceSet, positions: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[SliceDraw, ...]:
    """Count every slice, in the order of ``slices.names``.

    Parameters
    ----------
    slices : SliceSet
        Over the n candidates.
    positions : int64 (size,)
        Which of them were drawn.
    weights : float64 (size,)
        Their weights.
    """
    populations = slices.counts()
    return tuple(
        SliceDraw(
            name,
            populations[name],
            drawn := int(np.count_nonzero(mask)),
            drawn / len(positions),
            float(weights[mask].mean()) if drawn else None,
        )
        for name, mask in slices.take(positions).masks()
    )
