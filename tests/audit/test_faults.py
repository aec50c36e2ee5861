from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.audit.records import left_out_notices
from calaudit.audit.run import run_audit
from calaudit.backends.base import Engine
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.report.findings import attribution_sentence
from calaudit.report.headline import headline
from calaudit.report.html.page import html_page
from calaudit.report.index import Index
from calaudit.report.junit import junit_xml
from calaudit.report.markdown import markdown_summary
from calaudit.report.terminal import render_report
from calaudit.results.document import to_document
from calaudit.results.report import Report
from calaudit.results.schema import schema_problems
from calaudit.runtime.errors import SettingsError, SliceError
from calaudit.slices.evaluate import select_rows
from calaudit.steps.predict import predict
from tests.audit.world import AUDIT, make_world
from tests.statistics.cases import WER, comparison

QUIET_TOO = """
[[calibsets]]
name = "quiet only"
size = 40
candidates = "split = 'calibration' and loudness = 'quiet'"
"""
DRAWN_OFTEN = AUDIT.replace("batch_size = 100", "batch_size = 100\nreplicates = 3") + QUIET_TOO
IN_CLUSTERS = AUDIT.replace("batch_size = 100", 'batch_size = 100\ncluster_by = "loudness"')


@pytest.fixture(scope="module")
def drawn_often(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_world(tmp_path_factory.mktemp("replicates"), audit=DRAWN_OFTEN)
    report, _ = run_audit(audit)
    return audit.parent, report


def test_every_recipe_is_drawn_as_often_as_asked(drawn_often: tuple[Path, Report]) -> None:
    folder, report = drawn_often
    assert [(c.name, c.recipe, c.draw) for c in report.calibsets] == [
        ("loud only", "loud only", 1),
        ("loud only#2", "loud only", 2),
        ("loud only#3", "loud only", 3),
        ("both", "both", 1),
        ("both#2", "both", 2),
        ("both#3", "both", 3),
        ("quiet only", "quiet only", 1),
        ("quiet only#2", "quiet only", 2),
        ("quiet only#3", "quiet only", 3),
    ]
    assert "both#2/mse" in [cell.id for cell in report.cells]
    first, second = (
        open_calibset(next((folder / "audit" / "calibsets").glob(f"{name}-*.h5")))
        for name in ("both", "both_2")
    )
    assert set(first.ids) != set(second.ids)
    assert list(schema_problems(to_document(report), where="report")) == []


def test_more_draws_change_no_set_that_was_drawn(
    drawn_often: tuple[Path, Report], tmp_path: Path
) -> None:
    folder, _ = drawn_often
    run_audit(make_world(tmp_path))
    names = {path.name for path in (tmp_path / "audit" / "calibsets").iterdir()}
    assert names < {path.name for path in (folder / "audit" / "calibsets").iterdir()}


def test_the_set_that_does_harm_is_named(drawn_often: tuple[Path, Report]) -> None:
    _, report = drawn_often
    (harmed,) = (
        one
        for one in report.attribution
        if (one.slice, one.metric, one.method, one.recipe)
        == ("loudness = quiet", "top1", "minmax", "loud only")
    )
    assert (harmed.findings, harmed.best, harmed.draws) == (("this-set",), "quiet only", 3)
    assert harmed.addition.low is not None
    assert 0 < harmed.addition.low < (harmed.addition.value or 0) < (harmed.addition.high or 0)
    assert harmed.luck is not None
    sentence = attribution_sentence(Index(report), harmed)
    assert sentence.startswith(
        "Caused by this calibration set: on loudness = quiet, minmax calibrated on"
    )
    assert sentence.endswith("more of top-1 accuracy than under the best other set tried.")
    assert "Attribution" in render_report(report)
    assert headline(report)
    assert all(
        one.findings == ()
        for one in report.attribution
        if (one.slice, one.recipe) == ("loudness = quiet", "quiet only")
    )


def test_harm_that_every_set_does_is_no_sets_fault(tmp_path: Path) -> None:
    report, _ = run_audit(make_world(tmp_path))  # both of its sets hold loud samples
    found = [one for one in report.attribution if one.slice == "loudness = quiet"]
    assert {one.findings for one in found} == {("no-set-fixes",)}
    sentence = attribution_sentence(Index(report), found[0])
    assert sentence.startswith("No calibration set tried here fixes it: on loudness = quiet, ")
    assert {one.elsewhere.method for one in found if one.elsewhere} == {"minmax", "mse"}


def test_with_one_draw_no_recipe_is_blamed_and_what_its_set_does_is_told(tmp_path: Path) -> None:
    report, _ = run_audit(make_world(tmp_path, audit=AUDIT + QUIET_TOO))
    harmed = [one for one in report.attribution if one.findings and not one.settled]
    assert harmed
    assert not [one for one in harmed if "this-set" in one.findings]
    sure = [one for one in harmed if one.p_addition is not None and one.p_addition < 0.025]
    assert sure
    assert all(one.luck is None and one.draws == 1 for one in harmed)
    assert attribution_sentence(Index(report), sure[0]).endswith(
        "can't be separated from between-draw variation."
    )


def test_the_bounds_of_all_gated_results_are_told_and_hold_below_their_own(
    drawn_often: tuple[Path, Report],
) -> None:
    _, report = drawn_often
    gated = [r for r in report.results if r.gate is not None and r.low is not None]
    assert gated
    for one in gated:
        assert one.low is not None
        assert one.joint_low is not None
        assert one.joint_low <= one.low
    assert all(r.joint_low is None for r in report.results if r.gate is None)
    assert "corrected for selection from" in headline(report)


OFTEN = AUDIT.replace("batch_size = 100", "batch_size = 100\nreplicates = 3")


def recipe_of(name: str, text: str) -> str:
    return f'\n[[calibsets]]\nname = "{name}"\n{text}\n'


def test_a_recipe_that_takes_every_candidate_is_drawn_once_and_said_to(tmp_path: Path) -> None:
    few = "split = 'calibration' and loudness = 'quiet'"
    audit = make_world(tmp_path)
    with open_pool(tmp_path / "pool.h5") as pool:
        size = len(select_rows(few, pool, where="test"))
    whole = recipe_of("whole", f'size = {size}\ncandidates = "{few}"')
    audit.write_text(OFTEN + whole, encoding="utf-8")
    report, _ = run_audit(audit)
    drawn = [(one.name, one.size) for one in report.calibsets if one.recipe == "whole"]
    assert drawn == [("whole", size)]
    assert [n.where for n in report.warnings if n.code == "drawn_once"] == ["calibration set whole"]
    own = [one for one in report.attribution if one.recipe == "whole"]
    assert own
    assert all(one.settled and one.draws == 1 and one.luck is None for one in own)
    others = [one for one in report.attribution if one.recipe == "loud only"]
    assert all(one.luck is not None and not one.settled for one in others)


def test_a_recipe_with_a_seed_of_its_own_is_drawn_anew_all_the_same(tmp_path: Path) -> None:
    seeded = recipe_of("seeded", "size = 40\nseed = 7")
    report, folder = run_audit(make_world(tmp_path, audit=OFTEN + seeded))
    sets = [
        open_calibset(next((folder.parent / "calibsets").glob(f"{name}-*.h5")))
        for name in ("seeded", "seeded_2", "seeded_3")
    ]
    assert len({tuple(each.ids) for each in sets}) == 3
    assert not [one for one in report.warnings if one.code.startswith("drawn")]


def test_the_worst_slice_of_each_engine_is_told_with_its_gap(
    drawn_often: tuple[Path, Report],
) -> None:
    _, report = drawn_often
    gap = next(g for g in report.gaps if (g.cell, g.metric) == ("loud only/minmax", "top1"))
    assert gap.slice in {"loudness = quiet", "hard"}
    assert gap.gap.low is not None
    assert gap.gap.low > 0
    assert len([g for g in report.gaps if g.metric == "top1"]) == len(report.cells)


def test_slices_that_are_clusters_themselves_are_judged_by_their_samples(tmp_path: Path) -> None:
    report, _ = run_audit(make_world(tmp_path, audit=IN_CLUSTERS))
    own = [r for r in report.results if r.slice == "loudness = quiet" and r.metric == "top1"]
    assert all(r.n_clusters is None and r.interval == "tango" for r in own)
    over_all = [r for r in report.results if r.slice == "all" and r.metric == "top1"]
    # Two clusters say nothing of a third.
    assert {(r.n_clusters, r.interval, r.verdict) for r in over_all} == {(2, None, "INCONCLUSIVE")}


def test_slices_by_some_of_the_clusters_columns_hold_several_clusters(tmp_path: Path) -> None:
    text = IN_CLUSTERS.replace('cluster_by = "loudness"', 'cluster_by = ["loudness", "split"]')
    report, _ = run_audit(make_world(tmp_path, audit=text))
    found = {r.slice: r.n_clusters for r in report.results if r.metric == "top1"}
    assert (found["all"], found["loudness = quiet"]) == (2, 1)


def test_a_column_that_is_not_there_can_not_be_clustered_by(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=IN_CLUSTERS.replace('"loudness"\n', '"loudnes"\n', 1))
    with pytest.raises(SliceError, match=r"audit\.cluster_by") as caught:
        run_audit(audit)
    assert "loudness" in str(caught.value)


def test_a_gate_may_be_a_share_of_what_fp32_reaches(tmp_path: Path) -> None:
    text = AUDIT.replace("max_drop = 0.05", "max_relative_drop = 0.05")
    report, _ = run_audit(make_world(tmp_path, audit=text))
    gated = [r for r in report.results if r.gate is not None and r.reference]
    assert gated
    for one in gated:
        assert one.gate is not None
        assert one.gate.max_relative_drop == 0.05
        assert one.gate.max_drop == pytest.approx(0.05 * (one.reference or 0))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("max_drop = 0.05", "", "neither max_drop nor max_relative_drop"),
        ("max_drop = 0.05", "max_relative_drop = 0", "max_relative_drop must be a positive"),
        ("max_drop = 0.05", "max_relative_drop = 1.0", "lose everything"),
        ("batch_size = 100", "replicates = 0", "replicates must lie between"),
        ("batch_size = 100", "calibration_batch = 0", "calibration_batch must be"),
        ("batch_size = 100", 'calibration_order = "random"', "calibration_order"),
        ('name = "both"', 'name = "both#2"', "looks like a repeated draw"),
        ("batch_size = 100", "threads = 999999", "threads must lie between"),
        ("batch_size = 100", "level = 0.999999999", "level must lie between"),
        ("batch_size = 100", "seed = 9223372036854775807\nbatch_size = 0", "batch_size must be"),
        ('name = "both"', 'name = "both"\nfile = "both.h5"', "file and kind"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        run_audit(make_world(tmp_path, audit=AUDIT.replace(before, after)))


def test_a_category_that_nobody_evaluated_is_in_is_noted_and_not_gated(tmp_path: Path) -> None:
    audit = make_world(tmp_path)
    with h5py.File(tmp_path / "pool.h5", "a") as file:
        loudness, split = file["meta/loudness"], file["meta/split"]
        values = loudness[:]
        values[np.flatnonzero(split[:] == b"calibration")[:9]] = b"hall"
        loudness[:] = values
    report, _ = run_audit(audit)
    verdicts = {one.slice: one.verdict for one in report.results if one.metric == "top1"}
    assert verdicts["loudness = hall"] is None
    assert verdicts["loudness = quiet"] is not None
    (note,) = (one.message for one in report.warnings if one.code == "slices_not_evaluated")
    assert note == (
        "samples of the pool, but no evaluated ones, are in loudness = hall (9): patterns of gates "
        "leave these slices out"
    )
    named = audit.read_text() + '\n[[gates]]\nmetric = "top1"\nslices = "loudness = hall"\n'
    audit.write_text(f"{named}max_drop = 0.02\n")
    with pytest.raises(SliceError, match=r"gated but holds no evaluated sample"):
        run_audit(audit)


class _Overflowing:
    """An engine that gives NaN for one class of its first four samples."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.left = 4

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        outputs = {name: values.copy() for name, values in self.engine.run(inputs).items()}
        for values in outputs.values():
            values[: self.left, 3] = np.nan
            self.left = max(0, self.left - len(values))
        return outputs


@pytest.mark.parametrize("gated", [True, False])
def test_an_engine_that_overflows_where_fp32_does_not_has_regressed_and_everyone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    def overflowing(engine: Engine, *args: Any, is_reference: bool, **how: Any) -> Predictions:
        return predict(engine if is_reference else _Overflowing(engine), *args, **how)

    monkeypatch.setattr("calaudit.audit.engines.predict", overflowing)
    text = AUDIT.replace('["minmax", "mse"]', '["mse"]')
    gates = text.index("[[gates]]")
    report, _ = run_audit(make_world(tmp_path, n=600, audit=text if gated else text[:gates]))
    assert report.verdict == ("REGRESSED" if gated else "INCONCLUSIVE")
    assert {r.n_broken for r in report.results if r.slice == "all"} == {4}
    assert {(r.metric, r.verdict) for r in report.results if r.n_broken and r.gate} == (
        {("top1", "REGRESSED")} if gated else set()
    )
    assert "gives non-finite outputs for 4 of" in headline(report)
    codes = [notice.code for notice in report.warnings]
    assert codes.count("output_not_finite") == codes.count("units_broken") == 2  # one per cell
    for render in (render_report, markdown_summary, html_page, *([junit_xml] if gated else [])):
        shown = render(report)
        assert "4 broken" in shown or "for 4 of" in shown


def test_a_slice_on_which_a_metric_has_no_value_is_noted_once() -> None:
    undefined = comparison(metric=WER, reference=None, candidate=None, drop=None, n_broken=0)
    missing = comparison(slice="all", metric=WER, n_left_out=3)
    broken = comparison(slice="all", n_broken=4)
    empty = comparison(n=0, reference=None, drop=None)
    notices = left_out_notices([undefined, undefined, missing, broken, broken, empty])
    assert [(notice.code, str(notice)) for notice in notices] == [
        (
            "metric_not_defined",
            "metric wer: isn't defined on slice s, though 200 units have a score",
        ),
        ("units_left_out", "metric wer: 3 units have no score under FP32 and are left out"),
        (
            "units_broken",
            "cell c: 4 units that FP32 scores have no score under it by top1: it has regressed",
        ),
    ]
