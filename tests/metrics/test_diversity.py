import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.diversity import entropy_of, gini_of
from calaudit.metrics.popularity import tail_by_interactions, tail_by_rank
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Relevance
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import PoolError, SettingsError
from tests.metrics.ranked import orders, tied_case, values


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


def shown_to(scores, **columns):
    return Relevance(np.ones(np.shape(scores)), **columns)


def plain_diversity(order, vectors, k):
    unit = vectors / np.where((n := np.linalg.norm(vectors, axis=1)) == 0, 1, n)[:, None]
    pairs = list(itertools.combinations(order[:k], 2))
    return np.mean([1 - unit[a] @ unit[b] for a, b in pairs]) if pairs else np.nan


@pytest.mark.parametrize("seed", range(4))
def test_intra_list_diversity_is_the_mean_over_all_orders_of_the_ties(seed):
    scores, truth = tied_case(seed, items=7)
    vectors = np.random.default_rng(seed).normal(size=(7, 3))
    vectors[2] = 0.0
    truth = Relevance(truth.relevance, truth.exclude, vectors=vectors)
    for k in (2, 3, 5):
        found = values(f"intra_list_diversity@{k}", scores, truth)
        for query in range(len(scores)):
            every = [
                plain_diversity(order, vectors, k)
                for order in orders(scores[query], truth.exclude[query])
            ]
            assert found[query] == pytest.approx(np.mean(every), nan_ok=True)


def test_intra_list_diversity_of_equal_opposite_and_orthogonal_items_is_known():
    truth = shown_to(np.ones((1, 4)), vectors=np.array([[1.0, 0], [2, 0], [-1, 0], [0, 3]]))
    diversity = {
        items: values("intra_list_diversity@2", np.isin(np.arange(4), items)[None, :] * 1.0, truth)[
            0
        ]
        for items in ((0, 1), (0, 2), (0, 3))
    }
    assert diversity == pytest.approx({(0, 1): 0.0, (0, 2): 2.0, (0, 3): 1.0})
    assert np.isnan(values("intra_list_diversity@1", np.ones((1, 4)), truth)).all()


def test_exposure_entropy_equals_scipys_and_lies_between_0_and_the_catalogues():
    rng = np.random.default_rng(0)
    totals = rng.integers(0, 9, 50) * 1.0
    assert entropy_of(totals) == pytest.approx(stats.entropy(totals, base=2))
    assert entropy_of(np.eye(4)[0] * 7) == pytest.approx(0.0)
    assert entropy_of(np.full(16, 3.0)) == pytest.approx(4.0)
    assert np.isnan(entropy_of(np.zeros(3)))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), k=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_changed_query_moves_a_set_metric_no_more_than_its_influence(seed, n, k):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 5, (n, 6)) * 1.0
    after = before.copy()
    after[0] = rng.permutation(before[0])
    truth = shown_to(before)
    for family in ("coverage", "gini", "exposure_entropy"):
        one, other = (score(parse_metric(f"{family}@{k}"), s, truth) for s in (before, after))
        most = one.statistics.most(np.arange(n))(n)
        assert abs(one.value() - other.value()) <= most + 1e-9


def test_average_popularity_novelty_and_lift_are_worked_out_by_hand():
    popularity = np.array([8.0, 4, 2, 1, 1])
    fp32 = np.array([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
    int8 = np.array([[5.0, 4, 3, 2, 1], [5, 4, 3, 2, 1]])
    truth = shown_to(fp32, popularity=popularity)
    assert values("arp@2", fp32, truth) == pytest.approx([6, 1])
    assert values("novelty@2", fp32, truth) == pytest.approx([(1 + 2) / 2, 4])
    lift = score(parse_metric("popularity_lift@2"), int8, truth, fp32)
    assert lift.value() == pytest.approx((6 + 6) / (6 + 1) - 1)
    assert score(parse_metric("popularity_lift@2"), fp32, truth, fp32).value() == 0
    assert not parse_metric("popularity_lift@2").is_agreement


def test_a_tie_at_the_cut_shows_the_mean_popularity_of_its_items():
    truth = shown_to(np.ones((1, 4)), popularity=np.array([8.0, 0, 2, 2]))
    assert values("arp@1", np.zeros((1, 4)), truth) == pytest.approx([3])
    # An item without interactions counts as one with a single one.
    assert values("novelty@1", np.array([[0.0, 1, 0, 0]]), truth) == pytest.approx([np.log2(12)])


def test_popularity_metrics_without_popularity_say_what_is_missing():
    for name in ("arp@2", "novelty@2", "intra_list_diversity@2", "genre_calibration@2"):
        with pytest.raises(SettingsError, match="needs") as error:
            score(parse_metric(name), np.ones((1, 3)), shown_to(np.ones((1, 3))))
        assert error.value.problems[0].next_step


GENRES = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)


def test_genre_calibration_is_stecks_divergence():
    history = np.array([[True, True, False, False, False]])
    truth = shown_to(np.ones((1, 5)), genres=GENRES, history=history)
    scores = np.array([[0.0, 2, 3, 1, 0]])  # shows items 2 and 1
    p, q = np.array([0.75, 0.25, 0]), np.array([0.25, 0.75, 0])
    expected = special.rel_entr(p, 0.99 * q + 0.01 * p).sum()
    assert values("genre_calibration@2", scores, truth) == pytest.approx([expected])
    mirrored = np.array([[2.0, 3, 0, 0, 0]])
    assert values("genre_calibration@2", mirrored, truth) == pytest.approx([0.0])


def test_a_list_without_the_users_genres_has_the_largest_divergence():
    truth = shown_to(
        np.ones((3, 5)), genres=GENRES, history=np.array([[1, 0, 0, 0, 0]] * 2 + [[0] * 5])
    )
    scores = np.array([[0.0, 0, 0, 9, 0], [0, 0, 0, 0, 9], [0, 0, 0, 9, 0]])
    found = values("genre_calibration@1", scores, truth)
    most = parse_metric("genre_calibration@1").span
    assert found == pytest.approx([most, most, np.nan], nan_ok=True)
    assert most == pytest.approx(-np.log(0.01))


@pytest.mark.parametrize(
    "name",
    ["arp@2", "novelty@2", "intra_list_diversity@2", "genre_calibration@2", "long_tail_share@2"],
)
def test_constant_and_masked_scores_show_every_item_alike_and_no_queries_give_no_scores(name):
    rng = np.random.default_rng(0)
    truth = Relevance(
        np.zeros((2, 5)),
        popularity=rng.integers(1, 9, 5) * 1.0,
        tail=np.arange(5) > 2,
        vectors=rng.normal(size=(5, 2)),
        genres=GENRES,
        history=np.ones((2, 5), dtype=bool),
    )
    scores = np.stack([np.zeros(5), np.full(5, -np.inf)])
    found = values(name, scores, truth)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(found[1])
    assert values(name, scores[:0], truth.take(np.arange(0))).shape == (0,)
    hidden = Relevance(
        truth.relevance, np.ones((2, 5), dtype=bool), truth.popularity, truth.tail,
        truth.vectors, truth.genres, truth.history,
    )  # fmt: skip
    nothing = values(name, scores, hidden)
    if name == "genre_calibration@2":
        assert nothing == pytest.approx([parse_metric(name).span] * 2)
    else:
        assert np.isnan(nothing).all()
