import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from calaudit.evaluate import (
    Flips,
    MinSupport,
    Verdict,
    compare_cells,
    judge,
    overall_verdict,
    screen,
)
from calaudit.evaluate.statistics.tango import tango_bound
from tests.evaluate.cases import NDCG, NLL, TOP1, comparison, flipped


def verdict(**changes):
    return judge([comparison(**changes)])[0].verdict


def test_the_upper_bound_decides_a_pass():
    assert verdict(one_sided_high=0.019) is Verdict.PASS
    assert verdict(one_sided_high=0.02) is Verdict.INCONCLUSIVE


def test_a_real_drop_that_is_provably_below_the_gate_passes():
    assert verdict(one_sided_high=0.019, p_value=0.0001) is Verdict.PASS


def test_a_significant_drop_that_may_exceed_the_gate_has_regressed():
    assert verdict(p_value=0.049) is Verdict.REGRESSED
    assert verdict(p_value=0.051) is Verdict.INCONCLUSIVE


def test_a_drop_whose_interval_holds_zero_is_never_called_a_regression():
    assert verdict(p_value=0.001, one_sided_low=-0.01) is Verdict.INCONCLUSIVE
    assert verdict(p_value=0.001, one_sided_low=None) is Verdict.INCONCLUSIVE


def test_a_thin_slice_never_passes_and_a_proven_bound_is_no_regression():
    assert verdict(one_sided_high=0.019, n=29) is Verdict.INCONCLUSIVE
    assert verdict(one_sided_high=0.019, n=29, p_value=0.001) is Verdict.INCONCLUSIVE
    assert verdict(n=29, p_value=0.001) is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("interval", "needed"),
    [("tango", 30), ("clopper-pearson", 30), ("bootstrap-t", 300), ("jackknife", 300)],
)
def test_support_is_asked_by_how_the_bound_was_found(interval, needed):
    thin = judge([comparison(interval=interval, one_sided_high=0.01, n=needed - 1)])[0]
    assert thin.verdict is Verdict.INCONCLUSIVE
    assert verdict(interval=interval, one_sided_high=0.01, n=needed) is Verdict.PASS


def test_a_slice_of_few_clusters_never_passes():
    few, enough = (comparison(one_sided_high=0.01, n_clusters=g, n=900) for g in (4, 5))
    assert [one.verdict for one in judge([few, enough])] == [Verdict.INCONCLUSIVE, Verdict.PASS]


def test_a_broken_unit_regresses_whatever_else_is_proven():
    assert verdict(one_sided_high=0.01, n_broken=1) is Verdict.REGRESSED


def test_support_may_differ_by_slice():
    rows = [comparison(slice=name, one_sided_high=0.01) for name in "ab"]
    support = {"a": MinSupport(), "b": MinSupport().at_least(500)}
    found = judge(rows, min_support=support)
    assert [f.verdict for f in found] == [Verdict.PASS, Verdict.INCONCLUSIVE]
    assert found[1].n_needed >= 500


def test_holm_counts_the_slices_of_one_cell_and_metric():
    rows = [comparison(slice=str(i), p_value=p) for i, p in enumerate([0.02, 0.03, 0.9])]
    rows += [comparison(cell="other", p_value=0.04), comparison(metric=NDCG, p_value=0.04)]
    found = judge(rows)
    assert [f.p_adjusted for f in found] == pytest.approx([0.06, 0.06, 0.9, 0.04, 0.04])
    assert [f.verdict for f in found[:2]] == [Verdict.INCONCLUSIVE] * 2
    assert [f.verdict for f in found[3:]] == [Verdict.REGRESSED] * 2


def test_slices_without_a_gate_cost_the_gated_ones_no_power():
    shown = [comparison(slice=str(i), p_value=0.01, max_drop=None) for i in range(9)]
    found = judge([comparison(p_value=0.04), *shown])
    assert found[0].p_adjusted == 0.04


