"""Classification metrics.

Tied logits are resolved as deployed code does (`argmax` and ONNX ArgMax): the lowest class wins.
`topk_bounds` says what other orders would give. A sample whose true class scores NaN is wrong.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.errors import SettingsError
from calaudit.evaluate.division import divide
from calaudit.evaluate.metrics.case import Case


def topk(case: Case, k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the k highest logits, (n,)."""
    logits, true, usable = _true_logit(case, k)
    above = (logits > true).sum(axis=1)
    earlier = np.arange(logits.shape[1]) < case.label()[:, None]
    level = ((logits == true) & earlier).sum(axis=1)
    return np.asarray((above + level < k) & usable)


def topk_bounds(case: Case, k: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`topk` with every tie broken (against, for) the true class."""
    logits, true, usable = _true_logit(case, k)
    above = (logits > true).sum(axis=1)
    level = (logits == true).sum(axis=1)
    return (above + level <= k) & usable, (above < k) & usable


def nll(case: Case) -> NDArray[np.float64]:
    """−log softmax(logits)[true class] in nats, (n,); NaN where the outputs aren't finite."""
    logits = case.logits().astype(np.float64)
    rows = np.arange(len(logits))
    finite = np.asarray(np.isfinite(logits).all(axis=1))
    shifted = np.where(finite[:, None], logits, 0.0)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, case.label()]
    return np.where(finite, loss, np.nan)


def nll_of_probabilities(case: Case) -> NDArray[np.float64]:
    """−log p[true class] in nats for outputs that are probabilities, (n,).

    p is divided by its sum, and kept above the smallest normal float32 (as a loss of infinity
    would make every mean infinite). NaN where the outputs aren't finite.
    """
    given = case.logits().astype(np.float64)
    finite = np.asarray(np.isfinite(given).all(axis=1))
    if (given[finite] < 0).any():
        raise SettingsError(
            "nll_of_probabilities got negative outputs",
            next_step="Use nll, which takes logits.",
        )
    whole = given.sum(axis=1)
    true = given[np.arange(len(given)), case.label()]
    share = divide(true, np.where(finite, whole, 0.0), 0.0)
    return np.where(finite, -np.log(np.maximum(share, np.finfo(np.float32).tiny)), np.nan)


def balanced_accuracy(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 2·classes): 1 for its class, then 1 if it is right."""
    label, n_classes = case.label(), case.logits().shape[1]
    right = np.flatnonzero(topk(case, 1)) if n_classes > 1 else np.arange(len(label))
    row = np.concatenate([np.arange(len(label)), right])
    column = np.concatenate([label, label[right] + n_classes])
    shape = (len(label), 2 * n_classes)
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=shape)


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


def predicted(logits: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) the class with the highest logit, the lowest of tied ones; −1 where all are NaN."""
    winner = np.where(np.isnan(logits), -np.inf, logits).argmax(axis=1)
    return np.where(np.isnan(logits).all(axis=1), -1, winner).astype(np.int64)


def _true_logit(case: Case, k: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    logits, label = case.logits(), case.label()
    if k >= logits.shape[1]:
        raise SettingsError(
            f"top{k} is always right: the model scores {logits.shape[1]} classes",
            next_step="Choose a smaller k.",
        )
    true = logits[np.arange(len(label)), label][:, None]
    return logits, true, ~np.isnan(true[:, 0])
