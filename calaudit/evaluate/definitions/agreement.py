"""Metrics of likeness to FP32 on the same sample: FP32 itself is perfect."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.definitions.ranking import TIES
from calaudit.evaluate.metrics import agreement, rank_agreement

_ALL_ITEMS = "over all items that may be shown; 0 if only one of the two ties them all"

AGREEMENT: Mapping[str, Definition] = {
    "top1_agreement": Definition(
        title="Top-1 agreement with FP32",
        kind="binary",
        needs="reference",
        agreement=True,
        compute=agreement.top1_agreement,
        convention="share of samples on which the highest score is the same class as FP32's",
    ),
    "cosine": Definition(
        title="Cosine with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        unit="cosine",
        span=2.0,
        compute=agreement.cosine,
        convention="mean cosine between the output vector and FP32's",
    ),
    "max_abs_diff": Definition(
        title="Largest difference from FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        direction="lower_is_better",
        unit="output",
        span=None,
        compute=agreement.max_abs_diff,
        convention="mean of the largest absolute difference from FP32's output",
    ),
    "overlap": Definition(
        title="Overlap@{k} with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        cut=True,
        compute=agreement.overlap,
        bounds=agreement.overlap_bounds,
        convention=f"mean share of FP32's top k that is kept; {TIES}",
    ),
    "jaccard": Definition(
        title="Jaccard@{k} with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        cut=True,
        compute=agreement.jaccard,
        bounds=agreement.jaccard_bounds,
        convention=f"items in both top k over items in either; {TIES}",
    ),
    "rbo": Definition(
        title="RBO@{k} with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        cut=True,
        unit="index",
        compute=rank_agreement.rbo,
        bounds=rank_agreement.rbo_bounds,
        convention=f"rank-biased overlap, p = 0.9, extrapolated from rank k; {TIES}",
    ),
    "kendall": Definition(
        title="Kendall τ-b with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        unit="index",
        span=2.0,
        compute=rank_agreement.kendall,
        convention=f"mean of τ-b {_ALL_ITEMS}",
    ),
    "weighted_tau": Definition(
        title="Weighted τ with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        unit="index",
        span=2.0,
        compute=rank_agreement.weighted_tau,
        convention=f"mean of Vigna's τ with hyperbolic weights {_ALL_ITEMS}",
    ),
    "tau_ap": Definition(
        title="τ_AP with FP32",
        kind="mean",
        needs="reference",
        agreement=True,
        unit="index",
        span=2.0,
        compute=rank_agreement.tau_ap,
        convention=f"mean of τ_AP with FP32's order as the truth {_ALL_ITEMS}; {TIES}",
    ),
}
