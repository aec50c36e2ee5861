"""Diversity within one list: how unlike its items are, and whether it mirrors the user."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from calaudit.evaluate.division import divide, unit_rows
from calaudit.evaluate.metrics.case import Case
from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]

SMOOTHING = 0.01
"""Steck's α: the share of the user's own genres that the list's are mixed with."""

MOST_KL = float(-np.log(SMOOTHING))
"""The largest divergence: a list without any of the user's genres."""


def intra_list_diversity(case: Case, k: int) -> Floats:
    """1 − mean cosine between the pairs of items in the top k, (queries,) in [0, 2].

    (Ziegler et al. 2005; Smyth & McClave 2001.) Expected value over the order of ties: a tie across
    the cut shows any of its pairs alike. An item whose vector is 0 is unlike every other. NaN for a
    list of fewer than two.
    """
    vectors = case.relevance().vectors
    if vectors is None:
        raise SettingsError(
            "intra-list diversity needs the items' vectors",
            next_step="Name an item column with vectors or genres in the task.",
        )
    unit = unit_rows(vectors)
    directed = np.asarray(unit.any(axis=1), dtype=np.float64)
    shown = case.shown(k)
    sure = shown.probability == 1.0
    certain, open_to = (
        sparse.csr_array(
            (np.ones(int(part.sum())), (shown.query[part], shown.item[part])), shape=shown.shape
        )
        for part in (sure, ~sure)
    )
    sum_sure, sum_open = certain @ unit, open_to @ unit
    n_sure, n_open = (np.asarray(part @ directed) for part in (certain, open_to))
    contenders = np.asarray(open_to.sum(axis=1)).reshape(-1)
    places = shown.n_shown - np.asarray(certain.sum(axis=1)).reshape(-1)
    one = divide(places, contenders, 0.0)
    two = divide(places * (places - 1), contenders * (contenders - 1), 0.0)
    cosines = (
        np.einsum("ij,ij->i", sum_sure, sum_sure)
        - n_sure
        + 2.0 * one * np.einsum("ij,ij->i", sum_sure, sum_open)
        + two * (np.einsum("ij,ij->i", sum_open, sum_open) - n_open)
    )
    pairs = shown.n_shown * (shown.n_shown - 1.0)
    return 1.0 - divide(cosines, pairs, np.nan)


def genre_calibration(case: Case, k: int) -> Floats:
    """KL(p‖(1 − α)q + αp) in nats, α = 0.01, (queries,); 0 for a list that mirrors the history.

    p is the mean of the genres of the items in the user's history, q that of the items shown, an
    item of several genres shared between them (Steck 2018, "Calibrated recommendations"). Over ties
    q is the expected mix. Items without a genre are left out of both; a list without any genre has
    the largest divergence, −ln α. NaN for a user without a history.
    """
    truth = case.relevance()
    if truth.genres is None or truth.history is None:
        raise SettingsError(
            "genre calibration needs the items' genres and each query's history",
            next_step="Name an item column with genres and a history target in the task.",
        )
    mix = divide(truth.genres, truth.genres.sum(axis=1, keepdims=True), 0.0)
    shown = case.shown(k)
    chance = sparse.csr_array((shown.probability, (shown.query, shown.item)), shape=shown.shape)
    wanted = _shares(truth.history.astype(np.float64) @ mix)
    given = _shares(np.asarray(chance @ mix))
    mixed = (1.0 - SMOOTHING) * given + SMOOTHING * wanted
    divergence = special.rel_entr(wanted, mixed).sum(axis=1)
    return np.where(wanted.any(axis=1), np.minimum(divergence, MOST_KL), np.nan)


def _shares(totals: Floats) -> Floats:
    return divide(totals, totals.sum(axis=1, keepdims=True), 0.0)
