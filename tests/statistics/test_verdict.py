from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from calaudit.metrics.catalogue import parse_metric
from calaudit.results.comparison import Flips, Reason, Verdict
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import MinSupport, Tolerance
from calaudit.statistics.verdict import judge, screen
from tests.statistics.cases import NDCG, NLL, TOP1, comparison, flipped


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
)  # the comparison's metric is one of which no reach is known
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


def test_holm_counts_all_gated_comparisons_of_whatever_cell_and_metric():
    rows = [comparison(slice=str(i), p_value=p) for i, p in enumerate([0.008, 0.03, 0.9])]
    rows += [comparison(cell="other", p_value=0.04), comparison(metric=NDCG, p_value=0.04)]
    found = judge(rows)
    assert [f.p_adjusted for f in found] == pytest.approx([0.04, 0.12, 0.9, 0.12, 0.12])
    assert {(f.family, f.family_size) for f in found} == {("candidates", 5)}
    assert [f.verdict for f in found[:2]] == [Verdict.REGRESSED, Verdict.INCONCLUSIVE]
    assert found[1].reason is Reason.MANY_COMPARISONS


def test_cells_of_another_family_cost_the_candidates_nothing():
    rows = [comparison(cell="narrow", slice=str(i), p_value=0.03) for i in range(3)]
    found = judge([comparison(p_value=0.04), *rows], families={"narrow": "controls"})
    assert [f.p_adjusted for f in found] == pytest.approx([0.04, 0.09, 0.09, 0.09])
    assert [f.family_size for f in found] == [1, 3, 3, 3]
    assert [f.family for f in found] == ["candidates", "controls", "controls", "controls"]


def test_what_could_not_be_proven_if_nothing_changed_is_not_proven_by_changes():
    mean = {"metric": NDCG, "flips": None, "interval": "bootstrap-t", "n": 400}
    short = comparison(**mean, one_sided_high=0.005, smallest_provable_drop=0.03, n_to_prove=598)
    (found,) = judge([short])
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_UNITS)
    assert verdict(**mean, one_sided_high=0.005, smallest_provable_drop=0.019) is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "reference", "gate", "answer"),
    [
        ("top1", 0.0, 0.02, Verdict.INCONCLUSIVE),
        ("top1", 0.017, 0.02, Verdict.INCONCLUSIVE),
        ("top1", 0.021, 0.02, Verdict.PASS),
        ("ndcg@10", 0.01, 0.02, Verdict.INCONCLUSIVE),
        ("novelty@10", 0.5, 1.0, Verdict.INCONCLUSIVE),
        ("ties_at_cut@10", 0.99, 0.02, Verdict.INCONCLUSIVE),
        ("ties_at_cut@10", 0.0, 0.02, Verdict.PASS),
        ("gini@10", 0.99, 0.02, Verdict.INCONCLUSIVE),
        ("top1_agreement", 1.0, 0.02, Verdict.PASS),
        ("r2", 0.01, 0.02, Verdict.PASS),
        ("wer", 1.0, 0.02, Verdict.PASS),
    ],
)
def test_a_gate_that_no_engine_could_fail_is_not_passed(name, reference, gate, answer):
    own = {"metric": parse_metric(name), "reference": reference, "max_drop": gate, "n": 900}
    (found,) = judge([comparison(**own, flips=None, one_sided_high=gate / 2)])
    assert found.verdict is answer
    assert (found.reason is Reason.NOTHING_TO_LOSE) == (answer is Verdict.INCONCLUSIVE)
    assert found.n_needed is None


@pytest.mark.parametrize("tolerance", [Tolerance(0.02), Tolerance(max_relative_drop=0.05)])
def test_fp32_that_is_never_right_passes_nobody(tolerance):
    (none,) = judge(_compared(*flipped(0, 0, 0, 1000), tolerance))
    assert (none.verdict, none.reason) == (Verdict.INCONCLUSIVE, Reason.NOTHING_TO_LOSE)


def test_all_that_fp32_had_can_be_lost_though_the_gate_allows_it():
    (lost,) = judge(_compared(*flipped(16, 0, 0, 800), Tolerance(0.02)))
    assert lost.verdict is Verdict.REGRESSED


def _compared(reference, engine, tolerance):
    rows = {"s": np.arange(len(reference))}
    return compare(TOP1, reference, {"c": engine}, rows, max_drop={"s": tolerance})


def test_few_clusters_are_the_reason_where_there_are_units_enough():
    few = {"interval": "tango-clustered", "n": 2000, "n_clusters": 20, "n_effective": 20.0}
    short = {"one_sided_high": 0.01, "smallest_provable_drop": 0.12, "n_to_prove": 13300}
    (found,) = judge([comparison(**few, **short)])
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_CLUSTERS)


def test_every_inconclusive_comparison_says_why():
    assert judge([comparison()])[0].reason is Reason.WIDE_INTERVAL
    assert judge([comparison(one_sided_high=0.01, n=29)])[0].reason is Reason.TOO_FEW_UNITS
    assert judge([comparison(plain_high=0.01)])[0].reason is Reason.HEAVY_TAIL
    unbounded = comparison(metric=NLL, flips=None, interval=None, one_sided_high=None)
    assert judge([unbounded])[0].reason is Reason.UNBOUNDED
    nobody = comparison(n=0, drop=None, p_value=None, one_sided_high=None)
    assert judge([nobody])[0].reason is Reason.NO_UNITS
    assert judge([comparison(one_sided_high=0.01)])[0].reason is None


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


