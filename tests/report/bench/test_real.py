"""A bench that is measured, in every form of its report, and in what is made of it afterwards."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.rows import bench_rows
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.files import read_report
from calaudit.report.index import Index
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world
from tests.cli.running import Ended, calaudit

pytestmark = pytest.mark.slow

BENCH = """
[bench]
batches = [1, 50]
rounds = 6
seconds = 0.01
warm_up = 0.05

[[bench.variants]]
name = "one thread"
threads = 1
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    text = AUDIT.replace('name = "loud only"', 'name = "loud only"\nrole = "control"')
    audit = make_world(tmp_path_factory.mktemp("world"), n=400, audit=f"{text}{BENCH}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", "200")
        return audit, calaudit("bench", audit)


def report_of(audit: Path) -> Report:
    return read_report(audit.with_suffix("") / "report.json")


def test_every_engine_has_a_row_with_latency_speed_loss_and_verdict(
    benched: tuple[Path, Ended],
) -> None:
    bench = bench_of(Index(report_of(benched[0])))
    assert bench is not None
    (table,) = bench_rows(bench)
    names = [row.name for row in table.rows]
    assert names[0] == "FP32"
    assert {"INT8 both with minmax", "INT8 “loud only” with minmax (control)"} <= set(names)
    for row in table.rows:
        assert all(value != "–" for latency in row.latencies for value in latency)
        assert row.per_second != "–"
        assert row.memory != "–"
        own = row.name != "FP32" and "one thread" not in row.name
        assert ("×" in row.speed) == (row.name not in {"FP32", "FP32, one thread"})
        assert (row.worst != "–") == own
    assert table.rows[0].speed == "baseline"


def test_the_terminal_and_every_form_tell_the_same_sentence(benched: tuple[Path, Ended]) -> None:
    audit, ended = benched
    bench = bench_of(Index(report_of(audit)))
    assert bench is not None
    (sentence,) = bench_sentences(bench)
    assert "INT8 both with " in sentence
    assert "(control)" in sentence
    assert sentence in " ".join(ended.out.split())
    folder = audit.with_suffix("")
    page = (folder / "report.html").read_text("utf-8")
    assert f'<p class="told">{sentence.replace("<", "&lt;")}</p>' in page
    summary = (folder / "summary.md").read_text("utf-8")
    assert "### What engines gain, and what they lose" in summary
    assert "one thread: threads = 1" in ended.out


def test_the_client_reads_the_measured_numbers(benched: tuple[Path, Ended]) -> None:
    audit, _ = benched
    report = report_of(audit)
    assert report.bench is not None
    text = (audit.with_suffix("") / "metrics.prom").read_text("utf-8")
    found = {each.name: each for each in text_string_to_metric_families(text)}
    latencies = found["calaudit_bench_latency_seconds"].samples
    # two batches, three quantiles
    assert len(latencies) == 6 * len(report.bench.engines)
    assert all(0 < each.value < 60 for each in latencies)
    first = report.bench.engines[0].latencies[0].p50.value
    assert first is not None
    (told,) = (
        each.value
        for each in latencies
        if each.labels["role"] == "reference"
        and (each.labels["batch"], each.labels["quantile"]) == ("1", "0.5")
        and not each.labels["variant"]
    )
    assert told == pytest.approx(first / 1e3)


def test_another_run_keeps_it_and_an_export_names_its_latency(
    benched: tuple[Path, Ended], tmp_path: Path
) -> None:
    audit, _ = benched
    before = report_of(audit).bench
    ended = calaudit("compare", audit)
    assert report_of(audit).bench == before
    assert "an earlier bench" not in ended.err
    calaudit("export", audit, "both/minmax", "--out", tmp_path / "ship")
    readme = (tmp_path / "ship" / "README.md").read_text("utf-8")
    assert "## What was measured" in readme
    assert before is not None
    assert f"Measured {before.measured[:10]}" in readme


def test_two_benches_of_one_machine_are_compared(
    benched: tuple[Path, Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    audit, _ = benched
    report = audit.with_suffix("") / "report.json"
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "report.json").write_bytes(report.read_bytes())
    ended = calaudit("report", "diff", tmp_path / "before", audit)
    assert "B is faster in 0 and slower in 0, by intervals that don't overlap" in ended.out
    assert "FP32 itself is 1.00 × as fast" in ended.out
