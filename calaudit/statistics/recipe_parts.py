"""Drops of several recipes, drawn one or more times each, in their parts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtr

from calaudit.metrics.division import divide
from calaudit.results.drops import Part
from calaudit.statistics.between_draws import DrawVariance, estimate_draw_variance
from calaudit.statistics.joint import REPLICATES, Drops, bounds_of_largest, joined, p_of_largest
from calaudit.statistics.random_numbers import random_normals

Floats = NDArray[np.float64]

_NORMAL = 1e6
"""Degrees of freedom from which Student's t is a normal distribution."""


@dataclass(frozen=True, slots=True)
class RecipeParts:
    """One recipe's."""

    recipe: str
    draws: int
    drop: float
    """Mean over the draws."""
    spread: float
    """Largest minus smallest drop among the draws."""
    luck: Part | None
    """Standard deviation of the drop between its draws; None where nothing tells it."""
    settled: bool
    """Whether there is no luck: every draw of it is the same set."""
    addition: Part
    """Beyond the recipe that loses least; at least 0."""
    p_value: float
    """One-sided, of "no recipe loses less than this one"; of these very sets where the variation of
    either isn't known."""


@dataclass(frozen=True, eq=False, slots=True)
class Recipes:
    """Mean drops of recipes, and how far units and draws may have moved them."""

    names: tuple[str, ...]
    means: Drops
    shaken: Floats
    """(replicates, recipes) what between-draw variation does to the means."""
    luck: DrawVariance
    draws: Drops
    """Each draw's drop."""
    recipe: NDArray[np.int64]
    """(draws,) place of each draw's recipe."""

    @property
    def error(self) -> Floats:
        """(recipes,) standard errors of the means, by units and between draws."""
        return np.asarray(np.sqrt(self.means.error**2 + self.luck.variance))


def measure_recipes(
    drops: Drops, recipes: Sequence[str], *, key: str, settled: Collection[str] = ()
) -> Recipes:
    """Mean drops of several draws of several recipes.

    Parameters
    ----------
    drops : Drops
        (draws,), measured on the same units.
    recipes : sequence of str
        Of each draw.
    key : str
        Of the replicates.
    settled : collection of str
        Recipes without between-draw variation: sets that were given, and recipes whose draws are
        all the same set.
    """
    names = tuple(dict.fromkeys(recipes))
    member = np.array([[float(recipe == name) for recipe in recipes] for name in names])
    means = drops.mean(member / member.sum(axis=1, keepdims=True))
    fixed = np.array([name in settled for name in names])
    luck = estimate_draw_variance(drops, means, member, fixed, key=key)
    shaken = _shaken(luck, key)
    return Recipes(names, means, shaken, luck, drops, member.argmax(axis=0))


def price_of(
    groups: Sequence[Recipes], *, key: str, tail: float, freedom: float = np.inf
) -> tuple[str, int, Part]:
    """The recipe that loses least, the place of its group, and what all of them cost.

    Parameters
    ----------
    groups : sequence of Recipes
        Of several methods, measured on the same units.
    key : str
        Of the replicates.
    tail : float
        Chance of each interval's end to be wrong.
    freedom : float
        Degrees of freedom of the units' errors.

    Notes
    -----
    The interval accounts for having picked the best (`bounds_of_largest`).
    """
    means = joined([group.means for group in groups])
    shaken = np.concatenate([group.shaken for group in groups], axis=1)
    error = np.concatenate([group.error for group in groups])
    low, high = bounds_of_largest(
        -means.value, shaken - means.deviations(key), tail, freedom, error=error
    )
    best = int(np.argmin(means.value))
    of_group = np.repeat(np.arange(len(groups)), [len(group.names) for group in groups])
    name = [name for group in groups for name in group.names][best]
    return name, int(of_group[best]), Part(float(means.value[best]), -high, -low)


