import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import perfect, score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.results.comparison import Flips, Gate, Verdict
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.compare import compare, compare_cells
from calaudit.statistics.criteria import Tolerance
from tests.statistics.cases import NDCG, NLL, TOP1, WER, flipped


def one(metric, reference, candidate, rows=None, **options):
    rows = np.arange(len(reference)) if rows is None else rows
    return compare_cells(metric, reference, {"cell": candidate}, {"all": rows}, **options)[0]


def test_a_binary_comparison_reports_counts_interval_and_test():
    found = one(TOP1, *flipped(40, 20, 90, 10), max_drop=0.02)
    assert (found.n, found.flips, found.interval) == (160, Flips(40, 20), "tango")
    assert (found.reference, found.candidate) == (130 / 160, 110 / 160)
    assert found.drop == pytest.approx(0.125)
    assert (found.low, found.high) == pytest.approx((0.0309, 0.2181), abs=5e-5)
    assert found.p_value == pytest.approx(binomtest(40, 60, 0.5, "greater").pvalue)
    assert found.low < found.one_sided_low < found.drop < found.one_sided_high < found.high
    assert found.verdict is Verdict.REGRESSED


@pytest.mark.parametrize("name", ["top1", "ties_at_cut@5", "nll", "ndcg@10", "max_abs_diff"])
def test_a_drop_is_positive_when_quality_is_lost_whichever_way_the_metric_points(name):
    metric = parse_metric(name)
    rng = np.random.default_rng(0)
    good, bad = (0.9, 0.5) if metric.higher_is_better else (0.1, 0.6)
    if metric.kind == "binary":
        before, after = rng.random(400) < good, rng.random(400) < bad
    else:
        before, after = good + 0.01 * rng.random(400), bad + 0.01 * rng.random(400)
    found = one(metric, UnitScores(metric, before), UnitScores(metric, after), max_drop=0.02)
    assert found.drop > 0.3
    assert found.low > 0.2
    assert found.verdict is Verdict.REGRESSED
    assert abs(found.reference - found.candidate) == pytest.approx(found.drop)


def test_results_come_by_cell_then_slice_in_the_order_given():
    fp32, int8 = flipped(2, 1, 50, 10)
    found = compare(TOP1, fp32, {"b": int8, "a": fp32}, {"z": np.arange(9), "y": np.arange(30)})
    assert [(f.cell, f.slice) for f in found] == [("b", "z"), ("b", "y"), ("a", "z"), ("a", "y")]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_a_result_does_not_depend_on_other_cells_or_slices_or_on_their_order(seed):
    rng = np.random.default_rng(seed)
    fp32 = UnitScores(NDCG, rng.random(300))
    cells = {
        str(i): UnitScores(NDCG, np.clip(fp32.values + rng.normal(0, 0.1, 300), 0, 1))
        for i in range(3)
    }
    slices = {"x": np.arange(200), "y": np.arange(100, 300)}
    every = {(f.cell, f.slice): f for f in compare(NDCG, fp32, cells, slices, seed=seed)}
    (alone,) = compare(NDCG, fp32, {"1": cells["1"]}, {"y": slices["y"]}, seed=seed)
    same = every["1", "y"]
    assert (alone.low, alone.high) == pytest.approx((same.low, same.high), rel=1e-9)
    assert alone.p_value == pytest.approx(same.p_value)


