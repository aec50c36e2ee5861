"""Two reports compared: planted changes, nothing where nothing changed, and what it rests on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.audit.difference import diff_reports
from calaudit.audit.run import run_audit
from calaudit.report.difference import summary
from calaudit.report.files import read_report, write_report
from calaudit.results.comparison import Verdict
from calaudit.results.difference import Change, ReportDifference
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.export.test_export import consistent

SAMPLES = Path(__file__).parents[1] / "results" / "samples"
LOUD = "split = 'calibration' and loudness = 'loud'"
NARROW = AUDIT.replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
OTHER_SET = NARROW.replace(LOUD, LOUD.replace("'loud'", "'quiet'"))
"""The set of the same name is of quiet samples: loud ones are lost, quiet ones won."""


def run(folder: Path, audit: str) -> Path:
    run_audit(make_world(folder, audit=audit), formats="none")
    return folder / "audit"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("before"), NARROW)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("after"), OTHER_SET)


def by_key(found: ReportDifference) -> dict[tuple[str, str, str], Change]:
    return {(each.cell, each.slice, each.metric): each for each in found.changes}


def test_a_report_beside_itself_has_no_change(before: Path) -> None:
    found = diff_reports(before, before / "report.json")
    assert found.exit_status == 0
    assert (found.settings, found.only, found.rebuilt, found.unpaired) == ((), (), (), None)
    assert {each.how for each in found.changes} == {"paired"}
    assert {each.change for each in found.changes} == {0.0}
    assert {each.finding for each in found.changes} == {None}


def test_a_planted_change_is_found_where_it_is(before: Path, after: Path) -> None:
    found = diff_reports(before, after)
    assert found.exit_status == 1
    assert found.unpaired is None
    assert found.rebuilt == ("loud only/minmax",)
    changes = by_key(found)
    assert changes["loud only/minmax", "loudness = loud", "top1"].finding == "worse"
    assert changes["loud only/minmax", "loudness = quiet", "top1"].finding == "better"
    assert {each.finding for each in found.changes if each.cell == "both/minmax"} == {None}
    assert [each.key for each in found.settings] == [
        "calibration set loud only", "calibsets[loud only].candidates"
    ]  # fmt: skip
    back = by_key(diff_reports(after, before))
    for key, one in changes.items():
        assert back[key].change == pytest.approx(-(one.change or 0))
        assert back[key].p_value == pytest.approx(one.p_value)


def test_changes_are_those_of_the_reports_drops(before: Path, after: Path) -> None:
    reports = [read_report(folder / "report.json") for folder in (before, after)]
    drops = [{(r.cell, r.slice, r.metric): r.drop for r in each.results} for each in reports]
    found = by_key(diff_reports(before, after))
    assert found.keys() == drops[0].keys() == drops[1].keys()
    for key, one in found.items():
        first, second = (each[key] for each in drops)
        assert (one.drop_a, one.drop_b) == (first, second)
        assert first is not None
        assert second is not None
        assert one.change == pytest.approx(second - first, abs=1e-9)
        if one.change:
            assert one.low is not None
            assert one.high is not None
            assert one.low <= second - first <= one.high
        assert one.p_adjusted is not None


def moved(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_without_audit_file_or_predictions_it_goes_by_intervals(
    before: Path, after: Path, tmp_path: Path
) -> None:
    a, b = moved(before, tmp_path / "a" / "audit"), moved(after, tmp_path / "b" / "audit")
    found = diff_reports(a, b)
    assert "no audit file beside the results" in str(found.unpaired)
    assert {each.how for each in found.changes} == {"intervals"}
    one = by_key(found)["loud only/minmax", "loudness = loud", "top1"]
    assert one.finding == "worse"
    assert {each.change for each in found.changes if each.cell == "both/minmax"} == {0.0}

    # the audit file may lie elsewhere
    again = diff_reports(a, b, audit=after.with_suffix(".toml"))
    assert again.unpaired is None
    assert by_key(again)["loud only/minmax", "loudness = loud", "top1"].how == "paired"

    for path in (b / "predictions").glob("fp32-*"):
        path.unlink()
    assert "predictions are gone" in str(
        diff_reports(a, b, audit=after.with_suffix(".toml")).unpaired
    )


def test_a_report_copied_out_of_its_folder_is_said_to_be(
    before: Path, after: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(after / "report.json", tmp_path / "copied.json")
    found = diff_reports(before, Path(copy), audit=after.with_suffix(".toml"))
    assert "is not beside this copied.json" in str(found.unpaired)
    assert "gone" not in str(found.unpaired)


def test_pairs_tell_more_than_intervals(before: Path, after: Path, tmp_path: Path) -> None:
    apart = diff_reports(moved(before, tmp_path / "audit"), after, audit=tmp_path / "no.toml")
    assert str(apart.unpaired) == f"--audit {tmp_path / 'no.toml'} isn't there"
    pairs, alone = by_key(diff_reports(before, after)), by_key(apart)
    one, other = (each["both/minmax", "all", "top1"] for each in (pairs, alone))
    assert (one.low, one.high) != (other.low, other.high)
    assert (one.high or 0) - (one.low or 0) < (other.high or 0) - (other.low or 0)


def test_an_audit_file_of_neither_report_is_named_as_such(
    before: Path, after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    other = make_world(tmp_path, audit=NARROW.replace("batch_size = 100", "batch_size = 50"))
    told = calaudit("report", "diff", before, after, "--audit", other)
    assert told.status == 1
    reason = f"by the reports' intervals: --audit {other} isn't the audit file of either report."
    assert reason in " ".join(told.out.split())


def test_a_pool_that_is_gone_is_named(after: Path, tmp_path: Path) -> None:
    folder = run(tmp_path, NARROW)
    (tmp_path / "pool.h5").rename(tmp_path / "moved.h5")
    assert diff_reports(after, folder).unpaired == f"{tmp_path / 'pool.h5'}: there is no such file"


def as_control(audit: str) -> str:
    return audit.replace('name = "loud only"', 'name = "loud only"\nrole = "control"')


def test_controls_and_what_no_gate_holds_are_shown_and_decide_nothing(
    before: Path, after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    a = run(tmp_path / "a", as_control(NARROW))
    b = run(tmp_path / "b", as_control(OTHER_SET))
    found = diff_reports(a, b)
    worse = {key for key, each in by_key(found).items() if each.finding == "worse"}
    assert ("loud only/minmax", "loudness = loud", "top1") in worse
    assert any(metric != "top1" for _, _, metric in worse)
    assert {key[0] for key in worse} == {"loud only/minmax"}
    assert found.exit_status == 0
    told = calaudit("report", "diff", a, b)
    assert told.status == 0
    text = " ".join(told.out.split())
    for part in (
        "loud only/minmax (control)", " not gated ", "(PASS → REGRESSED)",
        "4 gated comparisons of candidates decide: B loses more in 0.",
    ):  # fmt: skip
        assert part in text, part
    # a candidate of either report decides
    for first, second in ((a, after), (before, b)):
        assert diff_reports(first, second).exit_status == 1
    assert "(control)" not in calaudit("report", "diff", a, after).out


def test_what_decides_stands_first(
    before: Path, after: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = calaudit("report", "diff", before, after, "--all").out.split("B loses more, beyond")[1]
    rows = [line for line in lines.split("B loses less")[0].splitlines() if "/minmax" in line]
    held = ["top1 " in line for line in rows]  # the one metric with a gate
    assert {*held} == {True, False}
    assert held == sorted(held, reverse=True)


def test_without_a_gate_nothing_decides(tmp_path: Path) -> None:
    bare = NARROW[: NARROW.index("[[gates]]")]
    a, b = run(tmp_path / "a", bare), run(tmp_path / "b", OTHER_SET[: OTHER_SET.index("[[gates]]")])
    found = diff_reports(a, b)
    assert "worse" in {each.finding for each in found.changes}
    assert found.exit_status == 3
    assert "No gate holds any of a candidate, so nothing decides" in summary(found)


def test_other_models_pools_and_tasks_arent_paired(before: Path, tmp_path: Path) -> None:
    report = read_report(before / "report.json")
    audit = report.audit
    others = {
        "different models": replace(audit, model=replace(audit.model, fingerprint="other")),
        "different pools": replace(audit, pool=replace(audit.pool, fingerprint="other")),
        "[[tasks]] differ": replace(audit, config={**audit.config, "tasks": []}),
    }
    for reason, changed in others.items():
        write_report(replace(report, audit=changed), tmp_path / "report.json")
        found = diff_reports(before, tmp_path / "report.json")
        assert reason in str(found.unpaired)
        assert {each.how for each in found.changes} == {"intervals"}


def test_what_came_and_went_is_named(before: Path, tmp_path: Path) -> None:
    text = NARROW.replace('name = "both"', 'name = "half"').replace('name = "hard"', 'name = "h"')
    folder = run(tmp_path / "other", text.replace(', "nll"', ""))
    found = diff_reports(before, folder)
    assert {each.kind: (each.a, each.b) for each in found.only} == {
        "engines": (("both/minmax",), ("half/minmax",)),
        "slices": (("hard",), ("h",)),
        "metrics": (("nll",), ()),
        "calibration sets": (("both",), ("half",)),
    }
    assert "[[tasks]] differ" in str(found.unpaired)
    assert {each.slice for each in found.changes} == {"all", "loudness = loud", "loudness = quiet"}


def test_a_slice_of_another_size_isnt_paired(before: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "other", NARROW.replace("margin < 0.5", "margin < 0.4"))
    found = diff_reports(before, folder)
    assert {each.how for each in found.changes if each.slice == "hard"} == {"intervals"}
    assert {each.how for each in found.changes if each.slice != "hard"} == {"paired"}
    assert "aren't of the same units" in str(found.unpaired)


def test_nothing_in_common_is_told_and_ends_with_3(before: Path, tmp_path: Path) -> None:
    report = read_report(before / "report.json")
    empty = replace(report, results=(), verdict=Verdict.INCONCLUSIVE)
    write_report(consistent(empty), tmp_path / "report.json")
    found = diff_reports(before, tmp_path / "report.json")
    assert found.exit_status == 3
    assert summary(found).startswith("Nothing is in both reports")


def test_an_engine_that_breaks_more_units_is_worse(before: Path, tmp_path: Path) -> None:
    report = read_report(before / "report.json")
    first, *others = report.results
    broken = replace(first, n_broken=2)
    write_report(replace(report, results=(broken, *others)), tmp_path / "report.json")
    found = diff_reports(before, tmp_path / "report.json")
    (worse,) = (each for each in found.changes if each.finding == "worse")
    assert (worse.cell, worse.slice, worse.broken_a, worse.broken_b) == (
        first.cell, first.slice, 0, 2
    )  # fmt: skip
    assert found.exit_status == 1
    assert "0, 2" in calaudit("report", "diff", before, tmp_path / "report.json").out
    assert diff_reports(tmp_path / "report.json", before).exit_status == 0


@pytest.mark.parametrize("version", [1, 2])
def test_older_reports_are_compared_by_their_intervals(version: int, before: Path) -> None:
    sample = SAMPLES / f"version_{version}.json"
    found = diff_reports(sample, sample)
    assert found.changes
    assert {each.how for each in found.changes} == {"intervals"}
    assert {each.change for each in found.changes} <= {0.0, None}
    assert all(each.finding is None for each in found.changes)
    # the samples are of the same audit on fewer rows
    now = diff_reports(sample, before)
    assert {each.how for each in now.changes} == {"intervals"}
    assert now.unpaired == "the two are of different pools"
    assert now.a.verdict == "REGRESSED"


def test_the_command_prints_both_ways(
    before: Path, after: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = calaudit("report", "diff", before / "report.json", after)
    assert told.status == 1
    assert told.out.startswith("A: world, ")
    for text in (
        "B loses more, beyond noise", "B loses less, beyond noise", "PASS → REGRESSED",
        "Engines of both whose graphs differ: loud only/minmax", "paired, unit by unit.",
        "calibration set loud only",
    ):  # fmt: skip
        assert text in told.out, text
    read = json.loads(calaudit("report", "diff", before, after, "--json").out)
    assert (read["calaudit_format"], read["format_version"]) == ("report difference", 1)
    found = diff_reports(before, after)
    assert [each["finding"] for each in read["changes"]] == [c.finding for c in found.changes]
    assert calaudit("report", "diff", before, before).status == 0
    assert calaudit("report", "diff", before, before / "none.json").status == 2
    few = calaudit("report", "diff", before, after, "--limit", 1)
    assert "more comparison" in few.out
