import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import bounds_of, score, scores_of
from calaudit.metrics.truth import Relevance
from calaudit.statistics.ranking_change import change_of, changes_in, losses_of
from calaudit.statistics.ranking_lists import Path
from tests.metrics.ranked import orders, tied_case

NAMES = ["ndcg@3", "ndcg_exp@3", "recall@3", "long_tail_share@3", "arp@3", "novelty@3"]
NAMES += ["coverage@3", "gini@3", "exposure_entropy@3", "popularity_lift@3"]
METRICS = [parse_metric(name) for name in NAMES]
ALL = np.arange(6)


def known(seed, levels=4, items=9):
    """FP32's scores and the truth, all of it known."""
    scores, truth = tied_case(seed, levels=levels, items=items)
    popularity = np.random.default_rng(seed).integers(1, 50, items) * 1.0
    return scores, Relevance(truth.relevance, truth.exclude, popularity, truth.tail)


def split(engine, truth, fp32, rows=ALL):
    (change,) = change_of(METRICS, engine, truth, fp32)
    return {metric.family: change.loss(metric, rows) for metric in METRICS}


def sizes(found):
    """(metrics, 4) drop and causes, NaN where there is none."""
    return np.array([causes(one) for one in found.values()])


def causes(one):
    parts = (one.drop, one.across_cut, one.reordering, one.ties)
    return np.array(parts, dtype=float)


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 4, 1000]))
@settings(max_examples=40, deadline=None)
def test_the_three_causes_add_up_to_the_drop_that_the_metric_shows(seed, levels):
    fp32, truth = known(seed, levels)
    engine = known(seed + 1, levels)[0]
    rows = np.array([0, 2, 3])
    for found, chosen in (
        (split(engine, truth, fp32), ALL),
        (split(engine, truth, fp32, rows), rows),
    ):
        for metric in METRICS:
            one = found[metric.family]
            before, after = (
                score(metric, scores, truth, fp32).value(chosen) for scores in (fp32, engine)
            )
            sign = 1 if metric.higher_is_better else -1
            drop, *parts = causes(one)
            assert drop == pytest.approx(sign * (before - after), nan_ok=True)
            assert sum(parts) == pytest.approx(drop, nan_ok=True)


@given(seed=st.integers(0, 10**6), steps=st.sampled_from([1, 2, 5]))
@settings(max_examples=30, deadline=None)
def test_an_engine_that_only_rounds_loses_by_ties_alone(seed, steps):
    fp32, truth = known(seed, levels=1000)
    engine = np.floor(fp32 * steps / 1000)
    for one in split(engine, truth, fp32).values():
        drop, across_cut, reordering, ties = causes(one)
        assert (across_cut, reordering) == pytest.approx((0, 0), nan_ok=True)
        assert ties == pytest.approx(drop, nan_ok=True)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_an_engine_that_bends_the_scores_loses_nothing(seed):
    fp32, truth = known(seed)
    assert np.nan_to_num(sizes(split(np.arctan(fp32) * 3 - 1, truth, fp32))) == pytest.approx(0)


def test_a_swap_within_the_list_is_reordering_and_one_across_the_cut_is_not():
    fp32 = np.array([[5.0, 4, 3, 2, 1]])
    truth = Relevance(
        np.array([[1, 0, 0, 1, 0]]), None, np.array([5.0, 4, 3, 2, 1]), np.arange(5) > 2
    )
    within, across = fp32[:, [1, 0, 2, 3, 4]], np.array([[5.0, 4, 2, 3, 1]])
    one = split(within, truth, fp32, np.array([0]))
    assert one["ndcg"].reordering == pytest.approx(one["ndcg"].drop)
    assert one["ndcg"].drop > 0.1
    assert one["recall"].drop == one["long_tail_share"].drop == one["arp"].drop == 0
    other = split(across, truth, fp32, np.array([0]))
    for family in ("ndcg", "recall", "long_tail_share", "arp", "coverage"):
        assert (other[family].reordering, other[family].ties) == pytest.approx((0, 0))
    assert other["recall"].across_cut == -0.5
    assert other["long_tail_share"].across_cut == pytest.approx(-1 / 3)


