"""What is said beside a verdict or an interval that would else be misread."""

from dataclasses import replace

from calaudit.report.findings import findings
from calaudit.report.headline import control_sentences, headline
from calaudit.report.html.found import set_rows
from calaudit.report.html.page import environment, html_page
from calaudit.report.index import Index
from calaudit.report.markdown import markdown_summary
from calaudit.report.remarks import remark, remarks
from calaudit.report.terminal import render_report
from calaudit.results.audited import SliceRecord
from calaudit.results.comparison import Result
from calaudit.results.drops import Attribution, Part
from calaudit.results.foreign import ForeignRecord
from tests.report.factory import SAMPLE, TOP1, cell, report, result

OBJECTS = replace(TOP1, name="object_recall", title="recall of objects", per="object")


def clustered(**changes: object) -> Result:
    """80 objects of 20 images, 4 of each, of which one image's changed."""
    own = {"interval": "tango-clustered", "n_clusters": 20, "n_effective": 20.0}
    made = result("clean/minmax", "rare", 0.01, "INCONCLUSIVE", n=80, half=0.06)
    return replace(made, **{**own, "design_effect": 4.0, **changes})


def flat(text: str) -> str:
    return " ".join(text.split())


def test_an_interval_below_the_gate_that_passes_nothing_has_its_reason_at_any_width() -> None:
    thin = replace(result("clean/minmax", "s", 0.0, "INCONCLUSIVE"), reason="too few units")
    wide = replace(result("equal/minmax", "s", 0.01, "INCONCLUSIVE"), reason="interval too wide")
    made = report([thin, wide])
    told = "inconclusive though the interval is below the gate: too few units (1)"
    for width in (80, 120, 200):
        assert told in flat(render_report(made, width=width))
    page = html_page(made)
    assert told in flat(page)
    assert "rests on enough units and clusters to count" in flat(page)
    assert "though the interval" not in render_report(report([wide]))


def test_a_regression_whose_interval_reaches_0_says_by_which_test() -> None:
    odd = replace(
        result("clean/minmax", "s", 0.287, "REGRESSED", half=0.3), alpha=0.05, joint_low=0.01
    )
    assert remark(odd) == "one-sided test"
    told = (
        "regressed though the 95 % interval reaches 0 (1): by a one-sided test and lower bound "
        "at 5 %"
    )
    assert list(remarks([odd, *SAMPLE])) == [told]
    assert told in flat(render_report(report([odd])))
    assert told in flat(html_page(report([odd])))
    assert told.split(" (", maxsplit=1)[0] in markdown_summary(report([odd]))
    assert "one-sided test" not in render_report(report())


def test_an_interval_that_few_changed_clusters_widened_is_marked_and_explained() -> None:
    shown = render_report(report([clustered(), *SAMPLE[:2]]), width=200)
    assert "−5.0 to 7.0*" in shown
    assert "few clusters changed" in next(line for line in shown.splitlines() if "rare" in line)
    told = "* few clusters changed: each counts as if it had changed as a whole"
    assert told in flat(shown)
    assert told in flat(html_page(report([clustered()])))
    summary = markdown_summary(report([clustered()]))
    assert "(−5.0 to 7.0)\\*" in summary
    assert "few clusters changed" in summary


def test_an_interval_that_clusters_did_not_widen_has_no_mark() -> None:
    for own in (
        {"design_effect": 1.3},
        {"interval": "tango", "n_clusters": None, "design_effect": None},
        {"n_clusters": 80, "n_effective": 80.0, "design_effect": 1.0},
        {"interval": "jackknife", "design_effect": None},
    ):
        assert remark(clustered(**own)) == ""
    assert remark(clustered(interval="clopper-pearson", design_effect=None))


def test_the_attribution_says_that_its_intervals_are_not_widened() -> None:
    part = Part(0.06, 0.04, 0.08)
    one = Attribution(
        "rare", "top1", "minmax", "clean", 1, True, 0.06, 0.0, "equal", part, part, None, None,
        0.95, 0.001, 0.001, ("this-set",),
    )  # fmt: skip
    for own, told in ((clustered(), True), (clustered(design_effect=1.3), False)):
        made = replace(report([own]), attribution=(one,))
        shown = "where a result's own has *, these aren't widened"
        assert (shown in flat(render_report(made, width=200))) is told


