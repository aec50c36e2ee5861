"""What a bench measured stays in later reports, as long as its engines are what they were."""

from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.audit.earlier import forgotten, still_benched
from calaudit.audit.run import run_audit
from calaudit.report.files import read_report, write_report
from calaudit.results.bench import BenchRecord, Ratio
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice
from tests.audit.world import AUDIT, make_world
from tests.report.bench.planted import MACHINE, WHEN, engine, ratios, speed_of
from tests.report.benched import SETTINGS

LOUD, BOTH = "loud only/minmax", "both/minmax"


def with_bench(report: Report) -> Report:
    """FP32 and two INT8 engines, one of them also with other knobs."""
    cells = {cell.id: cell for cell in report.cells}

    def of(name: str) -> str:
        made = cells[name].engine
        assert made is not None
        return made.fingerprint

    engines = (
        engine("fp32", 1.0, "fp32", fingerprint=report.reference.engine.fingerprint),
        engine(LOUD, 2.0, fingerprint=of(LOUD)),
        engine(BOTH, 2.0, fingerprint=of(BOTH)),
        engine(BOTH, 3.0, fingerprint=of(BOTH), variant="o5"),
    )
    found = (*ratios(LOUD, 2.0), *ratios(BOTH, 2.0), *ratios(BOTH, 3.0, variant="o5"))
    noise = (Ratio("fp32", "", "fp32", "", "latency", speed_of(1.0), 1),)
    return replace(report, bench=BenchRecord(WHEN, SETTINGS, MACHINE, engines, found, noise))


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Audited and benched."""
    made = make_world(tmp_path, n=400)
    report, path = run_audit(made, formats="none")
    write_report(with_bench(report), path)
    return made


def again(audit: Path) -> tuple[Report, list[Notice]]:
    said: list[Notice] = []
    _, path = run_audit(audit, formats="none", tell=said.append)
    return read_report(path), [notice for notice in said if notice.code == "bench_dropped"]


def test_another_run_of_the_same_audit_keeps_every_number(audit: Path) -> None:
    before = read_report(audit.with_suffix("") / "report.json").bench
    report, said = again(audit)
    assert report.bench == before
    assert said == []


def test_engines_that_are_others_now_are_dropped_by_name_with_their_ratios(audit: Path) -> None:
    quieter = AUDIT.replace("loudness = 'loud'", "loudness = 'quiet'")
    audit.write_text(quieter, encoding="utf-8")
    report, said = again(audit)
    assert report.bench is not None
    assert [each.key for each in report.bench.engines] == [("fp32", ""), (BOTH, ""), (BOTH, "o5")]
    assert {one.engine for one in report.bench.ratios} == {BOTH}
    assert len(report.bench.noise) == 1
    (notice,) = said
    assert "what an earlier bench measured of loud only/minmax isn't in this report" in str(notice)
    # said once
    assert again(audit)[1] == []


def test_engines_that_a_later_bench_did_not_measure_are_not_called_others(audit: Path) -> None:
    earlier = read_report(audit.with_suffix("") / "report.json")
    assert earlier.bench is not None
    engines = tuple(each for each in earlier.bench.engines if each.engine != LOUD)
    later = replace(earlier, bench=replace(earlier.bench, measured="later", engines=engines))
    (notice,) = forgotten(later, earlier)
    assert notice.code == "bench_narrowed"
    assert "loud only/minmax, which an earlier bench measured, wasn't measured by this one" in str(
        notice
    )


def test_another_model_leaves_no_bench(audit: Path) -> None:
    report = read_report(audit.with_suffix("") / "report.json")
    other = replace(
        report,
        reference=replace(
            report.reference, engine=replace(report.reference.engine, fingerprint="f")
        ),
        cells=(),
        results=(),
    )
    assert still_benched(other, report) is None
    assert still_benched(report, None) is None
    assert still_benched(report, replace(report, bench=None)) is None


def test_another_release_of_the_library_runs_other_engines(audit: Path) -> None:
    report = read_report(audit.with_suffix("") / "report.json")
    older = replace(report.audit, environment={**report.audit.environment, "onnxruntime": "1.0"})
    assert still_benched(report, replace(report, audit=older)) is None