@pytest.mark.parametrize("name", ["top1", "gini@3", "coverage@3"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_the_order_of_a_slices_rows_changes_nothing(name, seed):
    rng = np.random.default_rng(seed)
    if name == "top1":
        fp32, int8 = (UnitScores(TOP1, rng.random(120) < 0.8) for _ in range(2))
    else:
        truth = Relevance(np.ones((120, 12)))
        fp32, int8 = (
            score(parse_metric(name), rng.normal(size=(120, 12)), truth) for _ in range(2)
        )
    rows = rng.choice(120, 80, replace=False)
    plain, shuffled = (
        one(fp32.metric, fp32, int8, np.sort(rows)),
        one(fp32.metric, fp32, int8, rows),
    )
    assert (plain.drop, plain.low, plain.high) == pytest.approx(
        (shuffled.drop, shuffled.low, shuffled.high)
    )


def test_the_seed_moves_the_bootstrap_only():
    rng = np.random.default_rng(1)
    fp32, int8 = (
        UnitScores(NLL, rng.exponential(size=200)),
        UnitScores(NLL, rng.exponential(size=200)),
    )
    first, again, other = (one(NLL, fp32, int8, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.low != other.low
    assert first.drop == other.drop


def test_units_without_a_score_under_fp32_are_left_out_and_counted():
    fp32 = UnitScores(NDCG, np.array([0.5, np.nan, 1.0] * 100))
    int8 = UnitScores(NDCG, np.array([0.5, np.nan, 0.5] * 100))
    found = one(NDCG, fp32, int8, max_drop=0.1)
    assert (found.n, found.n_left_out, found.n_broken) == (200, 100, 0)
    assert found.drop == pytest.approx(0.25)


def test_an_engine_that_breaks_units_has_regressed_whatever_the_rest_says():
    fp32 = UnitScores(NLL, np.linspace(0.1, 2, 500))
    values = fp32.values - 0.5
    values[7] = np.nan
    found = one(NLL, fp32, UnitScores(NLL, values), max_drop=0.1)
    assert (found.n, found.n_broken) == (499, 1)
    assert found.drop == pytest.approx(-0.5)
    assert found.verdict is Verdict.REGRESSED


@pytest.mark.parametrize("name", ["top1", "nll", "ndcg@10", "gini@3", "balanced_accuracy"])
def test_an_empty_slice_shows_nothing_and_is_inconclusive(name):
    metric = parse_metric(name)
    scores = _any_scores(metric)
    found = one(metric, scores, scores, np.array([], dtype=np.int64), max_drop=0.02)
    assert found.n == 0
    assert (found.reference, found.drop, found.low, found.p_value) == (None, None, None, None)
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["top1", "nll", "ndcg@10", "gini@3", "balanced_accuracy"])
def test_a_single_unit_proves_nothing(name):
    metric = parse_metric(name)
    scores = _any_scores(metric)
    found = one(metric, scores, scores, np.array([3]), max_drop=0.02)
    assert (found.n, found.drop) == (1, 0)
    assert found.verdict is Verdict.INCONCLUSIVE


def _any_scores(metric):
    if metric.kind == "binary":
        return UnitScores(metric, np.ones(10, dtype=bool))
    if metric.kind == "mean":
        return UnitScores(metric, np.linspace(0, 1, 10))
    if metric.k is not None:
        return score(
            metric, np.random.default_rng(0).normal(size=(10, 6)), Relevance(np.ones((10, 6)))
        )
    return score(metric, np.eye(5)[np.arange(10) % 5], Labels(np.arange(10) % 5))


def test_all_queries_without_relevant_items_are_an_empty_slice():
    fp32 = UnitScores(NDCG, np.full(50, np.nan))
    found = one(NDCG, fp32, fp32, max_drop=0.02)
    assert (found.n, found.n_left_out, found.drop) == (0, 50, None)
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("lost", "gained"), [(300, 0), (0, 300)])
def test_when_nearly_every_unit_flips_the_verdict_follows_the_direction(lost, gained):
    found = one(TOP1, *flipped(lost, gained, 20, 0), max_drop=0.02)
    assert found.verdict is (Verdict.REGRESSED if lost else Verdict.PASS)


def test_no_flip_among_50_proves_nothing_at_one_point_and_says_what_would():
    found = one(TOP1, *flipped(0, 0, 45, 5), max_drop=0.01)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.n_to_prove == 268
    assert found.n_needed > 268  # as some may change
    assert one(TOP1, *flipped(0, 0, 240, 28), max_drop=0.01).verdict is Verdict.PASS


def test_without_a_gate_there_is_a_drop_but_no_verdict():
    found = one(TOP1, *flipped(40, 20, 90, 10))
    assert (found.verdict, found.max_drop, found.n_needed) == (None, None, None)
    assert found.p_adjusted == found.p_value


def test_gates_may_name_slices():
    fp32, int8 = flipped(0, 0, 500, 0)
    slices = {"all": np.arange(500), "x": np.arange(400)}
    found = compare_cells(TOP1, fp32, {"c": int8}, slices, max_drop={"x": 0.02})
    assert [f.verdict for f in found] == [None, Verdict.PASS]
    with pytest.raises(SettingsError, match="'y', which is no slice"):
        compare(TOP1, fp32, {"c": int8}, slices, max_drop={"y": 0.02})
    with pytest.raises(SettingsError, match="tolerable drop is 0"):
        compare(TOP1, fp32, {"c": int8}, slices, max_drop=0)


def test_agreement_is_held_against_the_gate_not_against_perfection():
    metric = parse_metric("top1_agreement")
    rng = np.random.default_rng(2)
    agrees = UnitScores(metric, rng.random(1000) < 0.96)
    reference = perfect(metric, agrees)
    loose, tight, near = (one(metric, reference, agrees, max_drop=d) for d in (0.1, 0.01, 0.035))
    assert (loose.verdict, tight.verdict) == (Verdict.PASS, Verdict.REGRESSED)
    assert near.verdict is Verdict.INCONCLUSIVE
    assert one(metric, reference, agrees).p_value is None


def test_scores_of_other_units_are_refused():
    fp32, _ = flipped(0, 0, 5, 5)
    with pytest.raises(SettingsError, match="cell c has 4 units"):
        compare(TOP1, fp32, {"c": UnitScores(TOP1, np.ones(4, dtype=bool))}, {"all": np.arange(4)})


def test_no_cells_give_no_comparisons():
    fp32, _ = flipped(0, 0, 5, 5)
    assert compare_cells(TOP1, fp32, {}, {"all": np.arange(10)}) == []


def test_a_relative_gate_is_a_share_of_what_fp32_reaches():
    fp32, int8 = flipped(12, 2, 700, 286)
    absolute = one(TOP1, fp32, int8, max_drop=0.05 * 0.712)
    relative = one(TOP1, fp32, int8, max_drop=Tolerance(max_relative_drop=0.05))
    assert relative.max_drop == pytest.approx(absolute.max_drop)
    assert (relative.gate.max_relative_drop, absolute.gate.max_relative_drop) == (0.05, None)
    assert relative.verdict is absolute.verdict is Verdict.PASS


def test_a_relative_gate_where_fp32_reaches_nothing_allows_nothing():
    fp32, int8 = flipped(0, 0, 0, 100)
    found = one(TOP1, fp32, int8, max_drop=Tolerance(max_relative_drop=0.05))
    assert (found.max_drop, found.verdict) == (0.0, Verdict.INCONCLUSIVE)
    assert found.n_needed is None
    empty = one(TOP1, fp32, int8, np.arange(0), max_drop=Tolerance(max_relative_drop=0.05))
    assert empty.verdict is Verdict.INCONCLUSIVE


def test_of_an_absolute_and_a_relative_gate_the_stricter_holds():
    fp32, int8 = flipped(12, 2, 700, 286)  # FP32 reaches 0.712
    both = Tolerance(max_drop=0.03).stricter(Tolerance(max_relative_drop=0.05))
    found = one(TOP1, fp32, int8, max_drop=both)
    assert found.gate == Gate(0.03, None)
    found = one(TOP1, fp32, int8, max_drop=both.stricter(Tolerance(max_relative_drop=0.01)))
    assert found.gate == Gate(pytest.approx(0.00712), 0.01)


def test_a_gate_that_allows_nothing_or_anything_is_refused():
    for wrong in ({}, {"max_drop": 0.1, "max_relative_drop": -1.0}, {"max_drop": float("inf")}):
        with pytest.raises(SettingsError):
            Tolerance(**wrong)


def ratio(errors, words):
    return RatioScores(WER, np.asarray(errors, dtype=float), np.asarray(words, dtype=float))


def test_word_errors_are_judged_by_cluster():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(60), 20)
    words = rng.integers(3, 20, 1200)
    fp32 = rng.binomial(words, 0.05)
    worse = rng.binomial(words, 0.04 * rng.gamma(1.0, 1.0, 60)[speaker])
    found = {
        clusters is not None: one(
            WER, ratio(fp32, words), ratio(fp32 + worse, words), max_drop=0.02, clusters=clusters
        )
        for clusters in (None, speaker)
    }
    assert found[True].drop == pytest.approx(worse.sum() / words.sum())
    assert found[True].reference == pytest.approx(fp32.sum() / words.sum())
    assert found[True].candidate == pytest.approx((fp32 + worse).sum() / words.sum())
    assert (found[True].n, found[True].n_clusters, found[False].n_clusters) == (1200, 60, None)
    width = [found[c].high - found[c].low for c in (True, False)]
    assert width[0] > 1.5 * width[1]
    assert found[True].verdict is Verdict.REGRESSED


@pytest.mark.parametrize("clusters", [None, np.arange(400) // 20, np.zeros(400, dtype=int)])
@pytest.mark.parametrize("n_wrong", [0, 1, 400])
def test_a_ratio_is_not_defined_where_all_denominators_are_0(n_wrong, clusters):
    errors = np.r_[np.ones(n_wrong), np.zeros(400 - n_wrong)]
    none = np.zeros(400)
    found = one(WER, ratio(none, none), ratio(errors, none), max_drop=0.02, clusters=clusters)
    assert (found.n, found.reference, found.candidate, found.drop) == (400, None, None, None)
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_errors_of_units_without_a_denominator_count():
    words = np.r_[np.zeros(50), np.full(350, 4.0)]
    errors = np.r_[np.ones(50), np.zeros(350)]
    found = one(WER, ratio(np.zeros(400), words), ratio(errors, words), max_drop=0.02)
    assert found.drop == pytest.approx(50 / 1400)
    assert found.low < 50 / 1400 < found.high
    assert found.verdict is Verdict.REGRESSED


def test_flips_that_come_in_clusters_prove_less():
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(400), 5)
    fp32 = np.ones(2000, dtype=bool)
    int8 = ~np.repeat(rng.random(400) < 0.03, 5)
    alone, together = (
        one(TOP1, UnitScores(TOP1, fp32), UnitScores(TOP1, int8), max_drop=0.05, clusters=c)
        for c in (None, cluster)
    )
    assert (alone.interval, together.interval) == ("tango", "tango-clustered")
    assert together.design_effect == pytest.approx(5, rel=0.01)
    assert alone.one_sided_high < together.one_sided_high
    assert together.p_value > alone.p_value


def test_one_cluster_is_inconclusive_however_many_units_it_has():
    fp32 = UnitScores(TOP1, np.ones(5000, dtype=bool))
    found = one(TOP1, fp32, fp32, max_drop=0.02, clusters=np.zeros(5000, dtype=int))
    assert (found.n_clusters, found.interval) == (1, None)
    assert found.verdict is Verdict.INCONCLUSIVE
    nothing = UnitScores(NLL, np.linspace(0, 1, 5000))
    assert one(NLL, nothing, nothing, max_drop=0.02).verdict is Verdict.INCONCLUSIVE


def test_equal_weights_count_as_none():
    rng = np.random.default_rng(2)
    fp32, int8 = (UnitScores(NDCG, rng.random(400)) for _ in range(2))
    plain, weighted = (one(NDCG, fp32, int8, weights=w) for w in (None, np.full(400, 2.0)))
    assert (weighted.drop, weighted.low) == pytest.approx((plain.drop, plain.low))


def test_weights_move_a_share_and_a_unit_without_weight_does_not_count():
    fp32, int8 = flipped(50, 0, 450, 0)
    weights = np.r_[np.full(50, 3.0), np.ones(450)]
    found = one(TOP1, fp32, int8, weights=weights)
    assert found.drop == pytest.approx(150 / 600)
    assert found.low < 150 / 600 < found.high
    ignored = one(TOP1, fp32, int8, weights=np.r_[np.zeros(50), np.ones(450)])
    assert ignored.drop == 0


def test_a_set_metric_can_not_be_weighted():
    metric = parse_metric("balanced_accuracy")
    scores = _any_scores(metric)
    with pytest.raises(SettingsError, match="can't be weighted"):
        one(metric, scores, scores, weights=np.ones(10))


@pytest.mark.parametrize("name", ["top1", "nll", "ndcg@10", "balanced_accuracy"])
def test_constant_scores_pass_no_gate_that_their_number_cannot_prove(name):
    metric = parse_metric(name)
    found = one(metric, _any_scores(metric), _any_scores(metric), max_drop=1e-3)
    assert found.drop == 0
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["nll", "ndcg@10"])
def test_an_engine_whose_scores_are_all_nan_has_regressed(name):
    metric = parse_metric(name)
    fp32 = UnitScores(metric, np.linspace(0.1, 1, 400))
    found = one(metric, fp32, UnitScores(metric, np.full(400, np.nan)), max_drop=0.1)
    assert (found.n, found.n_broken, found.drop) == (0, 400, None)
    assert found.verdict is Verdict.REGRESSED
