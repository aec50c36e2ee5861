import importlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.rank_agreement import count_greater_before
from calaudit.metrics.scoring import perfect, score, tie_bounds
from calaudit.metrics.truth import Relevance
from tests.metrics.ranked import orders, tied_case, values
from tests.wheels import installed_wheel

CORRELATIONS = ["kendall", "weighted_tau", "tau_ap"]
LISTS = ["rbo@4", "jaccard@4", "overlap@4"]


def everything(queries, items):
    return Relevance(np.ones((queries, items)))


def plain_rbo(one, other, k, p=0.9):
    depth = min(k, len(one))
    share = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, depth + 1)]
    return (
        sum((1 - p) * p ** (d - 1) * a for d, a in enumerate(share, start=1)) + share[-1] * p**depth
    )


def plain_jaccard(one, other, k):
    return len(set(one[:k]) & set(other[:k])) / len(set(one[:k]) | set(other[:k]))


def plain_tau_ap(order, truth):
    """`truth`: score of each item, without ties."""
    n = len(order)
    right = [sum(truth[above] > truth[order[i]] for above in order[:i]) / i for i in range(1, n)]
    return 2 / (n - 1) * sum(right) - 1


def untied_reference(seed, queries=6, items=7):
    rng = np.random.default_rng(seed + 1000)
    return rng.permuted(np.tile(np.arange(items) * 1.0, (queries, 1)), axis=1)


# --- lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("family", "plain"), [("rbo", plain_rbo), ("jaccard", plain_jaccard)])
def test_lists_with_ties_have_the_mean_over_all_their_orders_and_its_extremes(family, plain, seed):
    scores, truth = tied_case(seed, items=7)
    reference = untied_reference(seed)
    for k in (1, 3, 5):
        metric = parse_metric(f"{family}@{k}")
        found = values(metric.name, scores, truth, reference)
        bounds = tie_bounds(metric, scores, truth, reference)
        swapped = values(metric.name, reference, truth, scores)
        for query in range(len(scores)):
            (fp32,) = orders(reference[query], truth.exclude[query])
            if not fp32:
                assert np.isnan(found[query])
                continue
            every = [plain(order, fp32, k) for order in orders(scores[query], truth.exclude[query])]
            assert found[query] == pytest.approx(np.mean(every))
            assert bounds.worst.values[query] == pytest.approx(min(every))
            assert bounds.best.values[query] == pytest.approx(max(every))
            assert swapped[query] == pytest.approx(found[query])


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_bounds_hold_over_all_orders_of_both_rankings(seed):
    scores, truth = tied_case(seed, queries=2, items=5, levels=3)
    reference = tied_case(seed + 1, queries=2, items=5, levels=3)[0]
    for family, plain in (("rbo", plain_rbo), ("jaccard", plain_jaccard)):
        metric = parse_metric(f"{family}@3")
        found = values(metric.name, scores, truth, reference)
        bounds = tie_bounds(metric, scores, truth, reference)
        for query in range(2):
            exclude = truth.exclude[query]
            if exclude.all():
                continue
            both = itertools.product(
                orders(scores[query], exclude), orders(reference[query], exclude)
            )
            every = [plain(one, other, 3) for one, other in both]
            assert bounds.worst.values[query] == pytest.approx(min(every))
            assert bounds.best.values[query] == pytest.approx(max(every))
            assert min(every) - 1e-12 <= found[query] <= max(every) + 1e-12


def test_rbo_equals_the_package_rbo_on_random_rankings(wheel_cache, monkeypatch):
    # It asks for an older numpy than calaudit does, and runs on ours.
    monkeypatch.syspath_prepend(installed_wheel("rbo==0.1.3", wheel_cache))
    rbo = importlib.import_module("rbo")
    rng = np.random.default_rng(0)
    ours, theirs = (rng.permuted(np.tile(np.arange(40.0), (20, 1)), axis=1) for _ in range(2))
    for k in (1, 5, 10, 40):
        found = values(f"rbo@{k}", ours, everything(20, 40), theirs)
        for query in range(20):
            lists = [np.argsort(-scores[query]).tolist() for scores in (ours, theirs)]
            plain = rbo.RankingSimilarity(*lists).rbo(k=k, p=0.9, ext=True)
            assert found[query] == pytest.approx(plain)


def test_rbo_of_lists_whose_first_two_places_are_swapped_is_worked_out_by_hand():
    # Agreement 0 at depth 1 and 1 from depth 2 on: 1 − (1 − p).
    ours, theirs = np.array([[3.0, 4, 2, 1]]), np.array([[4.0, 3, 2, 1]])
    assert values("rbo@4", ours, everything(1, 4), theirs) == pytest.approx([0.9])


def test_rbo_is_not_truncated_so_equal_lists_have_1_at_any_depth():
    scores = np.random.default_rng(0).normal(size=(3, 12))
    for k in (1, 3, 12, 50):
        assert values(f"rbo@{k}", scores, everything(3, 12), scores) == pytest.approx([1.0] * 3)