def test_units_that_are_needed_decide_a_new_sample_with_the_promised_chance():
    rng = np.random.default_rng(0)
    for lost, gained, gate in ((0.01, 0.01, 0.02), (0.05, 0.02, 0.01), (0.004, 0.002, 0.01)):
        decided = []
        for _ in range(60):
            (found,) = judge([drawn(rng, 200, lost, gained, gate)])
            if found.n_needed is not None and found.verdict is Verdict.INCONCLUSIVE:
                assert found.n_needed > 200
                again = drawn(rng, found.n_needed, lost, gained, gate)
                decided.append(judge([again])[0].verdict is not Verdict.INCONCLUSIVE)
        assert np.mean(decided) >= 0.8 - 3 * np.sqrt(0.16 / len(decided))


def drawn(rng, n, lost, gained, gate):
    flips = rng.multinomial(n, [lost, gained, 1 - lost - gained])
    fp32, int8 = flipped(*flips, 0)
    return compare(TOP1, fp32, {"c": int8}, {"all": np.arange(n)}, max_drop=gate)[0]


def test_nothing_decides_a_gate_of_nothing_or_a_score_of_which_nothing_is_known():
    assert judge([comparison(max_drop=0.0)])[0].n_needed is None
    flat = comparison(metric=NLL, flips=None, interval=None, one_sided_high=None, drop=0.0)
    assert judge([flat])[0].n_needed is None


def test_a_mean_needs_the_units_with_which_its_error_fits_below_the_gate():
    row = comparison(
        metric=NDCG,
        flips=None,
        interval="bootstrap-t",
        n=4000,
        drop=0.0,
        standard_error=0.02,
        plain_high=0.033,
        one_sided_high=0.033,
        one_sided_low=-0.033,
        n_changed=2000,
        max_drop=0.02,
    )
    # Plug-in: (z.95 + z.8)·se·√(n/n′) = gate, but the drop itself is uncertain.
    alone = 4000 * (2.49 * 0.02 / 0.02) ** 2
    assert 0.8 * alone < judge([row])[0].n_needed < 2 * alone


def test_to_accuse_one_of_many_slices_more_units_are_needed():
    harmed = comparison(drop=0.05, flips=Flips(12, 2), p_value=0.01)
    others = [comparison(slice=str(i), p_value=0.9) for i in range(39)]
    (alone, *_), (among, *_) = judge([harmed]), judge([harmed, *others])
    assert (alone.verdict, among.verdict) == (Verdict.REGRESSED, Verdict.INCONCLUSIVE)
    (fewer, *_) = judge([harmed, *others[:4]])
    assert harmed.n < fewer.n_needed < among.n_needed


def test_verdicts_and_reasons_come_without_the_units_that_are_needed():
    rows = [
        comparison(),
        comparison(slice="few", one_sided_high=0.01, n=29),
        comparison(n_broken=1),
    ]
    told, untold = judge(rows), judge(rows, tell_needed=False)
    assert told[0].n_needed is not None
    assert untold == [replace(one, n_needed=None) for one in told]


def test_a_decided_verdict_needs_nothing():
    assert judge([comparison(one_sided_high=0.01)])[0].n_needed is None


def test_what_could_be_proven_accounts_for_the_units_that_the_interval_needs():
    own = {
        "metric": parse_metric("coverage@10"),
        "flips": None,
        "interval": "jackknife",
        "max_drop": 0.05,
    }
    bounds = {"one_sided_high": 0.01, "smallest_provable_drop": 0.033, "n_to_prove": 87}
    thin, enough = judge([comparison(**own, **bounds, n=n) for n in (90, 100)])
    assert (thin.verdict, thin.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_UNITS)
    assert (thin.smallest_provable_drop, thin.n_to_prove) == (None, 100)
    assert (enough.verdict, enough.reason) == (Verdict.PASS, None)
    assert (enough.smallest_provable_drop, enough.n_to_prove) == (0.033, 100)


def test_a_jackknife_needs_clusters_and_not_units_where_a_units_reach_is_known():
    own = {
        "metric": parse_metric("coverage@10"), "flips": None, "interval": "jackknife",
        "max_drop": 0.05, "one_sided_high": 0.01, "smallest_provable_drop": 0.033,
        "n_to_prove": 87,
    }  # fmt: skip
    few, many = (comparison(**own, n=400, n_clusters=g, n_effective=float(g)) for g in (80, 100))
    thin, enough = judge([few, many])
    assert (thin.verdict, thin.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_CLUSTERS)
    assert thin.n_to_prove == 500
    assert (enough.verdict, enough.n_to_prove) == (Verdict.PASS, 400)
    own["smallest_provable_drop"] = None
    (unbounded,) = judge([comparison(**own, n=200)])
    assert unbounded.reason is Reason.TOO_FEW_UNITS


def test_what_could_be_proven_accounts_for_the_clusters_that_are_needed():
    few = {"interval": "tango-clustered", "n": 400, "n_clusters": 4, "n_effective": 4.0}
    (found,) = judge([comparison(**few, smallest_provable_drop=0.4, n_to_prove=300)])
    assert (found.smallest_provable_drop, found.n_to_prove) == (None, 500)
