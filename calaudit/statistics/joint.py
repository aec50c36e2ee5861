"""Several drops at once: their joint replicates, and bounds of the largest of them.

A drop that is a smooth function of sums moves with each block by that block's influence, so that
one set of resampled blocks moves all drops together, and statements about several of them need no
assumption about how they hang together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from calaudit.metrics.division import divide
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.random_numbers import random_normals, resample_counts

Floats = NDArray[np.float64]

REPLICATES = 1999
FEW_CHANGED = 20
FEWEST_BEYOND = 10
"""Replicates beyond a quantile, for it to be one."""


@dataclass(frozen=True, eq=False, slots=True)
class Drops:
    """Drops, or differences between drops, that move together."""

    value: Floats
    """(k,)"""
    influence: Floats
    """(k, blocks) what each block adds: squares add up to (almost) the variance, rows to 0."""
    floor: Floats
    """(k,) how far a drop of which hardly a unit changed may be off, as a standard deviation."""
    moves: Floats
    """(replicates, k) what resampled blocks add to the values."""

    def take(self, rows: NDArray[np.int64]) -> "Drops":
        """The drops at `rows`."""
        return Drops(self.value[rows], self.influence[rows], self.floor[rows], self.moves[:, rows])

    def minus(self, others: "Drops") -> "Drops":
        """Differences, one by one."""
        return Drops(
            self.value - others.value,
            self.influence - others.influence,
            np.hypot(self.floor, others.floor),
            self.moves - others.moves,
        )

    def mean(self, members: Floats) -> "Drops":
        """Weighted means: `members` is (means, k), rows add up to 1."""
        return Drops(
            members @ self.value,
            members @ self.influence,
            np.where(members > 0, self.floor, 0.0).max(axis=1, initial=0.0),
            self.moves @ members.T,
        )

    @property
    def error(self) -> Floats:
        """(k,) standard errors, of one more block that moves the drop by the most."""
        most = np.abs(self.influence).max(axis=1, initial=0.0)
        changed = np.count_nonzero(self.influence, axis=1)
        spare = np.where(changed < FEW_CHANGED, np.maximum(most, self.floor), most)
        blocks = max(self.influence.shape[1], 2)
        squares = (self.influence**2).sum(axis=1) * blocks / (blocks - 1)
        return np.asarray(np.sqrt(squares + spare**2))

    def deviations(self, key: str) -> Floats:
        """Joint replicates minus the values, (replicates, k)."""
        own = (self.influence**2).sum(axis=1)
        spare = np.sqrt(np.maximum(self.error**2 - own, 0.0))
        noise = random_normals(f"{key}\0spare", len(spare), len(self.moves))
        return np.asarray(self.moves + spare * noise, dtype=np.float64)


def joined(parts: Sequence[Drops]) -> Drops:
    """Several drops, measured on the same units with the same replicates, as one."""
    return Drops(
        np.concatenate([each.value for each in parts]),
        np.concatenate([each.influence for each in parts]),
        np.concatenate([each.floor for each in parts]),
        np.concatenate([each.moves for each in parts], axis=1),
    )


def joint_drops(value: Floats, influence: Floats, floor: Floats, key: str) -> Drops:
    """Drops with their replicates; see the fields of `Drops`."""
    counts = resample_counts(key, influence.shape[1], REPLICATES)
    # Influences add up to 0, so that counts needn't be centred.
    return Drops(value, influence, floor, np.asarray(counts @ influence.T, dtype=np.float64))


def drops_of_sums(
    total: Floats, size: Floats, *, span: float | None, alpha: float, key: str
) -> Drops:
    """Drops of means or ratios of sums.

    Parameters
    ----------
    total, size : ndarray, shape (k, blocks)
        As for `Blocks`.
    span : float or None
        The most that one unit can lose or gain.
    alpha : float
        One-sided error at which the floor should bound a drop without changes: z·span/blocks, so
        that z times it is Tango's bound of a share of which nothing was seen.
    key : str
        Of the replicates.
    """
    weight = size.sum(axis=1, keepdims=True)
    drop = divide(total.sum(axis=1, keepdims=True), weight, 0.0)
    influence = divide(total - drop * size, weight, 0.0)
    floor = -ndtri(alpha) * (span or 0.0) / np.maximum(effective_blocks(size), 1.0)
    return joint_drops(drop[:, 0], influence, floor, key)


def bounds_of_largest(
    value: Floats,
    deviations: Floats,
    tail: float,
    freedom: float = np.inf,
    *,
    error: Floats | None = None,
) -> tuple[float, float]:
    """Bounds of the largest of several true values, each missed with a chance of at most `tail`.

    The largest is at least any of them, so a lower bound may choose among simultaneous lower
    bounds; whichever it is, it is below its own upper bound, so the largest upper bound needs no
    correction. That the largest was picked because it looked largest is thereby accounted for.

    Parameters
    ----------
    value : ndarray, shape (k,)
        Estimates.
    deviations : ndarray, shape (replicates, k)
        Joint replicates minus the estimates.
    tail : float
    freedom : float
        Degrees of freedom of the errors; few of them widen the bounds as Student's t does.
    error : ndarray, shape (k,), optional
        What makes deviations comparable; their standard deviation by default, which heavy tails
        don't have.
    """
    wider = float(stdtrit(freedom, tail) / ndtri(tail)) if np.isfinite(freedom) else 1.0
    error = deviations.std(axis=0) if error is None else error
    largest = divide(deviations, error, 0.0).max(axis=1)
    reach = float(np.quantile(largest, 1.0 - tail)) * wider
    low = float((value - max(reach, 0.0) * error).max())
    high = float((value - wider * np.quantile(deviations, tail, axis=0)).max())
    return low, high


def p_of_largest(value: Floats, deviations: Floats, *, freedom: float = np.inf) -> float:
    """One-sided p-value of "none of several true values is above 0".

    The share of replicates in which some estimate, in standard errors, exceeds its value by as
    much as the largest exceeds 0; where none does, the normal tail for each of them.

    Parameters
    ----------
    value : ndarray, shape (k,)
    deviations : ndarray, shape (replicates, k)
    freedom : float
        Degrees of freedom of the errors: few of them make the largest less remarkable.
    """
    error = deviations.std(axis=0)
    observed = float(divide(value, error, 0.0).max())
    if np.isfinite(freedom):
        observed = -float(ndtri(stdtr(freedom, -observed)))
    exceeding = int((divide(deviations, error, 0.0).max(axis=1) >= observed).sum())
    p_value = (1.0 + exceeding) / (len(deviations) + 1.0)
    if exceeding:
        return p_value
    return min(p_value, len(value) * float(ndtr(-observed)))


def reach_of_all(largest: Floats, n: int, tail: float) -> float:
    """Standard errors by which any of `n` estimates exceeds its true value with chance `tail`.

    Parameters
    ----------
    largest : ndarray, shape (replicates,)
        Of each replicate the largest of the `n` deviations, in standard errors.
    n : int
    tail : float
        Below what replicates can tell, Bonferroni's normal quantile stands in.
    """
    if tail * (len(largest) + 1) < FEWEST_BEYOND:
        return -float(ndtri(tail / n))
    return max(float(np.quantile(largest, 1.0 - tail)), -float(ndtri(tail)))