def test_all_three_causes_at_once_are_told_apart():
    fp32 = np.array([[9.0, 8, 7, 6, 5, 4]])
    # Item 5 pushes item 2 out; 0 and 1 change places; 3 and 5 tie at the cut.
    engine = np.array([[8.0, 9, 1, 5, 2, 5]])
    truth = Relevance(np.array([[1, 0, 0, 1, 0, 0]]), None, np.ones(6), np.arange(6) > 2)
    d = 1 / np.log2(np.arange(2, 5))
    ideal = d[0] + d[1]
    found = split(engine, truth, fp32, np.array([0]))["ndcg"]
    # FP32 shows 0 1 2; the engine's items are 0 1 3, as FP32 puts 3 before 5.
    assert found.across_cut == pytest.approx((d[0] - (d[0] + d[2])) / ideal)
    assert found.reordering == pytest.approx((d[0] - d[1]) / ideal)
    assert found.ties == pytest.approx(d[2] / 2 / ideal)


def plain_value(family, lists, truth, query, k=3):
    """Mean of a metric over equally likely lists."""
    gain = truth.gain[query]
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = (np.sort(gain)[::-1][:k] * discount[: len(gain[:k])]).sum()
    found = []
    for shown in lists:
        if family == "ndcg":
            found.append(sum(gain[i] * d for i, d in zip(shown, discount, strict=False)) / best)
        else:
            found.append(np.mean(truth.tail[shown]))
    return np.mean(found)


@pytest.mark.parametrize("seed", range(6))
def test_the_lists_on_the_way_are_the_means_over_all_ways_to_break_the_ties_that_fp32_ties_too(
    seed,
):
    fp32, truth = known(seed, levels=2, items=6)
    engine = known(seed + 50, levels=2, items=6)[0]
    path = Path.of(Case(engine, truth, fp32), 3)
    for family in ("ndcg", "long_tail_share"):
        metric = parse_metric(f"{family}@3")
        (change,) = change_of([metric], engine, truth, fp32)
        fp32_list, members, untied, _ = change.steps[metric]
        for query in range(6):
            exclude = truth.exclude[query]
            if not truth.n_relevant[query] or exclude.all():
                continue
            both = fp32[query] + 10 * engine[query]  # the engine's order, ties broken by FP32
            ways = [order[:3] for order in orders(both, exclude)]
            assert untied.values[query] == pytest.approx(plain_value(family, ways, truth, query))
            put_back = [
                plain_value(family, [list(one) for one in in_order(way, fp32[query])], truth, query)
                for way in ways
            ]
            assert members.values[query] == pytest.approx(np.mean(put_back))
            assert fp32_list.values[query] == pytest.approx(
                plain_value(family, [o[:3] for o in orders(fp32[query], exclude)], truth, query)
            )
    assert path.members.total(path.members.probability) == pytest.approx(path.untied.n_shown)


def in_order(items, scores):
    """Every order of the items in which the scores don't rise."""
    wanted = sorted(scores[items], reverse=True)
    return [one for one in itertools.permutations(items) if list(scores[list(one)]) == wanted]


def test_an_engine_that_ties_everything_loses_by_ties_alone():
    fp32, truth = known(3, levels=1000)
    for one in split(np.zeros_like(fp32), truth, fp32).values():
        assert one.ties == pytest.approx(one.drop)
        assert (one.across_cut, one.reordering) == pytest.approx((0, 0))


