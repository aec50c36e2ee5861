"""Drops of several recipes, drawn one or more times each, in their parts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from calaudit.evaluate.statistics.draws import random_normals
from calaudit.evaluate.statistics.joint import REPLICATES, Drops, bounds_of_largest, p_of_largest

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a drop with its interval, in the metric's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecipeParts:
    """One recipe's."""

    recipe: str
    draws: int
    drop: float
    """Mean over the draws."""
    spread: float
    """Largest minus smallest drop among the draws."""
    addition: Part
    """Beyond the recipe that loses least; at least 0."""
    p_value: float
    """One-sided, of "no recipe loses less than this one"."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All recipes'."""

    best: str
    price: Part
    """The smallest of the recipes' drops."""
    p_value: float
    """One-sided, of "some recipe loses nothing"."""
    luck: Part | None
    """Standard deviation of the drop between draws of one recipe; None if none was drawn twice."""
    recipes: tuple[RecipeParts, ...]


def split(
    drops: Drops,
    recipes: Sequence[str],
    *,
    key: str,
    tail: float,
    freedom: float = np.inf,
    settled: Collection[str] = (),
) -> Parts:
    """Split the drops of several draws of several recipes.

    Parameters
    ----------
    drops : Drops
        (draws,), measured on the same units.
    recipes : sequence of str
        Of each draw.
    key : str
        Of the replicates.
    tail : float
        Chance of each interval's end to be wrong.
    freedom : float
        Degrees of freedom of the units' errors.
    settled : collection of str
        Recipes that are sets of their own, which no luck can change.

    Notes
    -----
    Draws of one recipe differ by the luck of the draw and by what the units add, as engines that
    differ do so on a sample of units. The latter's expectation, from the influences, is taken off:
    luck² = mean square between draws − mean variance of it that units explain. Its interval is
    that of a χ² with as many degrees of freedom as there are repeated draws. The mean of k draws is
    uncertain by the whole of what draws differ, over √k, with quantiles of Student's t of as many
    degrees: a luck that happens to be measured as 0 isn't taken for none.
    """
    names = list(dict.fromkeys(recipes))
    member = np.array([[float(recipe == name) for recipe in recipes] for name in names])
    draws = member.sum(axis=1)
    means = drops.mean(member / draws[:, None])
    luck, between, repeated = _luck(drops, means, member, tail)
    open_ones = np.array([name not in settled for name in names])
    shaken = _shaken(np.sqrt(between / draws) * open_ones, repeated, key)
    low, high = bounds_of_largest(-means.value, shaken - means.deviations(key), tail, freedom)
    best = int(np.argmin(means.value))
    price = Part(float(means.value[best]), -high, -low)
    sure: dict[str, float] = {"freedom": freedom, "beyond": float(repeated or np.inf)}
    # That every recipe loses is proven when each is.
    moved = means.deviations(key) + shaken
    p_price = max(p_of_largest(means.value[[i]], moved[:, [i]], **sure) for i in range(len(names)))
    found = []
    for index, name in enumerate(names):
        others = np.array([i for i in range(len(names)) if i != index])
        own = drops.value[member[index] > 0]
        ahead = means.take(np.full(len(others), index)).minus(means.take(others))
        moved = ahead.deviations(key) + shaken[:, [index]] - shaken[:, others]
        found.append(
            RecipeParts(
                name,
                int(draws[index]),
                float(means.value[index]),
                float(np.ptp(own)),
                _addition(ahead, moved, tail, freedom),
                p_of_largest(ahead.value, moved, **sure),
            )
        )
    return Parts(names[best], price, p_price, luck, tuple(found))


def _addition(ahead: Drops, moved: Floats, tail: float, freedom: float) -> Part:
    """What one recipe loses more than the best of the others, at least 0 (J. Hsu 1996)."""
    low, high = bounds_of_largest(ahead.value, moved, tail, freedom)
    return Part(max(float(ahead.value.max()), 0.0), max(low, 0.0), max(high, 0.0))


def _luck(
    drops: Drops, means: Drops, member: Floats, tail: float
) -> tuple[Part | None, float, int]:
    """Luck, the mean square between draws, and its degrees of freedom."""
    of_draw = member.argmax(axis=0)
    repeated = int(member.sum()) - len(member)
    if repeated == 0:
        return None, 0.0, 0
    apart = drops.minus(means.take(of_draw))
    between = float((apart.value**2).sum()) / repeated
    by_units = float((apart.influence**2).sum()) / repeated
    ends = [
        np.sqrt(max(repeated * between / float(chdtri(repeated, chance)) - by_units, 0.0))
        for chance in (tail, 1.0 - tail)
    ]
    value = np.sqrt(max(between - by_units, 0.0))
    return Part(float(value), float(ends[0]), float(ends[1])), between, repeated


def _shaken(error: Floats, freedom: int, key: str) -> Floats:
    """What the luck of the draw does to the recipes' mean drops, (replicates, recipes)."""
    noise = random_normals(f"{key}\0luck", len(error) + max(freedom, 1), REPLICATES)
    if freedom == 0:
        return np.zeros((REPLICATES, len(error)))
    own, squares = noise[:, : len(error)], (noise[:, len(error) :] ** 2).sum(axis=1)
    return np.asarray(own * error * np.sqrt(freedom / squares)[:, None], dtype=np.float64)
