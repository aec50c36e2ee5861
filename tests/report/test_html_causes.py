"""The page's part on causes, and what it says of a recommendation."""

import re
from dataclasses import replace

import pytest
from markupsafe import escape

from calaudit.report.html.causes import make_causes
from calaudit.report.html.found import make_recommended
from calaudit.report.html.page import html_page
from calaudit.report.html.parts import make_attribution
from calaudit.report.index import Index
from calaudit.results.comparison import Verdict
from calaudit.results.drops import Attribution, Part
from calaudit.results.explanation import Cause, CurvePoint, Explanation
from calaudit.results.harm import CellHarm, HarmRank, HarmRecord, SliceHarm, TapHarm
from calaudit.results.recommendation import Option, Outcome, Recommendation, Remedy
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice
from tests.report.factory import report

SLICES = ("all", "noise ≥ 0.4")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the chart library together takes seconds and is tested elsewhere."""
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")


def harmed() -> Report:
    """clean/mse is harmed most: at <a> by clipping dark inputs, at b by coarse steps."""
    slices = tuple(SliceHarm(name, 50, 0.01) for name in SLICES)
    taps = (TapHarm("<a>", 0.62, (0.01, 0.30), (0.01, 0.10)), TapHarm("b", 7, (0, 0), (0.04, 0.1)))
    cells = (
        CellHarm("clean/minmax", (0.02, 0.02), (0.02, 0.02), (None, None), taps[:1]),
        CellHarm("clean/mse", (0.01, 0.30), (0.05, 0.20), (None, None), taps),
        CellHarm("equal/minmax", (0.0, 0.0), (0.011, 0.012), (None, None), taps[:1]),
    )
    ranks = (HarmRank(None, None, None, 3, 2),)
    return replace(report(), harm=HarmRecord("rest", 90, 60, 2, slices, 0.01, cells, ranks))


def test_of_each_set_the_engine_that_is_harmed_most_is_shown_the_worst_first() -> None:
    causes = make_causes(Index(harmed()))
    assert causes is not None
    assert [table.label for table in causes.tables] == ["clean, mse", "equal, minmax"]
    (worst, _) = causes.tables
    assert worst.taps == (("<a>", "0.62"), ("b", "7"))
    assert [(name, total, least) for name, total, least, _ in worst.rows] == [
        ("noise ≥ 0.4", "0.5", "0.01"), ("all", "0.06", "0.01"),
    ]  # fmt: skip


def test_an_entry_tells_its_share_and_whether_clipping_or_coarse_steps_do_it() -> None:
    causes = make_causes(Index(harmed()))
    assert causes is not None
    dark, everything = (entries for *_, entries in causes.tables[0].rows)
    assert [entry.text for entry in dark] == ["80", "20"]
    assert [entry.shade for entry in dark] == ["loss5", "gain3"]
    assert dark[0].told == "<a>: harm 0.4, of it 0.3 clipping and 0.1 resolution"
    assert [entry.text for entry in everything] == ["33", "67"]
    assert [entry.shade for entry in everything] == ["gain1", "gain2"]
    page = html_page(harmed())
    assert "&lt;a&gt;" in page
    assert "<a>" not in page


def explained(sentence: str = "The range of <a> clips 38 %.") -> Explanation:
    curve = (
        CurvePoint(0, (), Part(0.3, 0.25, 0.35)),
        CurvePoint(1, ("<a>",), Part(0.02, -0.01, 0.05)),
    )
    whole = Part(0.3, 0.2, 0.4)
    return Explanation(
        "clean/minmax", SLICES[1], "top1", Cause.RANGES, sentence, whole, whole, 80, 0.02,
        curve=curve,
    )  # fmt: skip


def test_an_explanation_comes_first_and_its_curve_is_in_the_metrics_unit() -> None:
    causes = make_causes(Index(replace(report(), explanations=(explained(),))))
    assert causes is not None
    (curve,) = causes.curves
    assert (curve["unit"], curve["gate"]) == ("points", 2.0)
    assert curve["title"] == "noise ≥ 0.4 under clean, minmax: top-1 accuracy"
    assert [(p["k"], p["left"], p["low"], p["high"]) for p in curve["points"]] == [
        (0, 30.0, 25.0, 35.0), (1, 2.0, -1.0, 5.0),
    ]  # fmt: skip
    assert curve["points"][1]["text"] == "2.0 (−1.0 to 5.0)"
    page = html_page(replace(report(), explanations=(explained(),)))
    first = page.partition("<h3>Why?</h3>")[2]
    assert first.lstrip().startswith('<p class="why">The range of &lt;a&gt; clips 38 %.')


def as_controls(made: Report, calibset: str) -> Report:
    cells = (replace(c, role="control") if c.calibset == calibset else c for c in made.cells)
    return replace(made, cells=tuple(cells))


def test_candidates_are_explained_before_controls_which_are_marked() -> None:
    control = replace(explained(), sentence="A control's range clips.")
    own = replace(explained("The range of equal clips."), cell="equal/minmax")
    made = as_controls(replace(report(), explanations=(control, own)), "clean")
    why = html_page(made).partition("<h3>Why?</h3>")[2].partition("</div>")[0]
    first, second = re.findall('<p class="(why.*?)">(.*?)</p>', why)
    assert first == ("why", "The range of equal clips.")
    assert second == ("why control", "Control: A control&#39;s range clips.")


def test_an_attribution_of_a_control_is_marked_and_comes_behind_those_of_candidates() -> None:
    price, excess = Part(0.01, 0.0, 0.02), Part(0.2, 0.15, 0.25)
    of_clean = Attribution(
        SLICES[1], "top1", "minmax", "clean", 1, True, 0.21, 0.0, "equal", price, excess, None,
        None, 0.95, 0.5, 0.001, ("this-set",),
    )  # fmt: skip
    of_equal = replace(of_clean, recipe="equal", drop=0.05)
    made = as_controls(replace(report(), attribution=(of_clean, of_equal)), "clean")
    part = make_attribution(Index(made))
    assert part is not None
    assert [control for _, control in part.sentences] == [False, True]
    assert "calibrated on equal" in part.sentences[0][0]
    page = html_page(made)
    assert f'<li class="control">Control: {escape(part.sentences[1][0])}</li>' in page
    assert f'<p class="why">{escape(part.sentences[0][0])}</p>' in page


@pytest.mark.parametrize(
    ("cause", "taps", "ops", "expected"),
    [
        (Cause.RANGES, ("hidden",), (), "the range of hidden"),
        (Cause.RANGES_IN_PART, ("a", "b"), (), "in part 2 ranges"),
        (Cause.OPS, (), ("head",), "the op head in INT8"),
        (Cause.OPS_IN_PART, (), ("head",), "in part the op head in INT8"),
        (Cause.WHOLE, ("a", "b", "c"), (), "nothing single, 3 ranges together"),
        (Cause.NOTHING_FOUND, (), (), "nothing found that takes it back"),
        (Cause.NOT_ON_TUNING_ROWS, (), (), "not there on the tuning samples"),
        (Cause.TOO_FEW_ROWS, (), (), "too few tuning samples to tell"),
        (Cause.NOT_TRIED, (), (), "no experiment was run"),
    ],
)
def test_the_heading_of_an_explanation_names_its_cause(
    cause: Cause, taps: tuple[str, ...], ops: tuple[str, ...], expected: str
) -> None:
    one = replace(explained(), cause=cause, taps=taps, ops=ops)
    causes = make_causes(Index(replace(report(), explanations=(one,))))
    assert causes is not None
    assert causes.explained[0].cause == expected
    page = html_page(replace(report(), explanations=(one,)))
    assert f'top-1 accuracy <span class="cause">{expected}</span></summary>' in page


def test_weak_predictions_are_told_once() -> None:
    made = harmed()
    assert made.harm is not None
    warned = replace(made, warnings=(Notice("harm_weak", "hardly ranks", "predicted harm"),))
    weak = replace(warned, harm=replace(made.harm, ranks=(HarmRank(None, 0.1, 0.4, 8, 2),)))
    page = html_page(weak)
    assert page.count("ranks them hardly") == 1
    assert 'class="warning"' not in page
    # a report without the part that would tell it
    assert "<code>harm_weak</code>" in html_page(replace(warned, harm=None))


def test_without_harm_and_explanations_there_is_no_such_part() -> None:
    assert make_causes(Index(report())) is None
    assert 'id="causes"' not in html_page(report())


def recommended() -> Report:
    options = (
        Option("clean/minmax", Remedy.PLAIN_SET, "clean/minmax", 0.5, SLICES[1], "top1", 0.061, 3.0,
               False),
        Option("equal/mse", Remedy.OTHER_SET, "equal/mse", 0.02, SLICES[1], "top1", 0.003, 0.1,
               True),
    )  # fmt: skip
    told = Recommendation(
        Outcome.SHIP, Verdict.PASS, "Ship equal/mse <now>.", "equal/mse", Remedy.OTHER_SET,
        "clean/minmax", (), "split = 'tuning'", 70, options,
    )  # fmt: skip
    return replace(report(), recommendation=told)


def test_a_recommendation_is_the_pages_answer() -> None:
    page = html_page(recommended())
    assert '<p class="answer">Ship equal/mse &lt;now&gt;.</p>' in page
    shown = make_recommended(Index(recommended()))
    assert shown is not None
    assert [row[0] for row in shown.rows] == ["clean/minmax", "equal/mse"]
    assert [row[-1] for row in shown.rows] == ["plain set", "winner"]
    for row in shown.rows:
        for entry in row:
            assert not entry or f">{entry}</t" in page
    assert shown.legend
    assert escape(shown.legend) in page
    assert make_recommended(Index(report())) is None
    assert "Ship equal with" not in html_page(report()).partition('class="answer"')[0]
