"""The README of an export names the latency that a bench measured of its engine."""

from dataclasses import replace
from pathlib import Path

import pytest

import calaudit
from calaudit.audit.run import run_audit
from calaudit.report.files import read_report, write_report
from tests.audit.test_bench_kept import BOTH, LOUD, with_bench
from tests.audit.world import make_world


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_world(tmp_path_factory.mktemp("world"), n=400)
    report, path = run_audit(made, formats="none")
    write_report(with_bench(report), path)
    return made


def section(audit: Path, cell: str, out: Path) -> str:
    calaudit.export_engine(audit, cell, out=out)
    text = (out / "README.md").read_text(encoding="utf-8")
    return text.partition("## What was measured\n")[2].partition("\n## ")[0]


def test_latency_by_batch_stands_with_its_machine_and_its_speed(
    audit: Path, tmp_path: Path
) -> None:
    text = section(audit, BOTH, tmp_path / "ship")
    assert "Measured 2026-11-03 12:30 UTC on a processor, 2 cores. Latency is that of" in text
    assert "It was timed with fused kernels, and judged with emulated ones." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows == [
        "| batch | P50 in ms | 95 % CI | P95 | P99 | samples/s | speed |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        "| 1 | 0.100 | 0.0980–0.102 | 0.130 | 0.150 | – | 2.00 × (1.98–2.02) FP32 |",
        "| 64 | 2.00 | 1.96–2.04 | 2.60 | 3.00 | 40,000 | 2.00 × (1.98–2.02) FP32 |",
    ]


def test_an_engine_that_was_not_benched_has_no_such_section(audit: Path, tmp_path: Path) -> None:
    path = audit.with_suffix("") / "report.json"
    report = read_report(path)
    assert report.bench is not None
    kept = tuple(each for each in report.bench.engines if each.engine != LOUD)
    ratios = tuple(one for one in report.bench.ratios if one.engine != LOUD)
    write_report(replace(report, bench=replace(report.bench, engines=kept, ratios=ratios)), path)
    assert section(audit, LOUD, tmp_path / "ship") == ""
