"""Whether a prediction ranks engines as a measurement does, within slices."""

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.results.harm import FEWEST_CELLS

Floats = NDArray[np.float64]

_EXACT: Final = 7
"""Engines up to which every order is tried."""
_DRAWN: Final = 9999


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Spearman's rank correlation of prediction and measurement over engines, slice by slice."""

    correlation: float | None
    """Mean over slices; None for fewer than 5 engines: of 4, one
    order in 24 is right by chance, or where nothing differs."""
    p_value: float | None
    """One-sided: the share of orders of the engines, the same in every slice, that give as much."""
    cells: int
    """Engines."""
    slices: int
    """Slices in which both are known and differ."""


def rank_agreement(predicted: Floats, measured: Floats, *, seed: int) -> RankAgreement:
    """How far predictions rank engines as measurements do.

    Slices share their samples and engines, so what chance gives is found by permuting engines as
    wholes: exact up to 7 engines, 9,999 drawn orders for more. Engines of one calibration set are
    taken as any others.

    Parameters
    ----------
    predicted, measured : float64 (S, C)
        Of every engine in every slice. Slices with a value that isn't finite are left out, and
        those in which all engines are equal by either.
    seed : int
        Of the drawn orders.
    """
    usable = _differs(predicted) & _differs(measured)
    n_cells, n_slices = predicted.shape[1], int(usable.sum())
    if n_cells < FEWEST_CELLS or n_slices == 0:
        return RankAgreement(None, None, n_cells, n_slices)
    one, two = _normal_ranks(predicted[usable]), _normal_ranks(measured[usable])
    # Σ over slices of the correlation, were engine i's prediction engine j's
    table = one.T @ two / n_slices
    found = float(np.trace(table))
    by_chance = table[_orders(n_cells, seed), np.arange(n_cells)].sum(axis=1)
    as_much = int((by_chance >= found - 1e-12).sum())
    exact = n_cells <= _EXACT
    p_value = as_much / len(by_chance) if exact else (as_much + 1) / (len(by_chance) + 1)
    return RankAgreement(float(np.clip(found, -1, 1)), p_value, n_cells, n_slices)


def _differs(values: Floats) -> NDArray[np.bool_]:
    """Which rows are finite and hold more than one value."""
    rows = (np.isfinite(row).all() and len(np.unique(row)) > 1 for row in values)
    return np.fromiter(rows, bool, len(values))


def _normal_ranks(values: Floats) -> Floats:
    """Ranks of each row, ties at their mean, centred and of length 1."""
    ranks = np.array([_ranks(row) for row in values])
    ranks -= ranks.mean(axis=1, keepdims=True)
    normal: Floats = ranks / np.linalg.norm(ranks, axis=1, keepdims=True)
    return normal


def _ranks(row: Floats) -> Floats:
    """As SciPy's `rankdata`, which takes long to import."""
    _, place, tied = np.unique(row, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(tied) - (tied - 1) / 2
    return middle[place]


def _orders(n: int, seed: int) -> NDArray[np.int64]:
    """Orders of n things: all n! of them, the given one among them, or `_DRAWN`."""
    if n <= _EXACT:
        return np.array(list(permutations(range(n))), np.int64).reshape(math.factorial(n), n)
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(_DRAWN * n)
    return np.argsort(bits.reshape(_DRAWN, n), axis=1, kind="stable")
