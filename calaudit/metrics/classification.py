"""Metrics of one class per sample: accuracy, losses, and calibration of the confidence.

Tied logits are resolved as deployed code does (`argmax` and ONNX ArgMax): the lowest class wins.
`topk_bounds` says what other orders would give. Logits are compared in the precision in which they
were given. They may hold −∞, as masked classes do, but no NaN (`Case.answers`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.truth import Labels
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.words import counted

BINS = 15
"""Bins of equal width of the confidence, as Guo et al. 2017 take."""
_ECE = (
    f"Σ |confidence − accuracy| over {BINS} bins of equal width of the highest "
    "probability, each weighed by its samples"
)

_ROUNDING = 2.0**-8
"""Of probabilities in bfloat16, the coarsest."""


def topk_bounds(case: Case, k: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`topk` with every tie broken (against, for) the true class."""
    logits, true = _true_logit(case, k)
    above = (logits > true).sum(axis=1)
    level = (logits == true).sum(axis=1)
    return above + level <= k, above < k


@metric(
    "binary",
    name="top",
    title="Top-{k} accuracy",
    needs=Labels,
    quality=True,
    bounds=topk_bounds,
    convention="share of samples whose label is among the k highest scores; of ties the lowest "
    "class",
    synonyms="top, top acc, top error, accuracy, acc, score, correct, error, err, error rate, zero "
    "one loss, misclassification rate, micro f1, f1 micro, categorical accuracy, sparse "
    "categorical accuracy",
)
def topk(case: Case, k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the k highest logits, (n,)."""
    logits, true = _true_logit(case, k)
    above = (logits > true).sum(axis=1)
    earlier = np.arange(logits.shape[1]) < case.label()[:, None]
    level = ((logits == true) & earlier).sum(axis=1)
    return np.asarray(above + level < k)


@metric(
    "mean",
    title="Negative log-likelihood",
    needs=Labels,
    higher_is_better=False,
    unit="nats",
    quality=True,
    convention="mean of −log softmax of the label's logit",
    synonyms="loss, log loss, cross entropy, ce, xent, perplexity, ppl",
)
def nll(case: Case) -> NDArray[np.float64]:
    """−log softmax(logits)[true class] in nats, (n,); NaN where it is infinite."""
    if case.probabilities:
        return nll_of_probabilities(case)
    log_p = log_softmax(case.logits())
    loss = -log_p[np.arange(len(log_p)), case.label()]
    return np.where(np.isfinite(loss), loss, np.nan)


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Log-probabilities (n, classes); NaN where a row's largest logit is infinite."""
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1, keepdims=True)
    shifted = wide - np.where(np.isfinite(highest), highest, np.nan)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@metric(
    "mean",
    title="Negative log-likelihood (of probabilities)",
    needs=Labels,
    higher_is_better=False,
    unit="nats",
    quality=True,
    convention="mean of −log of the label's probability",
)
def nll_of_probabilities(case: Case) -> NDArray[np.float64]:
    """−log p[true class] in nats for outputs that are probabilities, (n,).

    p is divided by its sum, and kept above the smallest normal float32 (as a loss of infinity
    would make every mean infinite). NaN where an output is infinite.
    """
    share = shares(case)
    true = share[np.arange(len(share)), case.label()]
    return -np.log(np.maximum(true, np.finfo(np.float32).tiny))


def shares(case: Case) -> NDArray[np.float64]:
    """`probabilities` of a case; an engine's negative ones count as 0 where FP32 has none."""
    outputs = case.logits()
    return probabilities(np.maximum(outputs, 0) if case.probabilities else outputs)


def holds_probabilities(outputs: NDArray[Any]) -> bool:
    """Whether every row of (n, classes) is a distribution: in 0 … 1, with sum 1.

    As far as half-precision floats can tell, which round each probability to 8 bits. Rows that
    aren't finite are passed over.
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.dtype.kind != "f":
        return False
    rows = outputs[np.isfinite(outputs).all(axis=1)]
    if not len(rows) or rows.min() < 0 or rows.max() > 1 + _ROUNDING:
        return False
    return bool(np.abs(rows.sum(axis=1, dtype=np.float64) - 1.0).max() <= _ROUNDING)


def probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Outputs over their sum (n, classes); NaN in rows that hold an infinity."""
    finite = np.isfinite(outputs).all(axis=1, keepdims=True)
    given = np.where(finite, outputs, np.nan).astype(np.float64)
    if (given < 0).any():
        raise SettingsError(
            "a metric of probabilities got negative outputs",
            next_step="Use the metric without _of_probabilities, which takes logits.",
        )
    return divide(given, given.sum(axis=1, keepdims=True), 0.0)


