"""A planted order of the classes is found; none is where there is none to find."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from calaudit.statistics.baselines import find_class_order


def test_names_that_are_sorted_otherwise_are_found_with_each_class_that_moved() -> None:
    x, digit = load_digits(return_X_y=True)
    answer = LogisticRegression(max_iter=200).fit(x[:900], digit[:900]).predict(x[900:])
    assert find_class_order(digit[900:], answer) is None
    order = np.array([0, 1, 2, 3, 4, 8, 7, 5, 9, 6])
    found = find_class_order(order[digit[900:]], answer)
    assert found is not None
    assert dict(found.meant) == {output: true for output, true in enumerate(order) if output > 4}
    assert found.right_so == pytest.approx(accuracy_score(digit[900:], answer), abs=0.04)
    assert found.right < found.right_so - 0.3


def test_two_classes_the_wrong_way_round_are_found() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 400)
    answer = np.where(rng.random(400) < 0.8, 1 - label, label)
    found = find_class_order(label, answer)
    assert found is not None
    assert set(found.meant) == {(0, 1), (1, 0)}


@pytest.mark.parametrize("classes", [2, 10, 300])
@pytest.mark.parametrize("skew", [0.0, 1.5])
def test_answers_that_know_nothing_have_no_order(classes: int, skew: float) -> None:
    rng = np.random.default_rng(1)
    common = np.arange(1, classes + 1.0) ** -skew
    for n in (60, 1000, 4000):
        for _ in range(20):
            label = rng.choice(classes, n, p=common / common.sum())
            answer = rng.choice(classes, n, p=common[::-1] / common.sum())
            assert find_class_order(label, answer) is None


def test_one_cluster_that_is_answered_alike_is_no_order() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(12), 100)
    for _ in range(50):
        label, answer = rng.integers(0, 3, (2, 12))
        assert find_class_order(label[clusters], answer[clusters], clusters) is None


def test_nothing_to_look_at_is_no_order() -> None:
    none = np.array([], dtype=np.int64)
    assert find_class_order(none, none) is None
    assert find_class_order(np.array([1]), np.array([0])) is None
