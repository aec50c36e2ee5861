"""Predicted harm in words and tables."""

import re
from dataclasses import replace

import pytest

from calaudit.report.harm import harm_rows, harm_sentences
from calaudit.report.html.causes import make_causes
from calaudit.report.index import Index
from calaudit.report.markdown import markdown_summary
from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.report.wording import MISSING
from calaudit.results.harm import HarmRank, HarmRecord
from calaudit.results.report import Report
from tests.report.factory import HARM, cell, report


def index_of(harm: HarmRecord | None) -> Index:
    return Index(report(harm=harm))


def sentences(*ranks: HarmRank) -> list[str]:
    return list(harm_sentences(index_of(replace(HARM, ranks=ranks))))


def test_slices_that_ranges_harm_most_beyond_the_least_come_first() -> None:
    rows = harm_rows(index_of(HARM), {"all", "noise < 0.4", "noise ≥ 0.4"})
    assert [row.slice for row in rows] == ["noise ≥ 0.4", "all", "noise < 0.4"]
    first = rows[0]
    assert (first.best, first.worst, first.tap) == ("equal/minmax", "clean/minmax", "image")
    assert first.worst_harm == pytest.approx(0.2151)
    assert first.clipping == pytest.approx(0.21 / 0.2151)
    assert [row.slice for row in harm_rows(index_of(HARM), {"all"})] == ["all"]


def test_what_no_ranges_can_do_better_than_is_said_beside_the_nearest_engine() -> None:
    told = sentences(HarmRank(None, 0.9, 0.002, 8, 3))[0]
    assert "below 0.0045" in told
    assert "equal with minmax comes nearest, with 0.0061" in told


def with_an_exempted_engine() -> Report:
    """Its ranges are fewer, and its harm is below what ranges of all taps can reach."""
    (_, equal) = HARM.cells
    part = replace(
        equal, cell="equal/minmax+stem", clipping=(0.0,) * 3, resolution=(0.001, 0.001, 0.001)
    )
    made = report(harm=replace(HARM, cells=(*HARM.cells, part)))
    exempted = cell("equal", "minmax", id="equal/minmax+stem", exemption="stem")
    return replace(made, cells=(*made.cells, exempted))


def test_engines_with_fewer_ranges_are_not_held_against_the_bound_of_all() -> None:
    index = Index(with_an_exempted_engine())
    told = " ".join(harm_sentences(index))
    assert (
        "of the engines without an exemption equal with minmax comes nearest, with 0.0061" in told
    )
    assert "none of them is named as the best" in told
    rows = harm_rows(index, {"all", "noise < 0.4", "noise ≥ 0.4"})
    assert {row.best for row in rows} <= {"equal/minmax", "clean/minmax"}
    assert all(row.least <= row.best_harm <= row.worst_harm for row in rows)
    causes = make_causes(index)
    assert causes is not None
    least = {table.label: {row[2] for row in table.rows} for table in causes.tables}
    assert least.pop("equal, minmax+stem") == {MISSING}
    assert all(MISSING not in each for each in least.values())


def test_exempted_engines_alone_are_held_against_nothing() -> None:
    made = with_an_exempted_engine()
    assert made.harm is not None
    alone = Index(replace(made, harm=replace(made.harm, cells=made.harm.cells[-1:])))
    assert harm_rows(alone, {"all"}) == []
    assert "below 0.0045" not in " ".join(harm_sentences(alone))


def test_a_prediction_that_ranks_engines_says_how_well() -> None:
    (told,) = sentences(HarmRank(None, 0.93, 0.002, 8, 3), HarmRank("top1", 0.6, 0.04, 8, 3))[1:]
    assert told == (
        "Within slices, predicted harm ranks the 8 engines much as the error of their outputs "
        "(rank correlation 0.93, p = 0.002); roughly as drops of top-1 accuracy (rank correlation "
        "0.60, p = 0.04)."
    )


@pytest.mark.parametrize(("correlation", "p_value"), [(0.3, 0.001), (0.8, 0.2), (-0.4, 0.9)])
def test_a_weak_prediction_is_called_so_with_what_to_do(correlation: float, p_value: float) -> None:
    told = sentences(HarmRank(None, correlation, p_value, 8, 3))[1:]
    assert "ranks the 8 engines hardly as the error of their outputs (" in told[0]
    assert "running them does" in told[1]


def test_too_few_engines_to_tell_is_said() -> None:
    told = sentences(HarmRank(None, None, None, 4, 3), HarmRank("top1", None, None, 4, 3))[1:]
    assert told == [
        "Whether predicted harm ranks engines of this model can't be told from 4 engines: it "
        "takes 5."
    ]
    told = sentences(HarmRank(None, None, None, 9, 0))[1:]
    assert told == [
        "Whether predicted harm ranks these engines can't be told: none differs from another."
    ]


def test_terminal_and_markdown_show_the_same_slices_and_sentences() -> None:
    made = report(harm=HARM)
    text, summary = render_report(made, width=200), markdown_summary(made)
    for shown in (text, summary):
        assert "Predicted harm, by histograms of the tuning rows" in shown
        for sentence in harm_sentences(Index(made)):
            assert sentence in shown
    assert summary.count("`clean/minmax`") == 3
    one = render_report(made, view=View(slices="noise < 0.4"), width=200)
    assert re.search(r"noise < 0.4 +380 +0.0021 +clean/minmax +0.0035", one)
    assert not re.search(r"noise ≥ 0.4 +132", one)
    for without in (report(), report(harm=replace(HARM, cells=()))):
        assert "redicted harm" not in render_report(without)
        assert "redicted harm" not in markdown_summary(without)
