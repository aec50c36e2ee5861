"""Likeness to FP32 on the same sample: labels play no part, FP32 itself is perfect."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case, flat
from calaudit.metrics.classification import predicted
from calaudit.metrics.division import divide, unit_rows
from calaudit.metrics.shown import TIES, Shown
from calaudit.metrics.truth import Relevance


@metric(
    "binary",
    title="Top-1 agreement with FP32",
    perfect=1.0,
    convention="share of samples on which the highest score is the same class as FP32's",
    synonyms="agreement, top agreement, fidelity, consistency, match rate",
)
def top1_agreement(case: Case) -> NDArray[np.bool_]:
    """Whether the engine and FP32 predict the same class, (n,)."""
    return np.asarray(predicted(case.logits()) == predicted(case.reference_logits()))


@metric(
    "mean",
    title="Cosine with FP32",
    unit="cosine",
    span=2.0,
    perfect=1.0,
    convention="mean cosine between the output vector and FP32's",
    synonyms="cosine similarity, cos sim, cosine distance",
)
def cosine(case: Case) -> NDArray[np.float64]:
    """Cosine between the engine's output and FP32's, flattened per sample, (n,) in [−1, 1].

    Over the outputs that FP32 doesn't mask. Two outputs of length 0 have cosine 1, one alone 0.
    """
    ours, theirs = (unit_rows(each) for each in _unmasked(case))
    both_zero = ~(ours.any(axis=1) | theirs.any(axis=1))
    cosines = np.clip(np.einsum("ij,ij->i", ours, theirs), -1.0, 1.0)
    return np.where(both_zero, 1.0, cosines)


@metric(
    "mean",
    title="Largest difference from FP32",
    higher_is_better=False,
    unit="output",
    perfect=0.0,
    convention="mean of the largest absolute difference from FP32's output",
    synonyms="max diff, max abs error, max error, linf",
)
def max_abs_diff(case: Case) -> NDArray[np.float64]:
    """Largest |engine − FP32| over a sample's outputs, (n,), in the output's unit.

    Over the outputs that FP32 doesn't mask.
    """
    ours, theirs = _unmasked(case)
    return np.asarray(np.abs(ours - theirs).max(axis=1, initial=0.0))


def overlap_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap with the ties at the cut, the engine's and FP32's, broken (apart, alike)."""
    case.relevance()
    shown = case.shown(k), case.reference_shown(k)
    if all((each.probability == 1.0).all() for each in shown):
        share = overlap(case, k)
        return share, share
    ours, theirs = _Draw.of(*shown), _Draw.of(*reversed(shown))
    # Alike: each list first takes what the other shows for sure, then both take the same.
    mine, yours = (np.minimum(one.places, one.sure_there) for one in (ours, theirs))
    same = np.minimum(np.minimum(ours.places - mine, theirs.places - yours), ours.open_there)
    most = ours.common + mine + yours + same
    # Apart: what the other can't show first, what it shows for sure last.
    least = ours.common.copy()
    either = -ours.open_there
    for one in (ours, theirs):
        left = np.maximum(one.places - one.not_there, 0.0)
        shared = np.minimum(left, one.open_there)
        least += left - shared
        either += shared
    least += np.maximum(either, 0.0)
    places = shown[1].n_shown
    return divide(least, places, np.nan), divide(most, places, np.nan)


@metric(
    "mean",
    title="Overlap@{k} with FP32",
    needs=Relevance,
    span=1.0,
    perfect=1.0,
    bounds=overlap_bounds,
    convention=f"mean share of FP32's top k that is kept; {TIES}",
)
def overlap(case: Case, k: int) -> NDArray[np.float64]:
    """Share of FP32's top k that the engine shows too, (queries,).

    With chances p and q of a place, Σᵢ min(pᵢ, qᵢ) / places. Where one of the two lists has no tie
    at the cut, as FP32's seldom has, this is the expected overlap; two lists that tie alike
    overlap fully. NaN for a query with nothing to show.
    """
    case.relevance()
    ours, theirs = case.shown(k), case.reference_shown(k)
    both = ours.total(np.minimum(ours.probability, ours.chance_in(theirs)))
    return divide(both, theirs.n_shown, np.nan)


def jaccard_bounds(case: Case, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jaccard with the ties at the cut broken (apart, alike)."""
    least, most = overlap_bounds(case, k)
    return least / (2.0 - least), most / (2.0 - most)


@metric(
    "mean",
    title="Jaccard@{k} with FP32",
    needs=Relevance,
    span=1.0,
    perfect=1.0,
    bounds=jaccard_bounds,
    convention=f"items in both top k over items in either; {TIES}",
)
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
        found[queries] = _expected_jaccard(one, other, queries)
    return np.asarray(found, dtype=np.float64)


def _expected_jaccard(tied: Shown, other: Shown, queries: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of o/(2N − o) when `tied` draws the open places from its tie without replacement."""
    from scipy.stats import hypergeom  # slow to import

    draw = _Draw.of(tied, other)
    certain, wanted, open_places = (
        part[queries] for part in (draw.common, draw.sure_there, draw.places)
    )
    contenders = wanted + draw.not_there[queries]
    places = tied.n_shown[queries]
    mean = np.zeros(len(queries))
    for drawn in range(tied.k + 1):
        chance = hypergeom.pmf(drawn, contenders, wanted, open_places)
        mean += chance * (certain + drawn) / np.maximum(2.0 * places - certain - drawn, 1.0)
    return mean


@dataclass(frozen=True, eq=False, slots=True)
class _Draw:
    """What the tie at the cut of one list leaves open, seen from another; all (queries,)."""

    common: NDArray[np.float64]
    """Items that both show for sure."""
    places: NDArray[np.float64]
    """Places that the tie fills."""
    sure_there: NDArray[np.float64]
    """Its items that the other list shows for sure; perhaps; never."""
    open_there: NDArray[np.float64]
    not_there: NDArray[np.float64]

    @classmethod
    def of(cls, shown: Shown, other: Shown) -> "_Draw":
        """Count the items of `shown` by what becomes of them in `other`."""
        sure, there = shown.probability == 1.0, shown.chance_in(other)

        def count(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
            return shown.total(chosen.astype(np.float64))

        return cls(
            count(sure & (there == 1.0)),
            shown.n_shown - count(sure),
            count(~sure & (there == 1.0)),
            count(~sure & (there > 0.0) & (there < 1.0)),
            count(~sure & (there == 0.0)),
        )


def _unmasked(case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """The engine's and FP32's outputs, (n, d) float64; 0 in both for what isn't read.

    That is what FP32 gives as an infinity, and the scores of excluded items.
    """
    ours, theirs = (
        flat(outputs).astype(np.float64) for outputs in (case.answers, case.reference_answers)
    )
    masked = np.isinf(theirs)
    exclude = case.exclude()
    if exclude is not None and exclude.shape == masked.shape:
        masked |= exclude
    ours[masked] = 0.0
    theirs[masked] = 0.0
    return ours, theirs