def test_no_queries_nothing_relevant_and_nothing_to_show_give_no_numbers_but_no_error():
    fp32, truth = known(0)
    nobody = split(fp32[:0], truth.take(ALL[:0]), fp32[:0], ALL[:0])
    assert nobody["ndcg"].drop is None
    assert nobody["gini"].drop is None
    nothing = Relevance(np.zeros_like(truth.relevance), truth.exclude, truth.popularity, truth.tail)
    found = split(-fp32, nothing, fp32)
    assert found["recall"].across_cut is None
    assert np.isfinite(found["long_tail_share"].across_cut)
    hidden = Relevance(truth.relevance, np.ones_like(truth.exclude), truth.popularity, truth.tail)
    assert split(-fp32, hidden, fp32)["long_tail_share"].drop is None
    one_query = split(fp32[:1], truth.take(ALL[:1]), fp32[:1], ALL[:1])
    assert np.nan_to_num(sizes(one_query)) == pytest.approx(0)


def test_metrics_that_do_not_add_up_over_places_are_bounded_but_not_split():
    fp32, truth = known(1)
    engine = known(2)[0]
    metrics = [parse_metric(name) for name in ("mrr@3", "overlap@3", "ndcg@5", "top1", "cosine")]
    three, five = change_of(metrics, engine, truth, fp32)
    assert (three.k, five.k) == (3, 5)
    assert three.loss(metrics[0], ALL).drop is None
    bounded = three.loss(metrics[0], ALL)
    assert bounded.worst <= score(metrics[0], engine, truth).value() <= bounded.best
    assert five.loss(metrics[2], ALL).drop is not None
    assert five.loss(metrics[0], ALL) is None
    assert change_of(metrics[3:], engine, truth, fp32) == []


def test_queries_that_the_engine_left_unanswered_are_left_out_of_all_that_is_told():
    fp32, truth = known(3, levels=1000)
    broken = fp32.copy()
    broken[1] = np.nan
    metrics = [parse_metric(f"{name}@3") for name in ("ndcg", "coverage", "long_tail_share")]
    (change,) = change_of(metrics, broken, truth, fp32)
    rest = np.setdiff1d(ALL, [1])
    (sound,) = change_of(metrics, fp32, truth, fp32)
    assert change.flow(ALL) == sound.flow(rest)
    assert change.moved(ALL) == ((), ())
    assert change.tied_share("engine", ALL) == sound.tied_share("engine", rest)
    assert np.isnan(change.tied_share("engine", np.array([1])))
    for metric in metrics:
        lost, kept = change.loss(metric, ALL), sound.loss(metric, rest)
        assert lost.drop == 0
        assert (lost.worst, lost.best) == (kept.worst, kept.best)


def test_losses_of_several_engines_are_those_of_each_whose_scores_are_not_known():
    fp32, truth = known(5, levels=1000)
    rng = np.random.default_rng(5)
    noisy = fp32 + rng.normal(size=fp32.shape)
    broken = noisy.copy()
    broken[2] = np.nan
    base = Case(fp32, truth, fp32)
    cases = [base.with_outputs(each) for each in (noisy, np.round(noisy), broken, fp32)]
    together = [
        changes_in(METRICS, case, {metric: scores_of(metric, case) for metric in METRICS})[0]
        for case in cases
    ]
    slices = [ALL, np.array([2]), np.array([], dtype=np.int64), np.array([0, 3, 4])]
    found = losses_of(together, METRICS, slices)
    for case, own in zip(cases, found, strict=True):
        (alone,) = change_of(METRICS, case.outputs, truth, fp32)
        for rows, losses in zip(slices, own, strict=True):
            assert losses == tuple(alone.loss(metric, rows) for metric in METRICS)
    assert losses_of([], METRICS, slices) == []


def test_without_ties_both_bounds_are_the_score():
    fp32, truth = known(6, levels=1000)
    engine = fp32 + np.random.default_rng(6).normal(size=fp32.shape)
    (change,) = change_of(METRICS, engine, truth, fp32)
    for metric, bounds in change.bounds.items():
        apart = bounds_of(metric, Case(engine, truth, fp32))
        for one, other in ((bounds.worst, apart.worst), (bounds.best, apart.best)):
            np.testing.assert_allclose(one.values, other.values, rtol=1e-13)
    assert {"ndcg@3", "recall@3", "long_tail_share@3"} <= {each.name for each in change.bounds}