def balanced_accuracy_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall over the classes that occur; NaN if none does.

    Parameters
    ----------
    totals : ndarray, shape (…, 2·classes)
        Samples, then right samples, of each class.
    """
    n_classes = totals.shape[-1] // 2
    support, right = totals[..., :n_classes], totals[..., n_classes:]
    occurs = support > 0.5
    recall = divide(right, np.where(occurs, support, 0.0), 0.0)
    return divide(recall.sum(axis=-1), occurs.sum(axis=-1), np.nan)


def balanced_accuracy_influence(_: int | None, totals: NDArray[np.float64], __: int) -> float:
    """1/(classes · samples of the smallest class): a flip there moves the metric most."""
    support = totals[: len(totals) // 2]
    occurs = support > 0.5
    return float(1.0 / (occurs.sum() * support[occurs].min())) if occurs.any() else 1.0


@metric(
    "set",
    title="Balanced accuracy",
    needs=Labels,
    span=1.0,
    quality=True,
    functional=balanced_accuracy_of,
    influence=balanced_accuracy_influence,
    convention="mean over the slice's classes of each class's recall",
    synonyms="bacc, bal acc, balanced acc, uar, macro recall, recall macro, mean recall, mean "
    "class accuracy, mean per class accuracy, sensitivity",
)
def balanced_accuracy(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 2·classes): 1 for its class, then 1 if it is right."""
    label, n_classes = case.label(), case.logits().shape[1]
    right = np.flatnonzero(topk(case, 1)) if n_classes > 1 else np.arange(len(label))
    row = np.concatenate([np.arange(len(label)), right])
    column = np.concatenate([label, label[right] + n_classes])
    shape = (len(label), 2 * n_classes)
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)


def macro_f1_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of 2·right/(samples + predictions) over the classes that occur; NaN if none does.

    Parameters
    ----------
    totals : ndarray, shape (…, 3·classes)
        Samples, predictions and right samples of each class.
    """
    support, answers, right = np.split(totals, 3, axis=-1)
    occurs = support > 0.5
    f1 = divide(2.0 * right, np.where(occurs, support + answers, 0.0), 0.0)
    return divide(f1.sum(axis=-1), occurs.sum(axis=-1), np.nan)


def macro_f1_influence(_: int | None, totals: NDArray[np.float64], __: int) -> float:
    """2/classes · min(1, 2/samples of the smallest class).

    A prediction that moves from one class to another changes these two classes' F1, each by no more
    than 2/(samples of the class).
    """
    support = totals[: len(totals) // 3]
    occurs = support > 0.5
    if not occurs.any():
        return 1.0
    return float(min(1.0, 2.0 / occurs.sum() * min(1.0, 2.0 / support[occurs].min())))


@metric(
    "set",
    title="Macro F1",
    needs=Labels,
    span=1.0,
    quality=True,
    functional=macro_f1_of,
    influence=macro_f1_influence,
    convention="mean over the slice's classes of each class's F1",
    synonyms="f1, f1 score, f score, f measure, weighted f1, precision, macro precision",
)
def macro_f1(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 3·classes): 1 for its class, its prediction, and if right."""
    label, n_classes = case.label(), case.logits().shape[1]
    answer = predicted(case.logits())
    rows = np.arange(len(label))
    right = np.flatnonzero(answer == label)
    row = np.concatenate([rows, rows, right])
    column = np.concatenate([label, answer + n_classes, label[right] + 2 * n_classes])
    shape = (len(label), 3 * n_classes)
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)


def predicted(logits: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) the class with the highest logit, the lowest of tied ones."""
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def _true_logit(case: Case, k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    logits = case.logits()
    if k >= logits.shape[1]:
        raise SettingsError(
            f"top{k} is always right: the model scores "
            f"{counted(logits.shape[1], 'class', 'classes')}",
            next_step="Choose a smaller k.",
        )
    return logits, logits[np.arange(len(logits)), case.label()][:, None]


def ece_of(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ over the bins of |Σ(confidence − right)| / n; NaN without samples.

    Parameters
    ----------
    totals : ndarray, shape (…, bins + 1)
        Of each bin, confidences minus right answers; then n.
    """
    return divide(np.abs(totals[..., :-1]).sum(axis=-1), totals[..., -1], np.nan)


def ece_influence(_: int | None, __: NDArray[np.float64], n: int) -> float:
    """2/n: a sample leaves one bin for another, and weighs at most 1/n in each."""
    return min(1.0, 2.0 / max(n, 1))


@metric(
    "set",
    title="Expected calibration error",
    needs=Labels,
    higher_is_better=False,
    span=1.0,
    quality=True,
    functional=ece_of,
    influence=ece_influence,
    convention=f"{_ECE}; of logits",
    synonyms="calibration, calibration error",
)
def ece(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 16): confidence − right in its bin's column, 1 in the last one.

    For outputs that are logits. NaN where no confidence can be told: the largest is infinite.
    """
    if case.probabilities:
        return ece_of_probabilities(case)
    return _statistics(case, np.exp(log_softmax(case.logits()).max(axis=1)))


@metric(
    "set",
    title="Expected calibration error (of probabilities)",
    needs=Labels,
    higher_is_better=False,
    span=1.0,
    quality=True,
    functional=ece_of,
    influence=ece_influence,
    convention=_ECE,
)
def ece_of_probabilities(case: Case) -> sparse.csr_array:
    """`ece` for outputs that are probabilities."""
    return _statistics(case, shares(case).max(axis=1))


def _statistics(case: Case, confidence: NDArray[np.float64]) -> sparse.csr_array:
    label, n = case.label(), len(case.outputs)
    right = predicted(case.logits()) == label
    # Bins are open below and closed above: 1 is in the last one.
    bin_of = np.clip(np.ceil(np.nan_to_num(confidence) * BINS) - 1, 0, BINS - 1).astype(np.int64)
    row = np.concatenate([np.arange(n), np.arange(n)])
    column = np.concatenate([bin_of, np.full(n, BINS)])
    value = np.concatenate([confidence - right, np.ones(n)])
    return sparse.csr_array((value, (row, column)), shape=(n, BINS + 1))
