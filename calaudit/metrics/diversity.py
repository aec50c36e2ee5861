"""How many items the top k shows, how evenly, how unlike one another, and how like the user.

The catalogue is every column of the relevance matrix, shown or not.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide, unit_rows
from calaudit.metrics.shown import TIES
from calaudit.metrics.truth import Relevance
from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]
SMOOTHING = 0.01
"""Steck's α: the share of the user's own genres that the list's are mixed with."""
MOST_KL = float(-np.log(SMOOTHING))
"""The largest divergence: a list without any of the user's genres."""


def coverage_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected distinct items shown / catalogue: Σᵢ(1 − Π_q(1 − p_qi)) / items.

    Ties of different queries are broken independently.
    """
    n_items = totals.shape[-1] // 2
    certain, log_missed = totals[..., :n_items], totals[..., n_items:]
    surely = certain > 0.5
    seen = surely.astype(np.float64)
    chance = ~surely & (log_missed < 0.0)
    seen[chance] = -np.expm1(log_missed[chance])
    return np.asarray(seen.mean(axis=-1), dtype=np.float64)


def coverage_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """K / items: at worst all that a query shows, no other query does."""
    return min(1.0, (k or 0) / max(len(totals) // 2, 1))


@metric(
    "set",
    title="Coverage@{k}",
    needs=Relevance,
    span=1.0,
    shown_only=True,
    functional=coverage_of,
    influence=coverage_influence,
    convention=f"distinct items in any top k over the whole catalogue; {TIES}",
    synonyms="catalog coverage, catalogue coverage, item coverage",
)
def coverage(case: Case, k: int) -> sparse.csr_array:
    """What each query adds to coverage@k, (queries, 2·items).

    First half: 1 where the item is surely shown. Second half: log(1 − p) where a tie gives it the
    chance p < 1.
    """
    case.relevance()
    shown = case.shown(k)
    n_queries, n_items = shown.shape
    certain = shown.probability == 1.0
    if certain.all():
        chance = shown.exposure
        sure = chance.data, chance.indices, chance.indptr
        return sparse.csr_array(sure, shape=(n_queries, 2 * n_items))
    column = np.where(certain, shown.item, shown.item + n_items)
    value = np.ones(len(column))
    value[~certain] = np.log1p(-shown.probability[~certain])
    return sparse.csr_array((value, (shown.query, column)), shape=(n_queries, 2 * n_items))


def exposure(case: Case, k: int) -> sparse.csr_array:
    """Chance of each item to be in each query's top k, (queries, items)."""
    case.relevance()
    return case.shown(k).exposure


def gini_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gini index of exposure, Σ(2i − n − 1)c₍ᵢ₎/(nΣc) with c ascending; unseen items count as 0.

    Parameters
    ----------
    totals : ndarray, shape (…, items)
        Exposure of each item, ≥ 0.

    Returns
    -------
    ndarray, shape (…)
        0 when all items are shown alike, (n − 1)/n when one takes all; NaN without exposure.
    """
    n_items = totals.shape[-1]
    ascending = np.maximum(totals, 0.0)
    ascending.sort(axis=-1)
    weighted = np.vecdot(ascending, 2.0 * np.arange(1, n_items + 1) - n_items - 1.0)
    whole = n_items * ascending.sum(axis=-1)
    return divide(weighted, whole, np.nan)


def gini_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """2k / all exposure: moving a share ε of the exposure changes the index by at most 2ε."""
    whole = float(totals.sum())
    return min(1.0, 2.0 * (k or 0) / whole) if whole > 0 else 1.0


@metric(
    "set",
    title="Gini of exposure@{k}",
    needs=Relevance,
    higher_is_better=False,
    unit="index",
    span=1.0,
    worst=1.0,
    shown_only=True,
    functional=gini_of,
    influence=gini_influence,
    convention="Gini index of exposure in the top k; unseen items count as 0; higher is less equal",
    synonyms="gini index, gini coefficient",
)
def gini(case: Case, k: int) -> sparse.csr_array:
    """`exposure`, of which the metric is the Gini index."""
    return exposure(case, k)


def entropy_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of the items' shares of the exposure, in bits; NaN without exposure.

    Parameters
    ----------
    totals : ndarray, shape (…, items)

    Returns
    -------
    ndarray, shape (…)
        0 when one item takes all, log₂(items) when all are shown alike.
    """
    exposed = np.maximum(totals, 0.0)
    share = divide(exposed, exposed.sum(axis=-1, keepdims=True), np.nan)
    return np.asarray(special.entr(share).sum(axis=-1) / np.log(2.0), dtype=np.float64)


def entropy_influence(k: int | None, totals: NDArray[np.float64], _: int) -> float:
    """ε·log₂(items − 1) + h(ε), ε = k / all exposure, h the binary entropy.

    The most that the entropy changes when a share ε of the exposure moves (Audenaert 2007).
    """
    n_items, whole = len(totals), float(totals.sum())
    most = float(np.log2(max(n_items, 1)))
    moved = (k or 0) / whole if whole > 0 else 1.0
    if moved >= 0.5 or n_items < 3:
        return most
    spread = float(special.entr([moved, 1.0 - moved]).sum() / np.log(2.0))
    return min(most, moved * float(np.log2(n_items - 1)) + spread)


@metric(
    "set",
    title="Entropy of exposure@{k}",
    needs=Relevance,
    unit="bits",
    worst=0.0,
    shown_only=True,
    functional=entropy_of,
    influence=entropy_influence,
    convention=f"entropy of the items' shares of the exposure in the top k; {TIES}",
    synonyms="entropy, shannon entropy",
)
def exposure_entropy(case: Case, k: int) -> sparse.csr_array:
    """`exposure`, of which the metric is the entropy."""
    return exposure(case, k)


@metric(
    "mean",
    title="Intra-list diversity@{k}",
    needs=Relevance,
    unit="index",
    span=2.0,
    worst=0.0,
    convention=f"1 − mean cosine between the pairs of items in the top k; {TIES}",
    synonyms="ild, diversity",
)
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


@metric(
    "mean",
    title="Genre calibration (KL)@{k}",
    needs=Relevance,
    higher_is_better=False,
    unit="nats",
    span=MOST_KL,
    worst=MOST_KL,
    convention="divergence of the genres of the top k from those of the user's history, "
    "Steck's α = 0.01; of the expected genres over the order of ties",
)
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
