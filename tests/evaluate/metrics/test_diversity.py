import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.errors import PoolError, SettingsError
from calaudit.evaluate import Relevance, concatenate, parse_metric, score
from calaudit.evaluate.metrics.diversity import gini_of
from calaudit.evaluate.metrics.popularity import tail_by_interactions, tail_by_rank


def test_gini_of_equal_exposure_is_0_and_of_one_item_that_takes_all_is_n_minus_1_over_n():
    assert gini_of(np.full(10, 3.0)) == pytest.approx(0.0)
    assert gini_of(np.array([0.0, 0.0, 0.0, 7.0])) == pytest.approx(0.75)


def test_gini_of_the_first_n_numbers_is_the_closed_form():
    # Σ(2i − n − 1)i / (nΣi) = (n − 1)/(3n) for c = 1 … n.
    assert gini_of(np.arange(1.0, 13.0)) == pytest.approx(11 / 36)


@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=20).filter(any))
@settings(max_examples=50, deadline=None)
def test_gini_equals_half_the_relative_mean_difference(counts):
    c = np.array(counts, dtype=float)
    mean_difference = np.abs(c[:, None] - c[None, :]).mean()
    assert gini_of(c) == pytest.approx(mean_difference / (2 * c.mean()))


def test_gini_without_exposure_is_not_defined():
    assert np.isnan(gini_of(np.zeros(3)))


def test_coverage_counts_distinct_items_over_the_whole_catalogue():
    scores = np.array([[3.0, 2, 1, 0, 0], [3, 2, 1, 0, 0], [0, 3, 2, 1, 0]])
    truth = Relevance(np.ones((3, 5)))
    assert score(parse_metric("coverage@2"), scores, truth).value() == pytest.approx(3 / 5)


@pytest.mark.parametrize("name", ["coverage@3", "gini@3", "ndcg@3", "ties_at_cut@3"])
def test_batches_of_queries_join_to_the_whole(name):
    rng = np.random.default_rng(0)
    scores, relevance = rng.integers(0, 6, (20, 8)) * 1.0, rng.integers(0, 2, (20, 8))
    truth, metric = Relevance(relevance), parse_metric(name)
    rows = np.arange(20)
    parts = [
        score(metric, scores[part], truth.take(part)) for part in (rows[:7], rows[7:8], rows[8:])
    ]
    assert concatenate(parts).value() == pytest.approx(score(metric, scores, truth).value())


def test_the_long_tail_share_without_a_tail_says_what_is_missing():
    with pytest.raises(SettingsError, match="long tail") as error:
        score(parse_metric("long_tail_share@2"), np.zeros((1, 3)), Relevance(np.ones((1, 3))))
    assert error.value.problems[0].next_step


def test_the_head_is_the_fewest_most_popular_items_that_hold_80_percent():
    popularity = np.array([1, 50, 30, 4, 15])
    assert tail_by_interactions(popularity).tolist() == [True, False, False, True, True]


def test_a_head_that_holds_exactly_its_share_takes_no_further_item():
    assert tail_by_interactions(np.full(10, 0.1), 0.3).sum() == 7
    assert tail_by_interactions(np.ones(10), 0.8).sum() == 2


def test_of_equally_popular_items_the_earlier_joins_the_head():
    assert tail_by_rank(np.array([5, 9, 5, 5]), 0.5).tolist() == [False, False, True, True]
    assert tail_by_interactions(np.array([1, 1, 1, 1]), 0.5).tolist() == [False, False, True, True]


def test_a_head_by_rank_is_rounded_down():
    assert tail_by_rank(np.arange(1447), 0.2).sum() == 1447 - 289


def test_popularity_that_is_no_count_is_refused():
    with pytest.raises(PoolError, match="negative"):
        tail_by_rank(np.array([1.0, -1.0]))
    with pytest.raises(SettingsError, match="between 0 and 1"):
        tail_by_interactions(np.ones(3), 1.0)
