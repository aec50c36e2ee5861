"""Metrics of one class per sample."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.metrics import calibration_error, classification

_ECE = (
    f"Σ |confidence − accuracy| over {calibration_error.BINS} bins of equal width of the highest "
    "probability, each weighed by its samples"
)

CLASSIFICATION: Mapping[str, Definition] = {
    "top": Definition(
        title="Top-{k} accuracy",
        kind="binary",
        needs="labels",
        cut=True,
        compute=classification.topk,
        bounds=classification.topk_bounds,
        convention="share of samples whose label is among the k highest scores; of ties the lowest "
        "class",
    ),
    "balanced_accuracy": Definition(
        title="Balanced accuracy",
        kind="set",
        needs="labels",
        compute=classification.balanced_accuracy,
        functional=classification.balanced_accuracy_of,
        influence=classification.balanced_accuracy_influence,
        convention="mean over the slice's classes of each class's recall",
    ),
    "macro_f1": Definition(
        title="Macro F1",
        kind="set",
        needs="labels",
        compute=classification.macro_f1,
        functional=classification.macro_f1_of,
        influence=classification.macro_f1_influence,
        convention="mean over the slice's classes of each class's F1",
    ),
    "nll": Definition(
        title="Negative log-likelihood",
        kind="mean",
        needs="labels",
        direction="lower_is_better",
        unit="nats",
        span=None,
        compute=classification.nll,
        convention="mean of −log softmax of the label's logit",
    ),
    "nll_of_probabilities": Definition(
        title="Negative log-likelihood (of probabilities)",
        kind="mean",
        needs="labels",
        direction="lower_is_better",
        unit="nats",
        span=None,
        compute=classification.nll_of_probabilities,
        convention="mean of −log of the label's probability",
    ),
    "ece": Definition(
        title="Expected calibration error",
        kind="set",
        needs="labels",
        direction="lower_is_better",
        compute=calibration_error.ece,
        functional=calibration_error.ece_of,
        influence=calibration_error.ece_influence,
        convention=f"{_ECE}; of logits",
    ),
    "ece_of_probabilities": Definition(
        title="Expected calibration error (of probabilities)",
        kind="set",
        needs="labels",
        direction="lower_is_better",
        compute=calibration_error.ece_of_probabilities,
        functional=calibration_error.ece_of,
        influence=calibration_error.ece_influence,
        convention=_ECE,
    ),
}
