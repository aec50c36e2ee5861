"""Metrics that calaudit doesn't have: a plain one, one with a cut, and one of whole sets."""

import numpy as np
from scipy.special import softmax

from calaudit.metrics.base import metric
from calaudit.metrics.division import divide
from calaudit.metrics.truth import Labels, Relevance


@metric("mean", higher_is_better=False, span=2.0, needs=Labels, synonyms="quadratic score")
def brier(outputs, target):
    """Squared distance of the softmax from the label's one-hot vector, mean over samples."""
    shares = softmax(outputs, axis=1)
    return ((shares - np.eye(outputs.shape[1])[target]) ** 2).sum(axis=1)


@metric("binary", title="Hit rate@{k}", needs=Relevance)
def hit_rate(outputs, target, exclude, k):
    """Share of queries with a relevant item in the top k; of ties the lowest item."""
    hidden = np.zeros(outputs.shape, bool) if exclude is None else exclude
    order = np.argsort(-np.where(hidden, -np.inf, outputs), axis=1, kind="stable")[:, :k]
    relevant = (target > 0) & ~hidden
    return np.take_along_axis(relevant, order, axis=1).any(axis=1)


def kappa_of(totals):
    """Cohen's kappa of summed counts (…, 1 + 2·classes): right answers, labels, answers."""
    label, answer = np.split(totals[..., 1:], 2, axis=-1)
    n = label.sum(axis=-1)
    right = divide(totals[..., 0], n, np.nan)
    chance = divide((label * answer).sum(axis=-1), n**2, np.nan)
    return divide(right - chance, 1.0 - chance, np.nan)


@metric("set", unit="index", needs=Labels, functional=kappa_of)
def kappa(outputs, target):
    """Cohen's kappa: what right answers exceed chance by, over what they could."""
    answer, classes = outputs.argmax(axis=1), np.eye(outputs.shape[1])
    return np.concatenate(
        [(answer == target)[:, None], classes[target], classes[answer]], axis=1
    ).astype(np.float64)
