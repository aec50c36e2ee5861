from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from calaudit.report import Report, headline
from tests.report.factory import NLL, SAMPLE, TOP1, cell, report, reports, result


def test_a_regression_is_told_with_interval_average_and_the_set_that_mends_it() -> None:
    assert headline(report()) == (
        "Calibrated on clean, minmax loses 6.1 points of top-1 accuracy (95 % CI 4.8–7.4) on "
        "noise ≥ 0.4 while the average loses 1.2; equal loses 0.4 there (1 of 12 gated "
        "comparisons regressed)."
    )


def test_the_surest_loss_is_told_rather_than_a_thin_slices_large_one() -> None:
    thin = result("equal/mse", "thin", 0.2, "REGRESSED", n=30, half=0.19)
    assert "on noise ≥ 0.4" in headline(report([*SAMPLE, thin]))


def test_when_no_set_mends_it_another_method_is_told() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", 0.05, "REGRESSED"),
        result("clean/mse", "s", 0.03, "INCONCLUSIVE"),
        result("equal/mse", "s", 0.01, "PASS"),
    ]
    assert "; equal with mse loses 1.0 there (2 of 4" in headline(report(results))
    assert "; clean with mse loses 3.0 there (inconclusive) (2 of 3" in headline(
        report(results[:3])
    )


def test_the_rival_is_the_best_over_all_gates_and_not_the_luckiest_here() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("lucky/minmax", "s", -0.01, "PASS"),
        result("lucky/minmax", "t", 0.05, "REGRESSED"),
        result("equal/minmax", "s", 0.004, "PASS"),
        result("equal/minmax", "t", 0.004, "PASS"),
    ]
    cells = tuple(cell(name, "minmax") for name in ("clean", "lucky", "equal"))
    assert "; equal loses 0.4 there" in headline(report(results, cells=cells))


def test_when_no_engine_keeps_it_that_is_told() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", 0.05, "REGRESSED"),
    ]
    told = headline(report(results))
    assert "; no engine keeps it: the best, equal with minmax, loses 5.0 there" in told


def test_a_loss_over_everything_has_no_average_beside_it() -> None:
    told = headline(report([result("clean/minmax", "all", 0.06, "REGRESSED")]))
    assert told == (
        "Calibrated on clean, minmax loses 6.0 points of top-1 accuracy (95 % CI 4.7–7.3) over "
        "everything (1 of 1 gated comparisons regressed)."
    )


def test_an_engine_without_calibration_is_told_by_its_precision() -> None:
    half = cell(None, None, precision="fp16", ranges_by=None)
    told = headline(report([result(half.id, "s", 0.06, "REGRESSED")], cells=(half,)))
    assert told.startswith("fp16 loses 6.0 points")


def test_losses_of_metrics_with_other_units_are_compared_by_their_gates() -> None:
    results = [
        result("clean/minmax", "s", 0.5, "REGRESSED", metric="nll", max_drop=0.4, half=0.05),
        result("clean/minmax", "s", 0.06, "REGRESSED"),
    ]
    assert headline(report(results, metrics=(NLL, TOP1))).startswith(
        "Calibrated on clean, minmax loses 6.0 points"
    )
    assert headline(report(results[:1], metrics=(NLL, TOP1))).startswith(
        "Calibrated on clean, minmax worsens negative log-likelihood by 0.500 nats (95 % CI "
        "0.450–0.550) on s"
    )


def test_without_regression_the_gravest_and_the_thinnest_open_comparison_are_told() -> None:
    results = [
        replace(SAMPLE[2], verdict="INCONCLUSIVE"),
        SAMPLE[3],
        result("equal/mse", "rare", 0.0, "INCONCLUSIVE", n=57, n_needed=1200, half=0.05),
    ]
    assert headline(report(results)) == (
        "No gated slice regressed beyond doubt; 2 of 3 gated comparisons are inconclusive, the "
        "gravest: calibrated on clean, minmax loses 6.1 points of top-1 accuracy (95 % CI "
        "4.8–7.4) on noise ≥ 0.4; the thinnest slice, rare, has 57 samples and needs 1,200."
    )


def test_engines_that_failed_are_told() -> None:
    cells = (cell("clean"), cell("equal", status="failed", engine=None))
    passed = [result("clean/minmax", "all", 0.0, "PASS")]
    assert headline(report(passed, cells=cells)) == (
        "No gated slice regressed, but 1 engine couldn't be judged."
    )


def test_when_all_pass_the_closest_is_told_with_the_bound_its_gate_was_held_against() -> None:
    results = [
        result("clean/minmax", "all", 0.001, "PASS", half=0.004),
        replace(result("equal/mse", "s", 0.008, "PASS"), one_sided_high=0.0182),
    ]
    assert headline(report(results)) == (
        "All 2 gated comparisons passed; the closest: calibrated on equal, mse loses 0.8 points of "
        "top-1 accuracy on s (at most 1.8 of the 2.0 points allowed)."
    )


def test_without_gates_a_drop_that_may_be_chance_is_called_so() -> None:
    clear = [result("clean/minmax", "s", 0.06, None, max_drop=None)]
    chance = [result("clean/minmax", "s", 0.01, None, max_drop=None)]
    assert headline(report(clear)).endswith("(95 % CI 4.7–7.3) on s.")
    assert headline(report(chance)) == (
        "No gate was set; the largest drop of 1 comparisons: calibrated on clean, minmax loses 1.0 "
        "points of top-1 accuracy (95 % CI −0.3 to 2.3) on s, which may be chance."
    )


def test_nothing_compared_claims_nothing() -> None:
    assert headline(report([])).startswith("No comparison was made")
    unmeasured = [replace(SAMPLE[0], drop=None, gate=None)]
    assert "couldn't be measured" in headline(report(unmeasured))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_report_has_a_headline_of_one_line(made: Report) -> None:
    told = headline(made)
    assert told.endswith(".")
    assert len(told.splitlines()) == 1
    if made.verdict == "REGRESSED":
        assert "regressed)" in told
