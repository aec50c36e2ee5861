"""Whose fault drops are and which slices stand out, in every form of the report."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from calaudit.report.findings import (
    attribution_sentence,
    clear_gaps,
    gap_sentence,
    screening_sentence,
)
from calaudit.report.html.page import html_page
from calaudit.report.html.parts import SHOWN_ROWS, make_attribution
from calaudit.report.index import Index
from calaudit.report.markdown import markdown_summary
from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.results.drops import (
    Attribution,
    BestElsewhere,
    Gap,
    Part,
    Screened,
)
from calaudit.results.report import Report
from tests.report.factory import report, reports

NOISY = "noise ≥ 0.4"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")


def fault(*findings: str, **changes: object) -> Attribution:
    made = Attribution(
        slice=NOISY,
        metric="top1",
        method="minmax",
        recipe="clean",
        draws=3,
        settled=False,
        drop=0.061,
        spread=0.01,
        best="equal",
        price=Part(0.004, -0.002, 0.011),
        addition=Part(0.057, 0.04, 0.07),
        luck=Part(0.003, 0.0, 0.02),
        elsewhere=None,
        level=0.95,
        p_price=0.4,
        p_addition=1e-5,
        findings=findings or ("this-set",),
    )
    return replace(made, **changes)


def gap(cell: str, value: float, low: float) -> Gap:
    return Gap(cell, "top1", NOISY, 2, 0.061, 0.061 - value, Part(value, low, value + 0.01), 0.95)


def judged(*faults: Attribution) -> Report:
    gaps = (gap("clean/mse", 0.02, -0.001), gap("clean/minmax", 0.06, 0.03))
    return replace(report(), attribution=faults, gaps=gaps)


def test_every_form_names_the_set_that_does_it() -> None:
    made = judged(fault())
    for text in (render_report(made, width=300), html_page(made), markdown_summary(made)):
        assert "Attribution" in text
        assert (
            "Caused by this calibration set: on noise ≥ 0.4, minmax calibrated on clean loses 5.7"
            in text
        )


PART = Part(0.038, 0.02, 0.05)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            fault("this-set"),
            "Caused by this calibration set: on noise ≥ 0.4, minmax calibrated on clean loses "
            "5.7 points (95 % CI of this slice 4.0–7.0) more of top-1 accuracy than under the "
            "best other set tried.",
        ),
        (
            fault("no-set-fixes", price=PART, elsewhere=BestElsewhere("mse", "equal", PART)),
            "No calibration set tried here fixes it: on noise ≥ 0.4, minmax loses 3.8 points (95 % "
            "CI of this slice 2.0–5.0) of top-1 accuracy even under the best of them; with mse the "
            "best loses 3.8 points (95 % CI of this slice 2.0–5.0) of top-1 accuracy.",
        ),
        (
            fault("redraw", draws=1, luck=None),
            "Undecided, more draws needed: on noise ≥ 0.4, minmax calibrated on clean loses 5.7 "
            "points (95 % CI of this slice 4.0–7.0) more of top-1 accuracy than under the best "
            "other set tried, as drawn; with one draw, the recipe can't be separated from "
            "between-draw variation.",
        ),
        (
            fault("redraw", draws=1, luck=None, p_addition=0.2),
            "Undecided, more draws needed: on noise ≥ 0.4, minmax calibrated on clean loses 6.1 "
            "points of top-1 accuracy as measured, but neither INT8 nor this set is shown to "
            "cause it; with one draw, the between-draw SD is unknown.",
        ),
        (
            fault("redraw", p_addition=0.2),
            "Undecided, more draws needed: on noise ≥ 0.4, minmax calibrated on clean loses 6.1 "
            "points of top-1 accuracy as measured, but neither INT8 nor this set is shown to "
            "cause it; between-draw SD 0.3 points.",
        ),
    ],
)
def test_a_sentence_says_what_is_certain_and_no_more(one: Attribution, sentence: str) -> None:
    assert attribution_sentence(Index(report()), one) == sentence


def test_both_findings_are_told_of_one_slice() -> None:
    told = attribution_sentence(Index(report()), fault("no-set-fixes", "this-set"))
    first, second = told.split(". ", 1)
    assert first.startswith("Partly caused by this calibration set")
    assert second.startswith("No calibration set tried here fixes it")
    row = make_attribution(Index(judged(fault("no-set-fixes", "this-set"))))
    assert row is not None
    assert row.rows[0].finding == (
        "partly caused by this calibration set; no set tried here fixes the rest"
    )


def test_no_form_speaks_of_sets_that_were_not_tried() -> None:
    made = judged(fault("no-set-fixes"), fault("redraw"), fault("no-set-fixes", "this-set"))
    for text in (render_report(made, width=400), html_page(made), markdown_summary(made)):
        assert "no calibration set will" not in text.lower()
        assert "tried here" in text


def test_slices_without_harm_are_nobodys_fault() -> None:
    made = replace(judged(fault(findings=())), gaps=())
    for text in (render_report(made), html_page(made), markdown_summary(made)):
        assert "Attribution" not in text


def test_the_page_shows_price_addition_and_luck_with_intervals() -> None:
    faults = make_attribution(Index(judged(fault())))
    assert faults is not None
    (row,) = faults.rows
    assert (row.price, row.addition) == ("0.4 [−0.2 to 1.1]", "5.7 [4.0–7.0]")
    assert (row.luck, row.draws, row.drop, row.unit) == ("0.3 [0.0–2.0]", 3, "6.1", "points")
    assert make_attribution(Index(report())) is None


def test_what_is_not_shown_is_counted() -> None:
    many = [fault(drop=0.001 * i, recipe=f"set {i}") for i in range(SHOWN_ROWS + 7)]
    faults = make_attribution(Index(judged(*many)))
    assert faults is not None
    assert (len(faults.rows), faults.left) == (SHOWN_ROWS, 7)
    assert faults.rows[0].drop == "3.1"
    assert "… and 7 more in the JSON." in html_page(judged(*many))


def test_one_sentence_tells_a_slice_and_recipe_whatever_the_methods() -> None:
    made = judged(fault(drop=0.05, method="mse"), fault(drop=0.06), fault(recipe="equal"))
    faults = make_attribution(Index(made))
    assert faults is not None
    assert [(row.recipe, row.method) for row in faults.rows] == [
        ("equal", "minmax"), ("clean", "minmax, mse"),
    ]  # fmt: skip
    table = render_report(made).partition("Attribution")[2].partition("best set:")[0]
    assert table.count("caused by this") == 2
    assert [text.split(" loses")[0] for text, _ in faults.sentences] == [
        "Caused by this calibration set: on noise ≥ 0.4, minmax calibrated on equal",
        "Caused by this calibration set: on noise ≥ 0.4, minmax calibrated on clean",
    ]


def test_only_gaps_that_are_no_chance_are_told_the_largest_of_each_metric() -> None:
    index = Index(judged())
    (told,) = clear_gaps(index, {NOISY})
    assert told.cell == "clean/minmax"
    assert gap_sentence(index, told) == (
        "Worst of 2 slices: on noise ≥ 0.4, clean with minmax loses 6.0 points more of top-1 "
        "accuracy than outside it (95 % CI 3.0–7.0, corrected for selecting the worst); as "
        "measured, it loses 6.1 there and loses 0.1 outside."
    )
    assert clear_gaps(index, {"noise < 0.4"}) == []


def test_screening_tells_its_surest_find() -> None:
    index = Index(report())
    found = [Screened("clean/mse", NOISY, "top1"), Screened("clean/mse", "all", "top1")]
    assert screening_sentence(index, found) == (
        "2 comparisons without a gate lose significantly; the clearest: top-1 accuracy "
        "on noise ≥ 0.4 under clean with mse."
    )
    assert screening_sentence(index, found[:1]).startswith("One comparison without a gate loses")
    assert screening_sentence(index, []) == ""


def test_a_view_of_some_slices_tells_of_those_only() -> None:
    made = replace(judged(fault()), screening=(Screened("clean/mse", NOISY, "top1"),))
    shown = render_report(made, view=View(slices="noise < 0.4"))
    assert not [word for word in ("Attribution", "Worst of", "significantly;") if word in shown]
    whole = render_report(made)
    assert [word for word in ("Attribution", "Worst of", "significantly;") if word in whole] == [
        "Attribution", "Worst of", "significantly;",
    ]  # fmt: skip


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=reports())
def test_any_reports_faults_can_be_told(made: Report) -> None:
    html_page(made)
    markdown_summary(made)
    render_report(made)


def test_names_in_faults_are_no_markup() -> None:
    recipe = "<script>alert(1)</script>"
    base = report()
    sets = tuple(replace(each, recipe=recipe) for each in base.calibsets)
    made = replace(base, calibsets=sets, attribution=(fault(recipe=recipe, best=recipe),))
    assert recipe not in html_page(made)
    assert recipe not in re.sub("`[^`]*`", "", markdown_summary(made))  # but as code
