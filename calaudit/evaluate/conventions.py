"""Each metric's conventions in a sentence, for reports that must stand alone."""

from collections.abc import Mapping

from calaudit.evaluate.metric import Metric

_TIES = "expected value over the order of ties"
_LEFT_OUT = "queries without a relevant item are left out"

CONVENTIONS: Mapping[str, str] = {
    "top": "share of samples whose label is among the k highest scores; of ties the lowest class",
    "nll": "mean of −log softmax of the label's logit",
    "nll_of_probabilities": "mean of −log of the label's probability",
    "balanced_accuracy": "mean over the slice's classes of each class's recall",
    "top1_agreement": "share of samples on which the highest score is the same class as FP32's",
    "cosine": "mean cosine between the output vector and FP32's",
    "max_abs_diff": "mean of the largest absolute difference from FP32's output",
    "overlap": f"mean share of FP32's top k that is kept; {_TIES}",
    "ndcg": f"linear gain, log2 discount; {_LEFT_OUT}; {_TIES}",
    "ndcg_exp": f"gain 2^r − 1, log2 discount; {_LEFT_OUT}; {_TIES}",
    "recall": f"relevant items in the top k over all relevant; {_LEFT_OUT}; {_TIES}",
    "coverage": f"distinct items in any top k over the whole catalogue; {_TIES}",
    "gini": "Gini index of exposure in the top k; unseen items count as 0; higher is less equal",
    "long_tail_share": f"mean share of tail items in the top k; {_TIES}",
    "ties_at_cut": "share of queries with a tie across rank k",
}
"""By metric family."""


def convention_of(metric: Metric) -> str:
    """The definition's choices: what is averaged, ties, gain, what is left out."""
    return CONVENTIONS[metric.family]
