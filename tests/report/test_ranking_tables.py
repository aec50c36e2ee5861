from dataclasses import replace

from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.results.audited import MetricRecord
from tests.report.factory import EXEMPLARS, RANKING, TOP1, report

NDCG = MetricRecord("ndcg@10", "nDCG@10", "fraction", "mean", True, "bootstrap-t", "linear gain")


def shown(*records, exemplars=(), view=None, metrics=(TOP1,)):
    made = report(ranking_flow=records, exemplars=exemplars, metrics=metrics)
    return render_report(made, view=view, width=120)


def test_the_table_tells_where_places_went_and_why_quality_fell():
    text = shown(RANKING)
    title = (
        "Top-10 positions that changed, in points, under each set's worst engine as measured; "
        "1,443 items, 1,155 in the tail"
    )
    assert title in " ".join(text.split())
    # kept 6,100 of 7,040; 90 head → tail, 210 back; 31 % tie; 0.7 + 0.1 + 0.4 points lost
    row = next(line for line in text.splitlines() if "86.6" in line)
    assert row.split() == ["clean", "minmax", "86.6", "1.3", "3.0", "31.0", "0.7", "0.1", "0.4"]
    assert "lost most: Solaris (1972) 41 → 12; gained most: Star Wars (1977) 300 → 340" in " ".join(
        text.split()
    )


def test_each_calibration_set_is_told_by_the_engine_that_keeps_least():
    flow = RANKING.slices[0].flow
    calmer = replace(RANKING.slices[0], flow=replace(flow, kept=7000.0))
    other = replace(RANKING, cell="clean/mse", slices=(calmer,))
    third = replace(RANKING, cell="equal/mse", slices=(calmer,))
    text = shown(third, other, RANKING)
    assert text.count("99.4") == 1
    assert text.index("86.6") < text.index("99.4")
    assert shown(third, other, RANKING, view=View(by_method=True)).count("99.4") == 2


def test_without_a_tail_or_rankings_nothing_is_told():
    bare = replace(RANKING, slices=(replace(RANKING.slices[0], flow=None),))
    for records in ((), (bare,), (replace(RANKING, slices=()),)):
        assert "positions that changed" not in shown(*records)


def test_no_places_and_no_split_leave_gaps_not_errors():
    part = RANKING.slices[0]
    empty = replace(part, n=0, candidate_ties=None, losses=(), flow=replace(part.flow, places=0.0))
    text = shown(replace(RANKING, slices=(empty,), lost=(), gained=()))
    assert "Top-10 positions" in text
    assert "lost most" not in text


def test_a_line_per_metric_names_those_that_flip_under_most_engines():
    line = "By top-1 accuracy, 2 samples flip under most of 4 engines: img-7 (3 lost, 0 gained) and"
    assert line in shown(exemplars=(EXEMPLARS,))
    one = replace(EXEMPLARS, flipping=1)
    assert "1 sample flips under most of 4 engines" in shown(exemplars=(one,))
    two = replace(EXEMPLARS, engines=2)
    assert "2 samples flip under both engines" in shown(exemplars=(two,))
    assert "flip" not in shown(exemplars=(replace(EXEMPLARS, flipping=0, shown=()),)).replace(
        "flips: lost/gained", ""
    ).replace("flips", "")


def test_scores_that_are_not_right_or_wrong_change_and_do_not_flip():
    one = replace(EXEMPLARS, flipping=1, metric="ndcg@10", unit="query", least=0.02)
    text = shown(exemplars=(one,), metrics=(TOP1, NDCG))
    line = "By nDCG@10, 1 query changes by more than 2.0 points under most of 4 engines:"
    assert f"{line} img-7 (3 worse, 0 better)" in " ".join(text.split())
    two = replace(one, flipping=2, metric="mae", unit="sample", least=0.0)
    mae = MetricRecord("mae", "MAE", "target", "mean", False, "bootstrap-t", "")
    text = shown(exemplars=(two,), metrics=(TOP1, mae))
    assert "By MAE, 2 samples change under most of 4 engines:" in " ".join(text.split())


def test_the_legend_explains_flips_only_where_a_column_shows_them():
    with_flips = report()
    assert any(each.flips is not None for each in with_flips.results)
    assert "flips: lost/gained" in render_report(with_flips, width=120)
    bare = replace(
        with_flips, results=tuple(replace(each, flips=None) for each in with_flips.results)
    )
    assert "lost/gained" not in render_report(bare, width=120)