# --- correlations ----------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_kendall_and_weighted_tau_equal_scipy_over_the_eligible_items(levels):
    rng = np.random.default_rng(levels)
    ours, theirs = (rng.integers(0, levels, (12, 25)).astype(np.float32) for _ in range(2))
    exclude = rng.random((12, 25)) < 0.2
    truth = Relevance(np.ones((12, 25)), exclude)
    tau, weighted = (values(name, ours, truth, theirs) for name in ("kendall", "weighted_tau"))
    for query, kept in enumerate(~exclude):
        one, other = ours[query, kept], theirs[query, kept]
        assert tau[query] == pytest.approx(stats.kendalltau(one, other, variant="b").statistic)
        assert weighted[query] == pytest.approx(stats.weightedtau(one, other).statistic)


def test_tau_b_counts_pairs_as_its_formula_says():
    ours, theirs = np.array([[4.0, 3, 3, 1]]), np.array([[4.0, 2, 3, 3]])
    # Pairs: 5 untied in ours, 5 in theirs; 3 concordant, 1 discordant.
    assert values("kendall", ours, everything(1, 4), theirs) == pytest.approx([(3 - 1) / 5])


@pytest.mark.parametrize("seed", range(5))
def test_tau_ap_is_the_mean_over_all_orders_of_the_engines_ties(seed):
    scores, truth = tied_case(seed, items=7)
    reference = untied_reference(seed)
    found = values("tau_ap", scores, truth, reference)
    for query in range(len(scores)):
        every = [
            plain_tau_ap(order, reference[query])
            for order in orders(scores[query], truth.exclude[query])
        ]
        assert found[query] == pytest.approx(np.mean(every))


def test_tau_ap_of_untied_rankings_is_its_formula():
    rng = np.random.default_rng(3)
    ours, theirs = (rng.permuted(np.tile(np.arange(40.0), (8, 1)), axis=1) for _ in range(2))
    found = values("tau_ap", ours, everything(8, 40), theirs)
    for query in range(8):
        plain = plain_tau_ap(np.argsort(-ours[query]).tolist(), theirs[query])
        assert found[query] == pytest.approx(plain)


def test_tau_ap_punishes_a_swap_at_the_top_more_than_one_at_the_bottom():
    theirs = np.arange(10.0, 0, -1)[None, :]
    top, bottom = theirs.copy(), theirs.copy()
    top[0, :2] = top[0, 1::-1]
    bottom[0, -2:] = bottom[0, :-3:-1]
    truth = everything(1, 10)
    plain = [values("kendall", scores, truth, theirs)[0] for scores in (top, bottom)]
    assert plain[0] == plain[1]
    for name in ("tau_ap", "weighted_tau"):
        first, last = (values(name, scores, truth, theirs)[0] for scores in (top, bottom))
        assert first < last < 1


@pytest.mark.parametrize("name", [*CORRELATIONS, *LISTS])
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 4, 1000]))
@settings(max_examples=15, deadline=None)
def test_fp32_is_perfect_to_itself_also_where_it_ties(name, seed, levels):
    scores, truth = tied_case(seed, levels=levels)
    metric = parse_metric(name)
    assert metric.is_agreement
    found = score(metric, scores, truth, scores)
    assert np.allclose(found.values, perfect(metric, found).values, equal_nan=True)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_reversed_ranking_has_minus_1_and_one_that_ties_everything_0(name):
    theirs = np.random.default_rng(1).permutation(20)[None, :] * 1.0
    truth = everything(1, 20)
    assert values(name, -theirs, truth, theirs) == pytest.approx([-1.0])
    assert values(name, np.zeros((1, 20)), truth, theirs) == pytest.approx([0.0])
    assert values(name, theirs, truth, np.zeros((1, 20))) == pytest.approx([0.0])
    masked = np.full((1, 20), -np.inf)
    assert values(name, masked, truth, masked) == pytest.approx([1.0])


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_ranking_of_one_item_has_no_correlation_and_does_not_count_as_broken(name):
    truth = Relevance(np.ones((2, 3)), np.array([[True, True, False], [False] * 3]))
    scores = np.array([[1.0, 2, 3], [1, 2, 3]])
    metric = parse_metric(name)
    fp32 = perfect(metric, score(metric, scores, truth, scores))
    assert np.isnan(fp32.values).tolist() == [True, False]
    assert np.isnan(values(name, -scores, truth, scores)).tolist() == [True, False]
    assert values(name, scores[:0], truth.take(np.arange(0)), scores[:0]).shape == (0,)


@given(st.lists(st.integers(-3, 3), max_size=40))
@settings(max_examples=200, deadline=None)
def test_greater_elements_before_each_are_counted(sequence):
    plain = [sum(a > b for a in sequence[:i]) for i, b in enumerate(sequence)]
    assert count_greater_before(np.array(sequence, dtype=np.float64)).tolist() == plain