def test_a_larger_drop_than_the_surest_is_told_beside_it() -> None:
    sure = replace(result("equal/minmax", "all", 0.059, "REGRESSED"), joint_low=0.027)
    large = replace(result("clean/minmax", "s", 0.094, "REGRESSED", half=0.09), joint_low=-0.005)
    told = headline(report([sure, large]))
    assert told.startswith("Calibrated on equal, minmax loses 5.9 points")
    assert (
        "; the largest drop measured, 9.4 points on s under clean with minmax (−0.5 to 18.4), is "
        "less sure; "
    ) in told
    near = replace(large, drop=0.06)
    assert "largest" not in headline(report([sure, near]))
    assert "largest" not in headline(report([sure]))


def test_a_controls_larger_drop_is_told_too() -> None:
    control = cell("narrow", "minmax", role="control")
    sure = replace(result(control.id, "noise", 0.208, "REGRESSED"), joint_low=0.09)
    large = replace(result(control.id, "clean", 0.287, "REGRESSED", half=0.3), joint_low=-0.05)
    (told,) = control_sentences(Index(report([sure, large], cells=(control,))))
    assert "the clearest: minmax loses 20.8 points" in told
    assert told.endswith(
        "; the largest drop measured, 28.7 points on clean (−5.0 to 58.7), is less sure."
    )


def test_samples_that_are_needed_are_told_unit_by_unit() -> None:
    samples = [
        result("clean/minmax", name, 0.01, "INCONCLUSIVE", n=130, n_needed=n)
        for name, n in (("a", 301), ("b", 305), ("c", 302))
    ]
    objects = replace(samples[0], metric="object_recall", n=512, n_needed=1612)
    slices = tuple(SliceRecord(name, 130, True) for name in ("all", "a", "b", "c"))
    made = report([*samples, objects], metrics=(TOP1, OBJECTS), slices=slices)
    assert findings(made)[2].endswith(
        "; the median required sample size is 302 samples and 1,612 objects."
    )
    alone = report(samples, slices=slices)
    assert findings(alone)[2].endswith("; the median required sample size is 302.")


def test_a_legend_explains_no_column_that_is_left_out() -> None:
    made = report()
    wide, narrow = (flat(render_report(made, width=width)) for width in (200, 70))
    assert "flips: lost/gained" in wide
    assert "flips" not in narrow


def test_names_of_engines_that_others_made_do_not_stand_under_calibrated_on() -> None:
    theirs = cell(None, None, foreign=ForeignRecord("theirs", "onnx", "t.onnx", "f"))
    results = [result(each, "s", 0.06, "REGRESSED") for each in ("clean/minmax", theirs.id)]
    mixed = report(results, cells=(cell("clean"), theirs))
    for told in (render_report(mixed, width=200), html_page(mixed), markdown_summary(mixed)):
        assert "set or engine" in told
    for told in (render_report(report(), width=200), html_page(report())):
        assert "set or engine" not in told
        assert "calibrated on" in told


def test_a_table_has_no_rows_without_a_number() -> None:
    objects = replace(result("clean/minmax", "class = red", 0.01, "PASS"), metric="object_recall")
    made = report([*SAMPLE, objects], metrics=(TOP1, OBJECTS))
    for width, tables in ((200, 1), (60, 2)):
        text = render_report(made, width=width)
        every = text.split("Every metric: ")[1:]
        assert len(every) == tables
        for table in every:
            lines = table.split("───\n", 1)[1].split("\n\n")[0].splitlines()
            assert all(any(c.isdigit() for c in line.split("minmax")[-1]) for line in lines)


def test_the_largest_drop_of_a_set_names_its_metric_where_there_are_several() -> None:
    objects = replace(result("clean/minmax", "class = red", 0.09, "PASS"), metric="object_recall")
    cells = (cell("clean"),)
    several = report([SAMPLE[0], objects], metrics=(TOP1, OBJECTS), cells=cells)
    assert set_rows(Index(several))[0].worst == "9.0 points of recall of objects on class = red"
    alone = report([SAMPLE[0]], cells=cells)
    assert set_rows(Index(alone))[0].worst == "1.2 points on all"


def test_names_of_tensors_break_behind_their_parts() -> None:
    breakable = environment().filters["breakable"]
    assert breakable("/a/Mul_output_0") == "/<wbr>a/<wbr>Mul_<wbr>output_<wbr>0"
    assert breakable("min<max+head") == "min&lt;max<wbr>+head"


def test_intervals_of_findings_are_told_beside_their_picture() -> None:
    page = html_page(report())
    assert '<small class="muted">4.8–7.4</small>' in page