def p_of_price(recipes: Recipes, margin: float, *, key: str, freedom: float = np.inf) -> float:
    """One-sided p-value of "some set, or some recipe, loses at most `margin`".

    That all lose more is proven when it is of each (an intersection–union test).
    """
    drops, means = recipes.draws, recipes.means
    alone = drops.deviations(key)
    found = [
        p_of_largest(drops.value[[i]] - margin, alone[:, [i]], freedom=freedom)
        for i in range(len(drops.value))
    ]
    degrees = recipes.luck.own_freedom(means.error, freedom)
    beyond = divide(means.value - margin, recipes.error, 0.0)
    by_luck = stdtr(np.minimum(degrees, _NORMAL), -beyond)
    return max(*found, float(by_luck.max()))


def split(
    recipes: Recipes, *, key: str, tail: float, freedom: float = np.inf
) -> tuple[RecipeParts, ...]:
    """What each recipe loses beyond the best of the others.

    Parameters
    ----------
    recipes : Recipes
        At least two.
    key, tail, freedom
        As for `price_of`.

    Notes
    -----
    The mean of k draws is uncertain by the whole of what draws differ, over √k, with quantiles of
    Student's t for as many degrees of freedom as the variance was measured with: two recipes whose
    variances aren't known to be equal are compared as B. Welch (1947), Biometrika 34, 28–35, does.
    """
    names, means, luck = recipes.names, recipes.means, recipes.luck
    found = []
    for index, name in enumerate(names):
        others = np.array([i for i in range(len(names)) if i != index])
        ahead = means.take(np.full(len(others), index)).minus(means.take(others))
        moved = ahead.deviations(key) + recipes.shaken[:, [index]] - recipes.shaken[:, others]
        both = luck.known[index] & luck.known[others]
        counted = np.flatnonzero(both) if both.any() else np.arange(len(others))
        error = np.sqrt(ahead.error**2 + luck.variance[index] + luck.variance[others])
        degrees = luck.freedom_of(index, others, ahead.error, freedom)
        by_luck = stdtr(np.minimum(degrees, _NORMAL), -divide(ahead.value, error, 0.0))
        own = recipes.draws.value[recipes.recipe == index]
        low, high = bounds_of_largest(ahead.value, moved, tail, freedom, error=error)
        found.append(
            RecipeParts(
                recipe=name,
                draws=len(own),
                drop=float(means.value[index]),
                spread=float(np.ptp(own)),
                luck=_between_draw_sd(luck, index, tail),
                settled=bool(luck.settled[index]),
                addition=_addition(float(ahead.value.max()), low, high),
                p_value=max(
                    p_of_largest(
                        ahead.value[counted], ahead.deviations(key)[:, counted], freedom=freedom
                    ),
                    min(1.0, len(counted) * float(by_luck[counted].min())),
                ),
            )
        )
    return tuple(found)


def _addition(value: float, low: float, high: float) -> Part:
    """What one recipe loses more than the best of the others, at least 0 (J. Hsu 1996)."""
    return Part(max(value, 0.0), max(low, 0.0), max(high, 0.0))


def _between_draw_sd(luck: DrawVariance, index: int, tail: float) -> Part | None:
    """A recipe's between-draw SD: its variance is that of a χ², beyond what units add."""
    freedom = int(luck.draws[index]) - 1
    if luck.settled[index] or freedom < 1:
        return None
    between, by_units = luck.between[index], luck.by_units[index]
    ends = [
        float(np.sqrt(max(freedom * between / float(chdtri(freedom, chance)) - by_units, 0.0)))
        for chance in (tail, 1.0 - tail)
    ]
    return Part(float(np.sqrt(max(between - by_units, 0.0))), ends[0], ends[1])


def _shaken(luck: DrawVariance, key: str) -> Floats:
    """Replicates of the means' between-draw error: normal over the root of a χ², as Student's t."""
    n = len(luck.variance)
    moves = np.sqrt(luck.variance) * random_normals(f"{key}\0luck", n, REPLICATES)
    for place in range(n):
        freedom = luck.freedom[place]
        if not 0 < freedom < np.inf:
            continue
        # Pooled variances err together.
        own = "" if luck.alike else f"\0{place}"
        squares = random_normals(f"{key}\0square{own}", int(freedom), REPLICATES) ** 2
        moves[:, place] *= np.sqrt(divide(freedom, squares.sum(axis=1), 0.0))
    return np.asarray(moves, dtype=np.float64)
