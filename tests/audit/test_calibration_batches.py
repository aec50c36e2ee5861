"""``entropy-trt`` in audits: made from the batches that the audit file names, kept, and told."""

from pathlib import Path

import pytest

from calaudit.audit import observed
from calaudit.audit.config import read_audit
from calaudit.audit.plan import Plan, make_plan
from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.formats.ranges import open_ranges
from calaudit.formats.scales import open_scales
from calaudit.results.report import Report
from calaudit.steps.calibrate import scales_from_ranges
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

KEYS = 'methods = ["minmax", "entropy-trt"]'


def world(folder: Path, keys: str = "") -> Path:
    audit = AUDIT.replace('methods = ["minmax", "mse"]', f"{KEYS}\n{keys}")
    return make_world(folder, n=600, audit=audit)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What every observation was asked for."""
    asked: list[object] = []
    calibrate = observed.calibrate

    def noted(*given, **settings):
        asked.append(settings["batching"])
        return calibrate(*given, **settings)

    monkeypatch.setattr(observed, "calibrate", noted)
    return asked


def scales(report: Report, path: Path) -> dict[str, dict[str, float]]:
    return {
        cell.id: dict(open_scales(path.parent / str(cell.scales)).scales)
        for cell in report.cells
        if cell.scales is not None
    }


def test_batches_are_recorded_with_the_scales_the_engine_and_the_ranges(tmp_path: Path) -> None:
    keys = 'calibration_batch = 7\ncalibration_order = "stored"'
    report, path = run_audit(world(tmp_path, keys), formats="html")
    wanted = {"calibration_batch": 7, "calibration_order": "stored"}
    for cell in report.cells:
        table = open_scales(path.parent / str(cell.scales))
        assert cell.engine is not None
        recorded = {name: cell.engine.options.get(name) for name in wanted}
        if cell.method == "minmax":
            assert table.options == {}
            assert set(recorded.values()) == {None}
        else:
            assert table.options == recorded == wanted
            assert "calibration_filled" in {notice.code for notice in table.notices}
    ranges = path.parent / "ranges" / str(report.audit.ranges)
    assert {each.batching.size for each in open_ranges(ranges).equal_bins.values()} == {7}
    found = scales_from_ranges(ranges, groups=["loud only", "both"], methods=["entropy-trt"])
    for table in found:
        assert table.scales == scales(report, path)[f"{table.calibset}/entropy-trt"]
    page = (path.parent / "report.html").read_text(encoding="utf-8")
    assert "entropy-trt" in page


def test_other_batches_change_what_they_should_and_nothing_else(tmp_path: Path) -> None:
    def plan(keys: str, methods: str = KEYS) -> Plan:
        path = world(tmp_path, keys)
        path.write_text(path.read_text().replace(KEYS, methods))
        return make_plan(
            read_audit(path),
            model="m",
            pool="p",
            rows="r",
            folder=tmp_path,
            seed=0,
            backends={"onnxruntime": "o"},
        )

    base = plan("")
    assert plan('calibration_batch = 64\ncalibration_order = "mixed"').key == base.key
    for keys in ("calibration_batch = 8", 'calibration_order = "stored"'):
        other = plan(keys)
        assert other.ranges != base.ranges
        for one, two in zip(base.cells, other.cells, strict=True):
            assert (one.predictions == two.predictions) == (one.method == "minmax")
            assert (one.scales == two.scales) == (one.method == "minmax")
    alone = 'methods = ["minmax"]'
    assert plan("", alone).ranges != base.ranges, "they hold no equal bins"
    assert plan("calibration_batch = 8", alone).key == plan("", alone).key


def test_an_audit_goes_on_without_another_pass_and_jobs_change_nothing(
    tmp_path: Path, passes: list[object]
) -> None:
    audit = world(tmp_path, "calibration_batch = 16")
    first, path = run_audit(audit)
    wanted = scales(first, path)
    for missing in ("scales", "predictions", "engines"):
        for each in (path.parent / missing).iterdir():
            each.unlink()
    again, path = run_audit(audit, Overrides(jobs=3))
    assert len(passes) == 1
    assert str(passes[0]) == "batches of 16, mixed order, last one filled"
    assert scales(again, path) == wanted
    assert wanted["both/entropy-trt"] != wanted["both/minmax"]


def test_audits_without_the_method_take_one_pass(tmp_path: Path, passes: list[object]) -> None:
    run_audit(make_world(tmp_path, n=600), formats="none")
    assert passes == [None]


def test_a_dry_run_tells_of_the_second_pass(tmp_path: Path) -> None:
    told = "Ranges take two passes over the calibration samples: entropy-trt"
    audit = world(tmp_path / "two")
    assert told in calaudit("compare", audit, "--dry-run").out
    run_audit(audit, formats="none")
    assert told not in calaudit("status", audit).out
    one = make_world(tmp_path / "one", n=600)
    assert told not in calaudit("compare", one, "--dry-run").out
