"""Explanations on the terminal and in the summary."""

from dataclasses import replace

from calaudit.report.explanations import TITLE
from calaudit.report.markdown import markdown_summary
from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.results.explanation import Alike, Cause
from tests.report.factory import EXPLANATION, report

ALIKE = tuple(Alike("clean/mse", "noise ≥ 0.4", each.drop, each.left) for each in EXPLANATION.alike)


def test_the_terminal_tells_the_sentence_who_else_and_the_curve() -> None:
    text = " ".join(render_report(report(explanations=(EXPLANATION,))).split())
    assert TITLE in text
    assert EXPLANATION.sentence in text
    assert "The same takes back 1 other result: clean with mse on noise ≥ 0.4" in text
    assert "Ranges exchanged → drop left: 0 → 5.8, 1 → 0.3, 2 → 0.2" in text


def test_a_report_without_explanations_says_nothing_of_them() -> None:
    assert TITLE not in render_report(report())
    assert TITLE not in markdown_summary(report())


def test_the_summary_tells_the_same_and_escapes_names() -> None:
    hostile = replace(EXPLANATION, sentence="The range of *x*_[y](http://z) clips.")
    text = markdown_summary(report(explanations=(hostile,)))
    assert f"### {TITLE}" in text
    assert r"\*x\*\_\[y\](http:" in text
    assert "(http://z)" not in text
    assert "  - The same takes back 1 other result" in text


def test_many_are_cut_with_how_many_there_are() -> None:
    many = tuple(replace(EXPLANATION, sentence=f"Sentence {i}.") for i in range(20))
    text = render_report(report(explanations=many), view=View(limit=3))
    assert "Sentence 2." in text
    assert "Sentence 3." not in text
    assert "17 more explanations" in text
    assert "… and 5 more explanations" in markdown_summary(report(explanations=many))


def test_more_than_three_alike_are_counted() -> None:
    text = " ".join(
        render_report(report(explanations=(replace(EXPLANATION, alike=ALIKE * 5),))).split()
    )
    assert "The same takes back 5 other results:" in text
    assert "and 2 more" in text


def test_of_what_found_nothing_two_are_told_and_the_rest_counted() -> None:
    many = tuple(
        replace(EXPLANATION, cause=Cause.NOTHING_FOUND, sentence=f"Nothing {i}.") for i in range(12)
    )
    for text in (
        render_report(report(explanations=(*many, EXPLANATION))),
        markdown_summary(report(explanations=(*many, EXPLANATION))),
    ):
        assert "Nothing 1." in text
        assert "Nothing 2." not in text
        assert "… and 10 more like these in the report: nothing found" in text
        assert "clips 38 %" in text


def test_a_point_that_the_curve_lacks_is_told_beside_it() -> None:
    apart = replace(EXPLANATION, taps=("hidden",))
    text = " ".join(render_report(report(explanations=(apart,))).split())
    assert "0 → 5.8, 1 → 0.3, 2 → 0.2; those named alone → 0.3" in text
    assert "named alone" not in render_report(report(explanations=(EXPLANATION,)))
