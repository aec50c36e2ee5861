from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calaudit.report.headline import headline
from calaudit.results.drops import Screened
from calaudit.results.report import Report
from tests.report.factory import NLL, SAMPLE, TOP1, calibset, cell, report, reports, result


def test_a_regression_is_told_with_an_interval_that_holds_for_the_worst() -> None:
    assert headline(report()) == (
        "Calibrated on clean, minmax loses 6.1 points of top-1 accuracy (95 % CI 3.5–7.4, "
        "corrected for selection from 12) on noise ≥ 0.4 while the average loses 1.2 "
        "(0.4–1.6); 2 of 3 other engines pass all their gates, such as equal with minmax (1 of 12 "
        "gated comparisons regressed)."
    )


def test_an_interval_that_does_not_hold_for_the_worst_is_said_not_to() -> None:
    older = [replace(each, joint_low=None) for each in SAMPLE]
    assert "(95 % CI 4.8–7.4, not corrected for selection from 12)" in headline(report(older))


def test_the_surest_loss_is_told_rather_than_a_thin_slices_large_one() -> None:
    thin = result("equal/mse", "thin", 0.2, "REGRESSED", n=30, half=0.19)
    assert "on noise ≥ 0.4" in headline(report([*SAMPLE, thin]))


@given(st.floats(-0.2, 0.2))
def test_what_a_rival_loses_where_another_loses_most_is_not_told(drop: float) -> None:
    # The samples chose the place: there, a rival that is alike looks better than it is.
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", drop, "INCONCLUSIVE"),
        result("equal/mse", "s", drop / 2, "PASS"),
    ]
    told = headline(report(results))
    assert "; equal with mse passes its gate (1 of 3" in told
    assert told == headline(report([results[0], *(replace(r, drop=0.0) for r in results[1:])]))


def test_an_engine_that_passes_every_gate_is_named_the_same_method_first() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("lucky/minmax", "s", -0.01, "PASS"),
        result("lucky/minmax", "t", 0.05, "REGRESSED"),
        result("equal/minmax", "s", 0.004, "PASS"),
        result("equal/minmax", "t", 0.004, "PASS"),
        result("equal/mse", "s", 0.001, "PASS"),
    ]
    cells = (*(cell(name, "minmax") for name in ("clean", "lucky", "equal")), cell("equal", "mse"))
    told = headline(report(results, cells=cells))
    assert "; 2 of 3 other engines pass all their gates, such as equal with minmax (" in told


def test_when_no_engine_passes_that_is_told() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", 0.01, "INCONCLUSIVE"),
    ]
    assert "; no engine passes all its gates (1 of 2" in headline(report(results))


def test_a_loss_over_everything_has_no_average_beside_it() -> None:
    told = headline(report([result("clean/minmax", "all", 0.06, "REGRESSED")]))
    assert told == (
        "Calibrated on clean, minmax loses 6.0 points of top-1 accuracy (95 % CI 4.7–7.3) "
        "overall (1 of 1 gated comparisons regressed)."
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
        "No gated slice regressed significantly; 2 of 3 gated comparisons are inconclusive, the "
        "clearest: calibrated on clean, minmax loses 6.1 points of top-1 accuracy (95 % CI "
        "3.5–7.4, corrected for selection from 3) on noise ≥ 0.4; the smallest slice, rare, "
        "has 57 samples and needs 1,200."
    )


def test_an_open_comparison_that_proves_nothing_may_be_chance() -> None:
    thin = result("equal/mse", "s", 0.03, "INCONCLUSIVE", half=0.02)
    assert "on s, not significant; the smallest slice" in headline(report([thin]))


def test_engines_that_failed_are_told() -> None:
    cells = (cell("clean"), cell("equal", status="failed", engine=None))
    passed = [result("clean/minmax", "all", 0.0, "PASS")]
    assert headline(report(passed, cells=cells)) == (
        "No gated slice regressed, but 1 engine couldn't be evaluated."
    )


