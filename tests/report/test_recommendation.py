"""What reports say of a recommendation: in the terminal, and in the Markdown summary."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from calaudit.report.index import Index
from calaudit.report.markdown import markdown_summary
from calaudit.report.recommendation import (
    TITLE,
    legend_of,
    option_rows,
    recommendation_lines,
)
from calaudit.report.terminal import render_report
from calaudit.results.document import inconsistencies
from calaudit.results.drops import Part
from calaudit.results.recommendation import Remedy
from calaudit.results.report import Report
from tests.report.factory import RECOMMENDATION, report, reports

REPORT = report(recommendation=RECOMMENDATION)


@pytest.mark.parametrize("show", [lambda r: render_report(r, width=200), markdown_summary])
def test_a_recommendation_is_told_with_what_stands_behind_it(show: object) -> None:
    told = " ".join(str(show(REPORT)).split())  # type: ignore[operator]
    for expected in (
        "Ship equal/minmax: it passes every gate on the evaluated samples.",
        "the plain set loses 6.1 points, this 0.4; gain 5.7 (4.0–7.4)",
        "Predicted harm to the worst slice: 0.0115 at least by any ranges, 0.012 reached",
        "0.015 by the best set drawn (equal/mse), 0.2 by the plain set",
        "about 150 samples of noise",
        "Chosen on 800 tuning rows (split = 'calibration'), of 3 engines, 2 of which were run",
        "Not tried: ops in float",
        "280 % ✗",
        "top-1 accuracy, noise ≥ 0.4: 5.6 points",
        "worst on tuning rows: where most of a gate is used up",
        "of its gate: that drop as a share of",
    ):
        assert expected in told
    assert told.count("Ship ") == 1, "what was tried on tuning rows stands, not the audit's own"


def test_a_winner_of_the_plain_set_is_compared_with_its_other_engine_by_name() -> None:
    told = replace(RECOMMENDATION, remedy=Remedy.PLAIN_SET, winner="clean/mse", rivals=())
    said = " ".join(recommendation_lines(Index(report(recommendation=told)), told))
    assert "“clean with minmax” loses 6.1 points, this 0.4" in said
    assert "0.2 by “clean with minmax”" in said
    assert "the plain set" not in said


def test_without_a_recommendation_nothing_is_said() -> None:
    assert f"\n{TITLE}\n" not in render_report(report())
    assert TITLE not in markdown_summary(report())


def test_each_option_says_what_became_of_it() -> None:
    rows = list(option_rows(Index(REPORT), RECOMMENDATION))
    assert [row.role for row in rows] == ["plain set", "winner", ""]
    assert rows[2].worst == rows[2].used == "–"
    assert all(len(row.entries) == 6 for row in rows)


def test_drop_and_share_of_the_gate_are_of_one_number() -> None:
    """Gates are 2 points."""
    plain, winner, _ = RECOMMENDATION.options
    told = replace(RECOMMENDATION, options=(replace(plain, drop=0.103, used=1.18),))
    (row,) = option_rows(Index(REPORT), told)
    assert (row.worst, row.used) == ("top-1 accuracy, noise ≥ 0.4: 2.4 points", "118 % ✗")
    told = replace(RECOMMENDATION, options=(replace(winner, used=-0.04),))
    (row,) = option_rows(Index(REPORT), told)
    assert (row.worst, row.used) == ("top-1 accuracy, noise ≥ 0.4: −0.1 points", "−4 %")
    told = replace(RECOMMENDATION, options=(replace(winner, used=0.006),))
    (row,) = option_rows(Index(REPORT), told)
    assert (row.worst, row.used) == ("top-1 accuracy, noise ≥ 0.4: 0.01 points", "1 %")
    ungated = replace(RECOMMENDATION, options=(replace(winner, used=0.08, holds=None),))
    (row,) = option_rows(Index(REPORT), ungated)
    assert (row.worst, row.used) == ("top-1 accuracy, noise ≥ 0.4: 8.0 points", "–")
    assert "of its gate" not in legend_of(ungated)


def test_what_rounds_to_nothing_keeps_its_sign() -> None:
    (gain,) = RECOMMENDATION.gains
    told = replace(RECOMMENDATION, gains=(replace(gain, gain=Part(0.001, -0.0003, 0.007)),))
    lines = list(recommendation_lines(Index(REPORT), told))
    assert any(line.endswith("gain 0.1 (−0.03 to 0.7)") for line in lines)


def test_options_that_were_not_run_come_last() -> None:
    plain, winner, free = RECOMMENDATION.options
    told = replace(RECOMMENDATION, options=(free, plain, winner))
    assert [row.name for row in option_rows(Index(REPORT), told)] == [
        plain.name, winner.name, free.name,
    ]  # fmt: skip


def test_a_share_in_float_is_told() -> None:
    told = replace(RECOMMENDATION, float_macs=0.125)
    lines = list(recommendation_lines(Index(REPORT), told))
    assert "12.5 % of its multiply-accumulates run in float" in lines


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"winner": "nobody"}, "recommendation.winner"),
        ({"plain": "nobody"}, "recommendation.plain"),
        ({"rivals": ("nobody",)}, "recommendation.rivals[0]"),
        (
            {"options": (replace(RECOMMENDATION.options[0], slice="nowhere"),)},
            "recommendation.options[0].slice",
        ),
        (
            {"gains": (replace(RECOMMENDATION.gains[0], metric="none"),)},
            "recommendation.gains[0].metric",
        ),
        (
            {"collect": (replace(RECOMMENDATION.collect[0], slice="nowhere"),)},
            "recommendation.collect[0].slice",
        ),
    ],
)
def test_names_that_point_nowhere_are_noticed(changed: dict[str, object], place: str) -> None:
    made = report(recommendation=replace(RECOMMENDATION, **changed))  # type: ignore[arg-type]
    assert [problem.where for problem in inconsistencies(made, where="r")] == [f"r: {place}"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(reports())
def test_any_recommendation_can_be_shown(made: Report) -> None:
    if made.recommendation is not None:
        assert render_report(made)
        assert markdown_summary(made)
