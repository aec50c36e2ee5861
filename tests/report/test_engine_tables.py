from dataclasses import replace

from calaudit.report.html.page import html_page
from calaudit.report.terminal import render_report
from tests.report.factory import AGREEMENT, RANGES, report


def test_engines_on_two_backends_are_shown_side_by_side() -> None:
    reference = replace(AGREEMENT, other=None, k=None, same_top=None)
    text = render_report(report(agreement=(AGREEMENT, reference)))
    rows = [line.split("  ") for line in text.splitlines() if "0.00025" in line]
    first, second = ([part.strip() for part in row if part.strip()] for row in rows)
    assert first == [
        "clean/minmax", "clean/mse", "logits", "0.00025", "0.99900 of 1", "3 of 3"
    ]  # fmt: skip
    assert second[1] == "the FP32 reference"


def test_answers_that_are_no_numbers_are_shown_by_what_they_share() -> None:
    boxes = replace(
        AGREEMENT, max_abs_diff=None, k=None, same_top=None, metric="boxes_kept", value=0.975
    )
    assert "0.97500 boxes_kept" in render_report(report(agreement=(boxes,)))
    assert "0.97500 boxes_kept" in html_page(report(agreement=(boxes,)))


def test_ranges_that_differ_are_shown() -> None:
    text = render_report(report(compared_ranges=(RANGES,)))
    (row,) = [line for line in text.splitlines() if "image 1 for 1.25" in line]
    assert row.split()[:4] == ["clean/minmax", "clean/mse", "23", "1"]


def test_the_page_holds_both_tables() -> None:
    page = html_page(report(agreement=(AGREEMENT,), compared_ranges=(RANGES,)))
    assert "The same engines on two targets" in page
    assert "0.99900 of 1" in page
    assert "image 1 for 1.25" in page
    assert "two targets" not in html_page(report())


def test_audits_on_one_backend_show_none_of_it() -> None:
    text = render_report(report())
    assert "two targets" not in text
