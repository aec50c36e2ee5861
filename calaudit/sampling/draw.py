"""A draw: which rows a recipe chooses among the candidates, and with which weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted
from calaudit.sampling.coverage import herding, k_center, n_distinct, nearest_to_mean
from calaudit.sampling.design import Candidates, check_finite, make_design
from calaudit.sampling.keys import Keys, derive_seed, row_keys, smallest, smallest_per_stratum
from calaudit.sampling.recipe import Recipe
from calaudit.slices.dimension import EVERYTHING


@dataclass(frozen=True, slots=True)
class StratumDraw:
    """What one stratum was asked for, and gave."""

    label: str
    population: int
    """Candidates N_h in it."""
    asked: int
    """What the recipe asks for, as if the stratum couldn't run out."""
    drawn: int
    """n_h ≤ N_h."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The chosen samples."""

    rows: Rows
    """(size,) pool rows, ascending."""
    weights: NDArray[np.float64]
    """(size,) N_h/n_h, scaled to mean 1: how many candidates a sample stands for, relative to the
    others. Coverage has no inclusion probabilities: all 1."""
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
        With strata for stratified and skewed, deviation for Neyman, embedding for coverage.
    seed : int
        Used unless the recipe has its own. The same recipe, candidates and seed give the same rows
        on every machine.

    Raises
    ------
    DrawError
        There are fewer candidates than `size`, a stratum or named slice is empty, bounds
        contradict one another, or a deviation or embedding holds NaN or infinity.
    SliceError
        A slice is named that the candidates' strata don't have.
    """
    check_size(recipe, len(candidates.rows))
    used = seed if recipe.seed is None else recipe.seed
    keys = row_keys(derive_seed(used, recipe.name), candidates.rows)
    try:
        if recipe.kind == "coverage":
            return _draw_coverage(recipe, candidates, keys, used)
        return _draw_design(recipe, candidates, keys, used)
    except DrawError as error:
        raise DrawError.of(_located(problem, recipe.name) for problem in error.problems) from None


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
    if recipe.kind == "coverage" or (recipe.deviation and candidates.deviation is None):
        return
    try:
        make_design(recipe, candidates)
    except DrawError as error:
        raise DrawError.of(_located(problem, recipe.name) for problem in error.problems) from None


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


def _draw_design(recipe: Recipe, candidates: Candidates, keys: Keys, seed: int) -> Draw:
    design = make_design(recipe, candidates)
    strata, allocation = design.strata, design.allocation
    positions = smallest_per_stratum(keys, strata.codes, allocation.drawn)
    table = tuple(
        StratumDraw(label, n, int(asked), int(drawn))
        for label, n, asked, drawn in zip(
            strata.labels, strata.counts(), allocation.asked, allocation.drawn, strict=True
        )
    )
    return Draw(
        rows=candidates.rows[positions],
        weights=_weights(table)[strata.codes[positions]],
        strata=table,
        notices=(*design.notices, *_shortages(table, recipe.name)),
        seed=seed,
    )


def _draw_coverage(recipe: Recipe, candidates: Candidates, keys: Keys, seed: int) -> Draw:
    embedding = candidates.embedding
    if embedding is None:
        raise ValueError("a coverage draw needs the candidates' embedding")
    check_finite(embedding, "the embedding")
    start = nearest_to_mean(embedding) if recipe.start == "mean" else int(smallest(keys, 1)[0])
    choose = herding if recipe.algorithm == "herding" else k_center
    chosen = choose(embedding, recipe.size, start=start)
    distinct = n_distinct(embedding, chosen)
    notices: tuple[Notice, ...] = ()
    if distinct < recipe.size:
        message = f"only {distinct} of the {recipe.size} samples differ in the embedding"
        notices = (Notice("coverage_repeats", message, recipe.name),)
    return Draw(
        rows=np.sort(candidates.rows[chosen]),
        weights=np.ones(recipe.size),
        strata=(StratumDraw(EVERYTHING, len(candidates.rows), recipe.size, recipe.size),),
        notices=notices,
        seed=seed,
    )


def _weights(table: Sequence[StratumDraw]) -> NDArray[np.float64]:
    """N_h/n_h per stratum (H,), scaled so that the mean over the drawn samples is 1."""
    size = sum(each.drawn for each in table)
    reached = sum(each.population for each in table if each.drawn)
    return np.array(
        [float(Fraction(each.population * size, max(each.drawn, 1) * reached)) for each in table]
    )


def _shortages(table: Sequence[StratumDraw], where: str) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            "stratum_short",
            f'stratum "{each.label}" holds {counted(each.population, "candidate")} of {each.asked} '
            "asked for; "
            f"the other {each.asked - each.population} were drawn from other strata",
            where,
        )
        for each in table
        if each.population < each.asked
    )


def _located(problem: Problem, name: str) -> Problem:
    where = name if problem.where is None else f"{name}: {problem.where}"
    return Problem(problem.message, where, problem.next_step)
