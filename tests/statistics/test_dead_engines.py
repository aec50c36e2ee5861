"""An engine that answers nothing any more has regressed, by every metric, in any clusters."""

import numpy as np
import pytest

from calaudit.metrics.truth import Labels, Relevance, Texts, Values
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare
from calaudit.statistics.verdict import judge
from tests.metrics.every_metric import scored
from tests.statistics.cases import comparison

N = 400
FAMILY = 640
"""Gated comparisons of the audit, all others harmless."""


def classes(spared):
    label = np.arange(N) % 4
    right = 8.0 * np.eye(4)[label]
    dead = np.roll(right, 1, axis=1)
    dead[:spared] = right[:spared]
    return Labels(label), right, dead


def lists(spared):
    relevance = np.eye(20, dtype=np.uint8)[np.arange(N) % 20]
    right = relevance.astype(float) - 0.01 * np.arange(20)
    dead = -right
    dead[:spared] = right[:spared]
    return Relevance(relevance), right, dead


def values(spared):
    target = np.linspace(1.0, 2.0, N)[:, None]
    dead = np.zeros_like(target)
    dead[:spared] = target[:spared]
    return Values(target), target, dead


def texts(spared):
    true = np.array(["one two three"] * N, dtype=object)
    dead = np.array([""] * N, dtype=object)
    dead[:spared] = true[:spared]
    return Texts(true), true, dead


@pytest.mark.parametrize("clusters", [None, 40, 6])
@pytest.mark.parametrize("spared", [0, 3])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("top1", classes),
        ("nll", classes),
        ("balanced_accuracy", classes),
        ("macro_f1", classes),
        ("ece", classes),
        ("cosine", classes),
        ("top1_agreement", classes),
        ("recall@1", lists),
        ("ndcg@10", lists),
        ("kendall", lists),
        ("mae", values),
        ("mse", values),
        ("rmse", values),
        ("r2", values),
        ("wer", texts),
        ("exact_match", texts),
    ],
)
def test_a_dead_engine_regresses_among_hundreds_of_comparisons(name, made, spared, clusters):
    truth, right, dead = made(spared)
    before, after = scored(name, right, dead, truth)
    code = None if clusters is None else np.arange(N) % clusters
    found = compare(
        before.metric, before, {"c": after}, {"s": np.arange(N)}, max_drop=0.05, clusters=code
    )
    others = [comparison(slice=str(i), p_value=0.9, one_sided_high=0.01) for i in range(FAMILY - 1)]
    judged, *rest = judge([*found, *others])
    assert judged.verdict is Verdict.REGRESSED
    assert {one.verdict for one in rest} == {Verdict.PASS}
