"""Which of several choices another one beats for sure, by a gain and a loss that have intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Ends of the intervals of one quantity of n choices; infinite where nothing is known."""

    low: Floats
    """(n,)"""
    high: Floats
    """(n,)"""


def dominators(gain: Bounds, loss: Bounds, *, margin: float) -> list[list[int]]:
    """Of each choice those that dominate it for sure: none, for one of the Pareto set.

    One dominates another where it surely gains more and surely loses no more, or surely loses less
    and surely gains hardly less. Sure is what holds wherever within the intervals the true numbers
    are: with two-sided intervals of level 1 − α, a statement on two choices is false with a
    probability of 2 α at most: four ends of α / 2 each, whether or not they depend on each other
    (Bonferroni).

    Parameters
    ----------
    gain : Bounds
        Positive factors, such as speed-ups against one baseline.
    loss : Bounds
        In any unit, the same for all.
    margin : float
        The part of its gain that one may lack and still gain hardly less: 0.05 is a twentieth.

    Returns
    -------
    list of list of int
        Places of the dominators, ascending, for each of the n.
    """
    faster = gain.low[:, None] > gain.high[None, :]
    no_slower = gain.low[:, None] >= (1.0 - margin) * gain.high[None, :]
    less = loss.high[:, None] < loss.low[None, :]
    no_more = loss.high[:, None] <= loss.low[None, :]
    beats = (faster & no_more) | (less & no_slower)
    return [np.flatnonzero(column).tolist() for column in beats.T]
