"""How popular the shown items are: ARP, its lift over FP32, and novelty."""

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.shown import Shown
from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]


def arp(case: Case, k: int) -> Floats:
    """Mean popularity of the items in the top k, (queries,); their mean is the ARP.

    (Yin et al. 2012, "Challenging the long tail recommendation".) NaN with nothing to show.
    """
    return _mean_of(case.shown(k), _popularity(case))


def popularity_lift(case: Case, k: int) -> Floats:
    """What the engine's popularity adds to FP32's, and FP32's, (queries, 2).

    The ratio of their sums is ARP by the engine / ARP by FP32 − 1.
    """
    popularity = _popularity(case)
    ours = _mean_of(case.shown(k), popularity)
    theirs = _mean_of(case.reference_shown(k), popularity)
    # The same items added up in another order differ by rounding.
    added = np.where(np.isclose(ours, theirs, rtol=1e-12, atol=0.0), 0.0, ours - theirs)
    added[np.isnan(ours) | np.isnan(theirs)] = np.nan
    return np.stack([added, np.nan_to_num(theirs)], axis=1)


def novelty(case: Case, k: int) -> Floats:
    """Mean −log₂(interactions of the item / all interactions) over the top k, in bits, (queries,).

    (Vargas & Castells 2011.) An item without interactions counts as one with a single one. NaN with
    nothing to show, or without any interaction at all.
    """
    popularity = _popularity(case)
    share = divide(np.maximum(popularity, 1.0), popularity.sum(), np.nan)
    return _mean_of(case.shown(k), -np.log2(share))


def _mean_of(shown: Shown, value: Floats) -> Floats:
    return divide(shown.total(shown.probability * value[shown.item]), shown.n_shown, np.nan)


def _popularity(case: Case) -> Floats:
    popularity = case.relevance().popularity
    if popularity is None:
        raise SettingsError(
            "this metric needs the items' popularity",
            next_step="Give the pool an items/popularity column, or name another in the task.",
        )
    return np.asarray(popularity, dtype=np.float64)
