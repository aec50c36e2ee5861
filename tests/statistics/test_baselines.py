"""Whom FP32 must beat: planted skill is found, its absence isn't mistaken for it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from calaudit.metrics.case import Case
from calaudit.metrics.truth import Labels, Relevance, Texts, Truth, Values
from calaudit.statistics.baselines import LEVEL, Rival, is_constant, is_positive
from calaudit.tasks.base import Task
from calaudit.tasks.classification import Classification
from calaudit.tasks.ranking import Ranking
from calaudit.tasks.regression import Regression
from calaudit.tasks.sequence import SequenceTask


def rivals_of(case: Case) -> list[Rival]:
    kinds: dict[type, Task] = {
        Labels: Classification(),
        Values: Regression(),
        Texts: SequenceTask(vocabulary=("a",)),
        Relevance: Ranking(),
    }
    return kinds[type(case.truth)].rivals(case, 10)


def beaten(outputs: NDArray, truth: Truth, clusters: NDArray | None = None) -> list[bool]:
    return [rival.beaten(clusters) for rival in rivals_of(Case(outputs, truth, outputs))]


def logits(answer: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[answer]


def test_the_gain_over_dealt_answers_is_the_numerator_of_kappa() -> None:
    rng = np.random.default_rng(0)
    label, answer = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    answer[:100] = label[:100]
    outputs = logits(answer, 5)
    chance = rivals_of(Case(outputs, Labels(label), outputs))[0]
    expected = np.bincount(label) / 400 @ (np.bincount(answer) / 400)
    kappa = cohen_kappa_score(label, answer)
    assert np.nanmean(chance.gains[0]) == pytest.approx(kappa * (1 - expected))


def test_a_mean_is_tested_as_scipy_does() -> None:
    rng = np.random.default_rng(1)
    for shift in np.linspace(-0.1, 0.8, 31):
        gain = rng.normal(size=60) + shift
        p = stats.ttest_1samp(gain, 0, alternative="greater").pvalue
        assert is_positive(gain, None) == (p < 1 - LEVEL)


def test_clusters_count_once() -> None:
    rng = np.random.default_rng(2)
    small = rng.normal(size=12) + 0.3
    clusters = np.repeat(np.arange(12), 500)
    assert is_positive(np.repeat(small, 500), clusters) == is_positive(small, None)


def test_random_answers_seldom_pass_for_skill() -> None:
    rng = np.random.default_rng(3)
    runs = [
        beaten(rng.normal(size=(200, 10)).astype(np.float32), Labels(rng.integers(0, 10, 200)))[0]
        for _ in range(2000)
    ]
    assert stats.binomtest(sum(runs), 2000, 0.001, alternative="greater").pvalue > 0.001


def test_a_good_detector_of_a_rare_class_knows_something_though_silence_is_right_more_often() -> (
    None
):
    rng = np.random.default_rng(4)
    label = (rng.random(4000) < 0.03).astype(np.int64)
    answer = np.where(rng.random(4000) < np.where(label == 1, 0.9, 0.05), 1, 0)
    assert (answer == label).mean() < 1 - label.mean()
    assert beaten(logits(answer, 2), Labels(label)) == [True, False]


def test_always_the_commonest_class_is_no_skill() -> None:
    label = np.array([0] * 900 + [1] * 100)
    assert beaten(logits(np.zeros(1000, np.int64), 2), Labels(label)) == [False, False]


def test_perfect_answers_are_skill_however_few() -> None:
    label = np.arange(30) % 3
    assert beaten(logits(label, 3), Labels(label)) == [True, True]


@pytest.mark.parametrize(("noise", "better"), [(0.5, True), (np.inf, False)])
def test_values_must_beat_their_mean(noise: float, better: bool) -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=(300, 2)) + 50
    given = rng.normal(size=(300, 2)) if np.isinf(noise) else y + noise * rng.normal(size=(300, 2))
    assert beaten(given, Values(y)) == [better]


def test_the_mean_itself_and_the_median_itself_are_no_skill() -> None:
    y = np.random.default_rng(6).lognormal(size=(500, 1))
    for constant in (y.mean(), np.median(y)):
        assert beaten(np.full((500, 1), constant), Values(y)) == [False]


@pytest.mark.parametrize(
    ("said", "better"),
    [(["a b c", "d e"], True), (["", ""], False), (["x y z u v", "w w w w"], False)],
)
def test_texts_must_beat_silence(said: list[str], better: bool) -> None:
    true = Texts(np.array(["a b c", "d e"] * 20))
    outputs = np.array(said * 20, dtype=object)
    assert beaten(outputs, true) == [better]


def test_a_ranker_must_beat_chance_and_is_held_against_popularity() -> None:
    rng = np.random.default_rng(7)
    popularity = np.arange(100.0)[::-1].copy()
    relevance = (rng.random((200, 100)) < popularity / 1000).astype(np.uint8)
    relevance[:, 0] |= 1
    truth = Relevance(relevance, popularity=popularity)
    noise = rng.random((200, 100))
    assert beaten(noise, truth) == [False, False]
    assert beaten(relevance + 0.5 * noise, truth) == [True, True]
    assert beaten(np.tile(popularity, (200, 1)) + 1e-3 * noise, truth) == [True, False]


def test_popularity_counted_from_what_is_judged_is_no_rival() -> None:
    relevance = (np.random.default_rng(8).random((50, 20)) < 0.2).astype(np.uint8)
    truth = Relevance(relevance, popularity=relevance.sum(axis=0, dtype=np.float64))
    assert len(beaten(relevance.astype(np.float64), truth)) == 1


def test_outputs_that_do_not_vary_are_told_from_those_that_do() -> None:
    same = np.full((40, 3), 1e6, np.float32)
    assert is_constant(same)
    assert is_constant(np.vstack([same, np.full((1, 3), np.nan, np.float32)]))
    same[7, 1] += 100
    assert not is_constant(same)
    assert not is_constant(same[:1])
    assert is_constant(np.zeros((5, 2)))
    assert is_constant(np.array(["a", "a"], dtype=object))