def test_what_has_no_gate_is_screened_over_all_cells_of_its_metric():
    shown = [
        comparison(cell=cell, slice=str(i), p_value=p, max_drop=None, low=i / 100)
        for cell in "ab"
        for i, p in enumerate([0.0001, 0.001, 0.4, 0.9])
    ]
    shown.append(comparison(metric=NDCG, p_value=0.0004, max_drop=None))
    found = judge([*shown, comparison(p_value=0.0001)])
    theirs = false_discovery_control([one.p_value for one in shown[:8]], method="by")
    assert [f.p_adjusted for f in found[:8]] == pytest.approx(theirs)
    assert found[8].p_adjusted == 0.0004
    listed = screen(found)
    assert [(f.cell, f.slice) for f in listed] == [
        ("a", "1"),
        ("b", "1"),
        ("a", "0"),
        ("b", "0"),
        ("c", "s"),
    ]
    assert screen(judge([comparison(p_value=0.0001)])) == []


def test_a_row_without_a_test_is_no_member_of_the_family():
    found = judge([comparison(p_value=0.04), comparison(slice="empty", p_value=None)])
    assert [f.p_adjusted for f in found] == [0.04, None]


def test_the_worst_verdict_is_the_audits():
    rows = [comparison(slice=str(i), one_sided_high=0.01) for i in range(3)]
    passed = judge(rows)
    assert overall_verdict(passed) is Verdict.PASS
    assert overall_verdict([]) is Verdict.PASS
    unsure = judge([*rows, comparison()])
    assert overall_verdict(unsure) is Verdict.INCONCLUSIVE
    assert overall_verdict([*unsure, *judge([comparison(p_value=0.0)])]) is Verdict.REGRESSED


@given(lost=st.integers(0, 12), gained=st.integers(0, 12), gate=st.sampled_from([0.01, 0.02, 0.05]))
@settings(max_examples=60, deadline=None)
def test_n_needed_is_where_the_same_rates_reach_the_verdict(lost, gained, gate):
    n = 150
    fp32, int8 = flipped(lost, gained, n - lost - gained, 0)
    (found,) = compare_cells(TOP1, fp32, {"c": int8}, {"all": np.arange(n)}, max_drop=gate)
    if found.verdict is not Verdict.INCONCLUSIVE or found.n_needed is None:
        return
    for size, decided in ((found.n_needed, True), (found.n_needed - 2, False)):
        b, c = lost * size / n, gained * size / n
        if size <= n:
            continue
        if lost - gained < gate * n:
            assert (tango_bound(b, c, size, 0.95) < gate) == decided
        else:
            assert (tango_bound(b, c, size, 0.05) > 0) == decided


def test_no_number_is_enough_when_the_drop_sits_at_the_gate():
    at_gate = comparison(drop=0.02, flips=Flips(4, 0), max_drop=0.02, p_value=0.06)
    assert judge([at_gate])[0].n_needed is None or judge([at_gate])[0].n_needed > 200
    mean = comparison(metric=NDCG, flips=None, interval="bootstrap-t", drop=0.02, max_drop=0.02)
    assert judge([mean])[0].n_needed > 200  # towards REGRESSED: the drop is above 0
    flat = comparison(metric=NLL, flips=None, interval=None, one_sided_high=None, drop=0.0)
    assert judge([flat])[0].n_needed is None


def test_a_mean_needs_as_many_units_as_its_half_width_must_shrink():
    row = comparison(
        metric=NDCG, flips=None, interval="bootstrap-t", n=400, drop=0.01, one_sided_high=0.05
    )
    assert judge([row])[0].n_needed == pytest.approx(400 * (0.04 / 0.01) ** 2, abs=1)


def test_to_accuse_one_of_many_slices_more_units_are_needed():
    harmed = comparison(drop=0.05, flips=Flips(12, 2), p_value=0.01)
    others = [comparison(slice=str(i), p_value=0.9) for i in range(39)]
    (alone, *_), (among, *_) = judge([harmed]), judge([harmed, *others])
    assert (alone.verdict, among.verdict) == (Verdict.REGRESSED, Verdict.INCONCLUSIVE)
    alpha = 0.05 / 40
    for size, decided in ((among.n_needed, True), (among.n_needed - 1, False)):
        lost, gained = 12 * size / harmed.n, 2 * size / harmed.n
        assert (tango_bound(lost, gained, size, alpha) > 0) == decided


def test_a_decided_verdict_needs_nothing():
    assert judge([comparison(one_sided_high=0.01)])[0].n_needed is None
