from dataclasses import replace
from xml.etree import ElementTree

from calaudit.report.headline import control_sentences
from calaudit.report.html.page import html_page
from calaudit.report.index import Index
from calaudit.report.junit import junit_xml
from calaudit.report.markdown import markdown_summary
from calaudit.report.terminal import render_report
from calaudit.results.report import Report
from tests.report.factory import SAMPLE, report, result


def judged(*, controls: tuple[str, ...]) -> Report:
    """The digits audit: of its sets, clean regresses once."""
    cells = tuple(
        replace(each, role="control" if each.calibset in controls else "candidate")
        for each in report().cells
    )
    return report(SAMPLE, cells=cells)


COST = (
    "As a candidate, the control clean would have regressed in 1 of 6 gated comparisons, the "
    "clearest: minmax loses 6.1 points of top-1 accuracy (95 % CI 3.5–7.4, corrected for selection "
    "from 6) on noise ≥ 0.4."
)


def test_a_bad_control_leaves_a_good_candidate_its_pass() -> None:
    assert judged(controls=()).verdict == "REGRESSED"
    assert judged(controls=("clean",)).verdict == "PASS"


def test_terminal_counts_candidates_and_marks_controls() -> None:
    text = render_report(judged(controls=("clean",)), width=400)
    assert "4 engines from 2 calibration sets (1 of them a control)" in text
    assert "6 gated comparisons of candidates: 0 regressed, 0 inconclusive, 6 passed" in text
    assert "clean (control)" in text
    assert "(REGRESSED)" in text
    assert "6.1(✗)" in text
    assert COST in text
    assert "in brackets" not in render_report(judged(controls=()), width=400)


def test_a_control_without_regression_is_told_as_such() -> None:
    text = render_report(judged(controls=("equal",)), width=400)
    assert "As a candidate, the control equal would have regressed in none of 6" in text


def test_draws_of_a_control_are_told_together() -> None:
    made = judged(controls=("clean", "equal"))
    sets = tuple(replace(each, recipe="narrow") for each in made.calibsets)
    (told,) = control_sentences(Index(replace(made, calibsets=sets)))
    assert told.startswith(
        "As a candidate, the control narrow would have regressed in 1 of 12 gated comparisons"
    )


def test_markdown_counts_candidates_and_tells_what_controls_cost() -> None:
    text = markdown_summary(judged(controls=("clean",)))
    assert "| 6 | 0 | 0 | 6 |" in text
    assert f"- {COST}" in text
    assert "`clean (control)`" in text
    assert "6.1(✗)" in text
    assert "### Worst slices first" not in text


def test_junit_holds_no_control_and_names_them() -> None:
    root = ElementTree.fromstring(junit_xml(judged(controls=("clean",))))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("6", "0", "0")
    assert {suite.get("name") for suite in root} == {"equal/minmax", "equal/mse"}
    named = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert named["controls"] == "clean"


def test_the_page_tells_what_controls_cost_and_marks_their_verdicts() -> None:
    page = html_page(judged(controls=("clean",)))
    assert COST in page
    assert "regressed (control)" in page
    assert "regressed (control)" not in html_page(judged(controls=()))


def test_results_of_controls_stand_after_open_ones_of_candidates() -> None:
    made = judged(controls=("clean",))
    opened = [result("equal/minmax", "all", 0.001, "INCONCLUSIVE"), SAMPLE[2]]
    text = render_report(report(opened, cells=made.cells), width=400)
    assert text.index("INCONCLUSIVE") < text.index("(REGRESSED)")
