"""Likeness to FP32 on the same sample: labels play no part, FP32 itself is perfect."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.metrics.classification import predicted
from calaudit.evaluate.metrics.ranking import count_bounds
from calaudit.evaluate.metrics.shown import Shown


def top1_agreement(case: Case) -> NDArray[np.bool_]:
    """Whether the engine and FP32 predict the same class, (n,)."""
    return np.asarray(predicted(case.logits()) == predicted(case.reference()))


def cosine(case: Case) -> NDArray[np.float64]:
    """Cosine between the engine's output and FP32's, flattened per sample, (n,) in [−1, 1].

    Two outputs of length 0 have cosine 1, one alone 0; NaN where the outputs aren't finite.
    """
    ours, theirs, finite = _finite_pair(case)
    dot = np.einsum("ij,ij->i", ours, theirs)
    length = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    both_zero = ~(ours.any(axis=1) | theirs.any(axis=1))
    ratio = divide(dot, length, both_zero)
    return np.where(finite, np.clip(ratio, -1.0, 1.0), np.nan)


def max_abs_diff(case: Case) -> NDArray[np.float64]:
    """Largest |engine − FP32| over a sample's outputs, (n,), in the output's unit.

    NaN where the outputs aren't finite.
    """
    ours, theirs, finite = _finite_pair(case)
    return np.where(finite, np.abs(ours - theirs).max(axis=1, initial=0.0), np.nan)


def overlap(case: Case, k: int) -> NDArray[np.float64]:
    """Share of FP32's top k that the engine shows too, (queries,).

    With chances p and q of a place, Σᵢ min(pᵢ, qᵢ) / places. Where one of the two lists has no tie
    at the cut, as FP32's seldom has, this is the expected overlap; two lists that tie alike
    overlap fully. NaN for a query with nothing to show.
    """
    case.relevance()
    ours, theirs = case.shown(k), case.reference_shown(k)
    both = np.asarray(_matrix(ours).minimum(_matrix(theirs)).sum(axis=1)).reshape(-1)
    return divide(both, theirs.n_shown, np.nan)


def jaccard(case: Case, k: int) -> NDArray[np.float64]:
    """Common items of the two top k over the items in either, (queries,).

    o common items of N places make o/(2N − o). Expected value over the order of ties where one of
    the two lists has a tie at the cut; where both have, Σᵢ min(pᵢ, qᵢ) / Σᵢ max(pᵢ, qᵢ) with the
    chances p and q of a place, 1 for two lists that tie alike. NaN with nothing to show.
    """
    share = overlap(case, k)
    ours, theirs = case.shown(k), case.reference_shown(k)
    found = share / (2.0 - share)
    for one, other in ((ours, theirs), (theirs, ours)):
        ties = one.total((one.probability < 1.0).astype(np.float64)) > 0
        ties &= other.total((other.probability < 1.0).astype(np.float64)) == 0
        queries = np.flatnonzero(ties)
        found[queries] = _expected_jaccard(one, _matrix(other).toarray() > 0.0, queries)
    return np.asarray(found, dtype=np.float64)


def _expected_jaccard(
    tied: Shown, in_other: NDArray[np.bool_], queries: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean of o/(2N − o) when `tied` draws the open places from its tie without replacement."""
    from scipy.stats import hypergeom  # slow to import

    common = in_other[tied.query, tied.item]
    sure = tied.probability == 1.0
    certain = tied.total((sure & common).astype(np.float64))[queries]
    contenders = tied.total((~sure).astype(np.float64))[queries]
    wanted = tied.total((~sure & common).astype(np.float64))[queries]
    places = tied.n_shown[queries]
    open_places = places - tied.total(sure.astype(np.float64))[queries]
    mean = np.zeros(len(queries))
    for drawn in range(tied.k + 1):
        chance = hypergeom.pmf(drawn, contenders, wanted, open_places)
        mean += chance * (certain + drawn) / np.maximum(2.0 * places - certain - drawn, 1.0)
    return mean


def jaccard_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jaccard with the ties at the cut broken (apart, alike)."""
    least, most = overlap_bounds(case, k)
    return least / (2.0 - least), most / (2.0 - most)


def overlap_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap with the ties at the cut, the engine's and FP32's, broken (apart, alike)."""
    case.relevance()
    ours, theirs = case.shown(k), case.reference_shown(k)
    chance = _matrix(theirs).toarray()[ours.query, ours.item]
    least, _ = count_bounds(ours, chance == 1.0)
    _, most = count_bounds(ours, chance > 0.0)
    return divide(least, theirs.n_shown, np.nan), divide(most, theirs.n_shown, np.nan)


def _matrix(shown: Shown) -> sparse.csr_array:
    return sparse.csr_array((shown.probability, (shown.query, shown.item)), shape=shown.shape)


def _finite_pair(case: Case) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """The engine's and FP32's outputs, (n, d) float64, zeroed where either isn't finite."""
    n = len(case.outputs)
    ours = case.outputs.reshape(n, -1).astype(np.float64)
    theirs = case.reference().reshape(n, -1).astype(np.float64)
    finite = np.asarray(np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1))
    ours[~finite] = 0.0
    theirs[~finite] = 0.0
    return ours, theirs, finite
