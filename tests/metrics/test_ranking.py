import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score, tie_bounds
from calaudit.metrics.truth import Relevance
from calaudit.metrics.unit_scores import UnitScores
from calaudit.tasks.pairwise import from_pairs
from tests.metrics.ranked import orders, tied_case, values

RANKING = ["ndcg@3", "ndcg_exp@3", "recall@3", "long_tail_share@3", "ties_at_cut@3"]
SETS = ["coverage@3", "gini@3"]


def plain_ndcg(order, gain, k, exclude):
    dcg = sum(gain[item] / np.log2(place + 2) for place, item in enumerate(order[:k]))
    best = sorted((gain[i] for i in range(len(gain)) if not exclude[i]), reverse=True)[:k]
    ideal = sum(g / np.log2(place + 2) for place, g in enumerate(best))
    return dcg / ideal if ideal else np.nan


def plain_metrics(order, query, truth, k):
    gain = truth.relevance[query].astype(float)
    exclude = truth.exclude[query]
    relevant = [i for i in range(len(gain)) if gain[i] > 0 and not exclude[i]]
    return {
        "ndcg": plain_ndcg(order, gain, k, exclude),
        "ndcg_exp": plain_ndcg(order, 2.0**gain - 1, k, exclude),
        "recall": len(set(order[:k]) & set(relevant)) / len(relevant) if relevant else np.nan,
        "long_tail_share": np.mean(truth.tail[order[:k]]) if order else np.nan,
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_the_mean_over_all_orders_of_the_ties_and_within_their_extremes(seed):
    scores, truth = tied_case(seed, items=7)
    for query in range(len(scores)):
        found = [
            plain_metrics(order, query, truth, 3)
            for order in orders(scores[query], truth.exclude[query])
        ]
        for family in ("ndcg", "ndcg_exp", "recall", "long_tail_share"):
            all_orders = np.array([one[family] for one in found])
            metric = parse_metric(f"{family}@3")
            bounds = tie_bounds(metric, scores, truth)
            assert values(metric.name, scores, truth)[query] == pytest.approx(
                all_orders.mean(), nan_ok=True
            )
            assert bounds.worst.values[query] == pytest.approx(all_orders.min(), nan_ok=True)
            assert bounds.best.values[query] == pytest.approx(all_orders.max(), nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_coverage_is_the_mean_over_all_orders_of_all_queries(seed):
    scores, truth = tied_case(seed, queries=2, items=6, levels=3)
    both = [list(orders(s, e)) for s, e in zip(scores, truth.exclude, strict=True)]
    seen = [
        len({item for order in pair for item in order[:3]}) / 6 for pair in itertools.product(*both)
    ]
    assert score(parse_metric("coverage@3"), scores, truth).value() == pytest.approx(np.mean(seen))


@pytest.mark.parametrize("k", [1, 5, 10, 40])
@pytest.mark.parametrize("levels", [3, 50, 10**6])
def test_ndcg_equals_scikit_learn_also_on_tied_scores(k, levels):
    rng = np.random.default_rng(k + levels)
    scores = rng.integers(0, levels, (30, 25)).astype(float)
    relevance = rng.integers(0, 5, (30, 25)) * (rng.random((30, 25)) < 0.4)
    ours = values(f"ndcg@{k}", scores, Relevance(relevance))
    theirs = [ndcg_score(relevance[q : q + 1], scores[q : q + 1], k=k) for q in range(30)]
    assert np.allclose(ours, theirs, atol=1e-12)


def test_ndcg_and_recall_equal_ir_measures_on_untied_scores():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ir_measures = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(7)
    scores = rng.permuted(np.tile(np.arange(30.0), (12, 1)), axis=1)
    relevance = rng.integers(0, 3, (12, 30)) * (rng.random((12, 30)) < 0.3)
    relevance[:, 0] = 1
    qrels = [
        ir_measures.Qrel(str(q), str(i), int(relevance[q, i])) for q in range(12) for i in range(30)
    ]
    run = [
        ir_measures.ScoredDoc(str(q), str(i), float(scores[q, i]))
        for q in range(12)
        for i in range(30)
    ]
    theirs = {
        (str(one.measure), int(one.query_id)): one.value
        for one in ir_measures.iter_calc([ir_measures.nDCG @ 10, ir_measures.R @ 10], qrels, run)
    }
    truth = Relevance(relevance)
    ndcg, recall = values("ndcg@10", scores, truth), values("recall@10", scores, truth)
    for query in range(12):
        assert ndcg[query] == pytest.approx(theirs["nDCG@10", query])
        assert recall[query] == pytest.approx(theirs["R@10", query])


def test_excluded_items_are_never_shown_and_do_not_count_as_relevant():
    scores = np.array([[9.0, 8.0, 1.0, 0.0]])
    truth = Relevance(np.array([[1, 0, 1, 0]]), np.array([[True, False, False, False]]))
    assert values("ndcg@1", scores, truth) == pytest.approx([0.0])
    assert values("recall@2", scores, truth) == pytest.approx([1.0])


def test_a_list_shorter_than_k_shows_all_that_is_eligible():
    scores = np.array([[3.0, 2.0, 1.0, 0.0]])
    truth = Relevance(
        np.array([[1, 1, 0, 0]]),
        np.array([[False, False, True, True]]),
        tail=np.array([False, True, True, True]),
    )
    assert values("recall@3", scores, truth) == pytest.approx([1.0])
    assert values("long_tail_share@3", scores, truth) == pytest.approx([0.5])
    assert not values("ties_at_cut@3", scores, truth)[0]
    assert score(parse_metric("coverage@3"), scores, truth).value() == pytest.approx(0.5)


def test_a_query_with_nothing_to_show_or_nothing_relevant_is_left_out():
    scores = np.zeros((2, 3))
    truth = Relevance(
        np.array([[1, 1, 1], [0, 0, 0]]),
        np.array([[True] * 3, [False] * 3]),
        tail=np.array([True, False, False]),
    )
    assert np.isnan(values("ndcg@2", scores, truth)).all()
    assert np.isnan(values("recall@2", scores, truth)).all()
    share = score(parse_metric("long_tail_share@2"), scores, truth)
    assert share.n_left_out() == 1
    assert share.value() == pytest.approx(1 / 3)


def test_constant_scores_show_every_item_alike():
    truth = Relevance(np.eye(4), tail=np.array([True, False, False, False]))
    scores = np.zeros((4, 4), dtype=np.float32)
    assert values("recall@2", scores, truth) == pytest.approx([0.5] * 4)
    assert values("ties_at_cut@2", scores, truth).all()
    assert score(parse_metric("gini@2"), scores, truth).value() == pytest.approx(0)
    assert score(parse_metric("coverage@2"), scores, truth).value() == pytest.approx(1 - 0.5**4)


def test_minus_infinity_ranks_last_but_can_be_shown():
    scores = np.array([[-np.inf, 1.0, -np.inf, 0.0]], dtype=np.float32)
    truth = Relevance(np.array([[1, 0, 1, 0]]))
    assert values("recall@2", scores, truth) == pytest.approx([0.0])
    assert values("recall@3", scores, truth) == pytest.approx([0.25 + 0.25])
    assert values("recall@4", scores, truth) == pytest.approx([1.0])


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 1000]))
@settings(max_examples=25, deadline=None)
def test_a_monotone_transformation_of_the_scores_changes_nothing(seed, levels):
    scores, truth = tied_case(seed, levels=levels)
    for name in (*RANKING, *SETS):
        metric = parse_metric(name)
        plain = score(metric, scores, truth)
        bent = score(metric, np.arctan(scores.astype(np.float64)) * 3 - 1, truth)
        assert plain.value() == pytest.approx(bent.value(), nan_ok=True)
        if isinstance(plain, UnitScores):
            assert np.allclose(plain.values, bent.values, equal_nan=True)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_order_of_queries_and_of_items_changes_nothing(seed):
    scores, truth = tied_case(seed)
    rng = np.random.default_rng(seed + 1)
    queries, items = rng.permutation(6), rng.permutation(9)
    shuffled = Relevance(
        truth.relevance[queries][:, items], truth.exclude[queries][:, items], tail=truth.tail[items]
    )
    for name in (*RANKING, *SETS):
        metric = parse_metric(name)
        plain = score(metric, scores, truth)
        other = score(metric, scores[queries][:, items], shuffled)
        assert plain.value() == pytest.approx(other.value(), nan_ok=True)
        if isinstance(plain, UnitScores):
            assert np.allclose(plain.values[queries], other.values, equal_nan=True)


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 4, 50]))
@settings(max_examples=25, deadline=None)
def test_the_expected_value_lies_between_its_bounds(seed, levels):
    scores, truth = tied_case(seed, levels=levels)
    reference = np.random.default_rng(seed).integers(0, 5, scores.shape).astype(np.float32)
    for name in ("ndcg@3", "ndcg_exp@3", "recall@3", "long_tail_share@3", "overlap@3"):
        metric = parse_metric(name)
        bounds = tie_bounds(metric, scores, truth, reference)
        expected = values(name, scores, truth, reference)
        kept = ~np.isnan(expected)
        assert (bounds.worst.values[kept] <= expected[kept] + 1e-12).all()
        assert (expected[kept] <= bounds.best.values[kept] + 1e-12).all()


@pytest.mark.parametrize("size", [2**24, 2**40, 2**62, -(2**62)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_scores_of_any_size_are_ranked_by_their_own_precision(size: int, dtype: type) -> None:
    if np.dtype(dtype).kind == "u" and size < 0:
        size = 2**63
    step = 1 if np.dtype(dtype).kind in "iu" else np.spacing(abs(size))
    scores = np.array([[size, size + step, size + 2 * step, size - step]], dtype)
    relevance = np.array([[0, 0, 1, 0]])
    found = score(parse_metric("ndcg@1"), scores, Relevance(relevance))
    assert found.value() == 1.0
    assert score(parse_metric("ties_at_cut@1"), scores, Relevance(relevance)).value() == 0.0


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_scores_of_pairs_keep_their_precision(dtype: type) -> None:
    pairs = from_pairs([0, 0, 0], [0, 1, 2], [0, 1, 0])
    scores = np.array([2**40, 2**40 + 1, 2**40 - 1], dtype)
    listed = pairs.listwise(scores)
    assert score(parse_metric("ndcg@1"), listed, pairs.truth).value() == 1.0
