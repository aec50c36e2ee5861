"""Three sentences about an audit, which say no more than verdicts and tests do."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from calaudit.report.findings import findings
from calaudit.results.report import Report
from tests.report.factory import SAMPLE, cell, report, reports, result


def origin(made: Report) -> str:
    return findings(made)[1]


def test_only_a_set_whose_every_comparison_passed_is_said_to_have() -> None:
    assert origin(report()) == (
        "Regressions occur on 1 of 3 gated slices: 1 under clean; equal passed every gate."
    )
    open_one = result("equal/mse", "s", 0.01, "INCONCLUSIVE")
    assert origin(report([*SAMPLE, open_one])) == (
        "Regressions occur on 1 of 4 gated slices: 1 under clean; none under equal, where some of "
        "its comparisons are inconclusive."
    )


def test_where_regressions_come_from_is_left_to_the_attribution() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", 0.05, "REGRESSED"),
        result("equal/minmax", "t", 0.05, "REGRESSED"),
    ]
    assert origin(report(results)) == (
        "Regressions occur on 2 of 2 gated slices: 1 under clean and 2 under equal."
    )


def test_one_method_is_named_only_where_the_others_passed() -> None:
    passed = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("clean/mse", "s", 0.001, "PASS"),
    ]
    assert origin(report(passed)).endswith(", with minmax only.")
    open_one = [passed[0], replace(passed[1], verdict="INCONCLUSIVE")]
    assert "only" not in origin(report(open_one))


def test_draws_of_one_recipe_are_counted_together() -> None:
    results = [
        result("clean/minmax", "s", 0.06, "REGRESSED"),
        result("clean#2/minmax", "s", 0.06, "REGRESSED"),
        result("equal/minmax", "s", 0.001, "PASS"),
    ]
    cells = tuple(cell(name) for name in ("clean", "clean#2", "equal"))
    made = report(results, cells=cells)
    sets = tuple(replace(each, recipe=each.name.split("#")[0]) for each in made.calibsets)
    assert origin(replace(made, calibsets=sets)) == (
        "Regressions occur on 1 of 1 gated slice: 2 under clean; equal passed every gate."
    )


def test_which_engine_loses_least_over_everything_is_not_claimed() -> None:
    results = [
        result("clean/minmax", "all", 0.011, "PASS", half=0.004),
        result("equal/minmax", "all", 0.002, "PASS", half=0.004),
    ]
    assert origin(report(results)) == (
        "Overall, the 2 engines' drops of top-1 accuracy measure 0.2 to 1.1 points; which "
        "of them loses least isn't tested."
    )
    assert origin(report(results[:1])) == (
        "Overall, top-1 accuracy drops by 1.1 points (95 % CI 0.7–1.5)."
    )


def test_the_open_comparison_that_looks_nearest_to_a_decision_is_not_told_alone() -> None:
    results = [
        result("clean/minmax", f"s{i}", 0.01, "INCONCLUSIVE", n_needed=needed)
        for i, needed in enumerate((1001, 5000, 9000))
    ]
    assert findings(report(results))[2].endswith("the median required sample size is 5,000.")
    assert findings(report(results[:1]))[2].endswith("; it needs 1,001.")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_report_has_three_sentences_of_one_line(made: Report) -> None:
    for told in findings(made):
        assert told.endswith(".")
        assert len(told.splitlines()) == 1