def test_when_all_pass_the_closest_is_told_with_the_bound_its_gate_was_held_against() -> None:
    results = [
        result("clean/minmax", "all", 0.001, "PASS", half=0.004),
        replace(result("equal/mse", "s", 0.008, "PASS"), one_sided_high=0.0182),
    ]
    assert headline(report(results)) == (
        "All 2 gated comparisons passed; the closest: calibrated on equal, mse loses at most 1.8 "
        "points of top-1 accuracy on s (2.0 allowed)."
    )


def test_without_gates_the_screening_says_what_may_be_chance() -> None:
    # The larger drop's own interval is above 0, as that of the largest of many often is.
    results = [
        result("clean/minmax", "s", 0.06, None, max_drop=None),
        result("clean/mse", "s", 0.03, None, max_drop=None, half=0.01),
    ]
    made = report(results)
    assert headline(made) == (
        "No gate was set, and none of 2 comparisons loses significantly; the largest "
        "drop, not significant: calibrated on clean, minmax loses 6.0 points of top-1 accuracy "
        "(95 % CI 3.4–7.3, corrected for selection from 2) on s."
    )
    listed = replace(made, screening=(Screened("clean/mse", "s", "top1"),))
    assert headline(listed) == (
        "No gate was set; 1 of 2 comparisons loses significantly, the clearest: "
        "calibrated on clean, mse loses 3.0 points of top-1 accuracy (95 % CI 1.0–4.0, corrected "
        "for selection from 2) on s."
    )


def test_what_the_screening_lists_of_other_metrics_is_told_beside_the_headline_metric() -> None:
    results = [
        result("clean/minmax", "s", 0.06, None, max_drop=None),
        result("clean/mse", "s", 0.03, None, max_drop=None, half=0.01),
    ]
    made = replace(report(results), metrics=(TOP1, NLL))
    listed = replace(made, screening=(Screened("clean/mse", "s", "nll"),))
    told = headline(listed)
    assert "none of 2 comparisons of top-1 accuracy loses significantly" in told
    assert "(1 of other metrics does)" in told


def test_a_regression_that_its_interval_does_not_show_is_told_with_its_test() -> None:
    barely = replace(
        result("clean/minmax", "s", 0.06, "REGRESSED"), joint_low=-0.01, p_adjusted=0.0095
    )
    average = result("clean/minmax", "all", 0.08, "PASS")
    told = headline(report([barely, average]))
    assert "corrected for selection from 2; its test, corrected by Holm, has p = 0.0095)" in told
    assert "while the average" not in told, "the average loses more"


def test_a_drop_that_was_not_picked_needs_no_correction() -> None:
    (only,) = [result("clean/minmax", "s", 0.06, None, max_drop=None)]
    assert headline(report([only])) == (
        "No gate was set, and the only comparison doesn't lose significantly; the "
        "largest drop, not significant: calibrated on clean, minmax loses 6.0 points of top-1 "
        "accuracy (95 % CI 4.7–7.3) on s."
    )


def test_likeness_that_has_no_test_is_not_called_chance() -> None:
    results = [replace(result("clean/minmax", "s", 0.06, None, max_drop=None), p_value=None)]
    assert "chance" not in headline(report(results))


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


def test_a_draw_is_named_and_a_larger_drop_of_another_is_told_beside_it() -> None:
    surer = replace(result("a/mse", "s", 0.011, "INCONCLUSIVE"), joint_low=-0.02)
    larger = replace(result("a#2/mse", "s", 0.022, "INCONCLUSIVE"), joint_low=-0.021)
    cells = (cell("a", "mse"), cell("a#2", "mse"))
    sets = tuple(replace(calibset(name), recipe="a") for name in ("a", "a#2"))
    made = replace(report([surer, larger], cells=cells), calibsets=sets)
    told = headline(made)
    assert "the clearest: calibrated on a (draw 1 of 2), mse loses 1.1 points of" in told
    assert (
        "; the largest drop measured, 2.2 points on s under a#2 with mse (−2.1 to 3.5), is less "
        "sure" in told
    )
