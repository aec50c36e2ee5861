import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from calaudit.statistics.bounds import clopper_pearson_upper, few_changed, few_changed_in_set
from calaudit.statistics.estimate import Levels
from calaudit.statistics.permutation import signs_of_few, signs_of_whole_numbers
from tests.statistics.cases import drops_of

LEVELS = Levels()


@pytest.mark.parametrize(("found", "n"), [(0, 50), (1, 50), (7, 300), (49, 50), (50, 50)])
def test_the_upper_bound_equals_scipys(found, n):
    theirs = binomtest(found, n).proportion_ci(0.95, "exact").high
    assert clopper_pearson_upper(found, n, 0.025) == pytest.approx(theirs)


def test_no_change_among_n_units_is_the_rule_of_three():
    ends = few_changed((0, 0), 300, 1.0, LEVELS)
    assert ends[3] == pytest.approx(1 - 0.05 ** (1 / 300))
    assert ends[3] == pytest.approx(3 / 300, rel=0.01)
    assert (ends[:2] == [-ends[1], ends[1]]).all()
    found = drops_of(np.zeros(300))
    assert found.ends[:, 0, 0] == pytest.approx(ends)
    assert found.p_value[0, 0] == 1.0


def test_no_change_of_an_unbounded_score_proves_nothing():
    found = drops_of(np.zeros(300), span=None)
    assert np.isinf(found.ends).all()
    assert (found.p_value[0, 0], found.interval[0, 0]) == (1.0, None)


def test_no_change_among_40_clusters_is_no_more_than_among_40_units():
    clusters = np.arange(400) % 40
    assert drops_of(np.zeros(400), clusters=clusters).ends == pytest.approx(
        drops_of(np.zeros(40)).ends
    )


def test_few_changed_clusters_count_as_wholes():
    drops = np.zeros(400)
    drops[[3, 43, 7]] = 0.5  # clusters 3, 3 and 7
    found = drops_of(drops, clusters=np.arange(400) % 40)
    assert found.interval[0, 0] == "clopper-pearson"
    assert found.ends[3, 0, 0] == pytest.approx(clopper_pearson_upper(2, 40, 0.05))


def test_all_the_same_drop_is_not_taken_for_certain():
    found = drops_of(np.full(100, 0.25))
    low, high = found.ends[:2, 0, 0]
    assert 0.1 < low < 0.25 < high
    assert found.p_value[0, 0] == 0.5**100
    assert drops_of(np.full(100, 0.25), margin=0.3).p_value[0, 0] == 1.0


def test_the_p_value_is_that_of_all_sign_flips():
    changed = np.array([0.5, 0.3, -0.1, 0.2, 0.05])
    flips = [sum(s * abs(changed)) for s in itertools.product((-1, 1), repeat=5)]
    exact = np.mean([total >= changed.sum() - 1e-12 for total in flips])
    drops = np.concatenate([np.zeros(60), changed])
    assert signs_of_few(drops) == pytest.approx(exact)
    assert drops_of(drops).p_value[0, 0] == pytest.approx(exact)


def test_sign_flips_of_whole_numbers_are_counted_exactly():
    rng = np.random.default_rng(0)
    for _ in range(20):
        drops = rng.integers(-4, 5, 11).astype(float)
        sums = [np.dot(s, np.abs(drops)) for s in itertools.product((-1, 1), repeat=11)]
        exact = np.mean([total >= drops.sum() for total in sums])
        assert signs_of_whole_numbers(drops) == pytest.approx(exact)


def test_equal_losses_give_mcnemars_p_value():
    drops = np.concatenate([np.ones(7), -np.ones(2), np.zeros(90)])
    theirs = binomtest(7, 9, 0.5, "greater").pvalue
    assert signs_of_few(drops) == pytest.approx(theirs)
    assert signs_of_whole_numbers(drops) == pytest.approx(theirs)


def test_where_every_sign_agrees_another_tests_p_value_may_be_smaller():
    assert signs_of_whole_numbers(np.full(6, 20.0)) == pytest.approx(0.5**6)
    assert signs_of_whole_numbers(np.full(6, 20.0), beyond=1e-4) == 1e-4
    assert signs_of_whole_numbers(np.array([9.0, -1.0]), beyond=1e-4) == pytest.approx(0.5)


def test_no_unit_at_all_bounds_nothing():
    assert np.isinf(few_changed((0, 0), 0, 1.0, LEVELS)).all()


@pytest.mark.parametrize(("n_changed", "method"), [(19, "clopper-pearson"), (20, "bootstrap-t")])
def test_below_20_changed_units_counts_decide(n_changed, method):
    drops = np.zeros(400)
    drops[:n_changed] = np.linspace(0.1, 0.5, n_changed)
    found = drops_of(drops)
    assert found.interval[0, 0] == method
    assert found.n_changed[0, 0] == n_changed


def test_rounding_is_no_change():
    assert drops_of(np.full(400, 1e-10)).n_changed[0, 0] == 0


def test_a_set_moves_by_no_more_than_its_changed_units_can():
    ends = few_changed_in_set(0.0, 0, 300, influence=2 / 300, levels=LEVELS)
    assert ends[3] == pytest.approx(2 * (1 - 0.05 ** (1 / 300)))
    assert ends[2] == -ends[3]
