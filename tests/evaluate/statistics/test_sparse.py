import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from calaudit.evaluate.statistics.interval import Levels
from calaudit.evaluate.statistics.mean import compare_means
from calaudit.evaluate.statistics.sparse import (
    clopper_pearson_upper,
    few_changed,
    few_changed_in_set,
)

LEVELS = Levels()


@pytest.mark.parametrize(("found", "n"), [(0, 50), (1, 50), (7, 300), (49, 50), (50, 50)])
def test_the_upper_bound_equals_scipys(found, n):
    theirs = binomtest(found, n).proportion_ci(0.95, "exact").high
    assert clopper_pearson_upper(found, n, 0.025) == pytest.approx(theirs)


def test_no_change_among_n_units_is_the_rule_of_three():
    ends, p_value = few_changed(np.zeros(300), 1.0, LEVELS, 0.0)
    assert ends[3] == pytest.approx(1 - 0.05 ** (1 / 300))
    assert ends[3] == pytest.approx(3 / 300, rel=0.01)
    assert (ends[:2] == [-ends[1], ends[1]]).all()
    assert p_value == 1.0


def test_no_change_of_an_unbounded_score_proves_nothing():
    ends, p_value = few_changed(np.zeros(300), None, LEVELS, 0.0)
    assert np.isinf(ends).all()
    assert p_value == 1.0


def test_all_the_same_drop_is_not_taken_for_certain():
    ends, p_value = few_changed(np.full(100, 0.2), 1.0, LEVELS, 0.0)
    assert ends[0] < 0.2 < ends[1]
    assert ends[0] > 0.1
    assert p_value == 0.5**100
    assert few_changed(np.full(100, 0.2), 1.0, LEVELS, 0.3)[1] == 1.0


def test_the_p_value_is_that_of_all_sign_flips():
    changed = np.array([0.5, 0.3, -0.1, 0.2, 0.05])
    flips = [sum(s * abs(changed)) for s in itertools.product((-1, 1), repeat=5)]
    exact = np.mean([total >= changed.sum() - 1e-12 for total in flips])
    drops = np.concatenate([np.zeros(60), changed])
    assert few_changed(drops, 1.0, LEVELS, 0.0)[1] == pytest.approx(exact)


def test_equal_losses_give_mcnemars_p_value():
    drops = np.concatenate([np.ones(7), -np.ones(2), np.zeros(90)])
    assert few_changed(drops, 1.0, LEVELS, 0.0)[1] == pytest.approx(
        binomtest(7, 9, 0.5, "greater").pvalue
    )


def test_no_unit_at_all_bounds_nothing():
    assert np.isinf(few_changed(np.array([]), 1.0, LEVELS, 0.0)[0]).all()


@pytest.mark.parametrize(("n_changed", "method"), [(19, "clopper-pearson"), (20, "bootstrap-t")])
def test_below_20_changed_units_counts_decide(n_changed, method):
    drops = np.zeros((1, 400))
    drops[0, :n_changed] = np.linspace(0.1, 0.5, n_changed)
    found = compare_means(drops, np.arange(400), key="", span=1.0, levels=LEVELS)
    assert found.interval == (method,)
    assert found.n_changed.tolist() == [n_changed]


def test_rounding_is_no_change():
    drops = np.full((1, 400), 1e-16)
    found = compare_means(drops, np.arange(400), key="", span=1.0, levels=LEVELS)
    assert found.n_changed.tolist() == [0]


def test_a_set_moves_by_no_more_than_its_changed_units_can():
    ends = few_changed_in_set(0.0, 0, 300, influence=2 / 300, levels=LEVELS)
    assert ends[3] == pytest.approx(2 * (1 - 0.05 ** (1 / 300)))
    assert ends[2] == -ends[3]
