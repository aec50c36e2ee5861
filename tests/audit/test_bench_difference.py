"""Two reports' benches compared: ratios on one machine, none across two."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.audit.difference import diff_reports
from calaudit.report.bench.change import bench_summary
from calaudit.report.files import write_report
from calaudit.results.bench import BenchedEngine
from calaudit.results.difference import BenchChange
from calaudit.results.report import Report
from tests.cli.running import calaudit
from tests.report.bench.planted import usual
from tests.report.benched import estimate

HOST = {"platform": "Linux x86_64", "cpu": "a processor", "cores": "2", "gpu": None}


def written(folder: Path, made: Report) -> Path:
    folder.mkdir()
    write_report(made, folder / "report.json")
    return folder


def measured(times: float = 1.0, **environment: str | None) -> Report:
    """FP32 as before, all others by a factor slower."""
    made = usual()
    assert made.bench is not None

    def slowed(each: BenchedEngine) -> BenchedEngine:
        by = 1.0 if each.precision == "fp32" else times
        latencies = tuple(
            replace(one, p50=estimate((one.p50.value or 0) * by)) for one in each.latencies
        )
        return replace(each, latencies=latencies)

    record = replace(
        made.bench,
        engines=tuple(map(slowed, made.bench.engines)),
        environment={**HOST, **environment},
    )
    return replace(made, bench=record)


def by_key(changes: tuple[BenchChange, ...]) -> dict[tuple[str, str, int], BenchChange]:
    return {(each.engine, each.quantity, each.batch): each for each in changes}


def test_on_one_machine_speeds_have_a_ratio_that_both_intervals_allow(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a", measured()), written(tmp_path / "b", measured(2.0))
    found = diff_reports(a, b).bench
    assert found is not None
    assert found.apart is None
    # six engines, latency at two batches, throughput at one batch with 1 and 4 streams
    assert len(found.changes) == 6 * 4
    changes = by_key(found.changes)
    single, int8 = changes["fp32", "latency", 64], changes["equal/mse", "latency", 64]
    assert single.speed is not None
    assert (single.speed.value, single.engine) == (1.0, found.changes[0].engine)
    assert int8.speed is not None
    assert int8.speed.value == pytest.approx(0.5)
    # each side is ± 2 %
    assert int8.speed.low == pytest.approx(0.5 * 0.98 / 1.02)
    assert int8.speed.high == pytest.approx(0.5 * 1.02 / 0.98)
    assert bench_summary(found) == (
        "Of 24 speeds in both, B is faster in 0 and slower in 10, by intervals that don't overlap; "
        "FP32 itself is 1.00 × as fast, which the machine or its load may do."
    )


def test_throughput_that_rose_is_faster(tmp_path: Path) -> None:
    made = measured()
    assert made.bench is not None
    more = tuple(
        replace(
            each,
            throughput=tuple(
                replace(t, per_second=estimate(2 * (t.per_second.value or 0)))
                for t in each.throughput
            ),
        )
        for each in made.bench.engines
    )
    faster = replace(made, bench=replace(made.bench, engines=more))
    found = diff_reports(written(tmp_path / "a", made), written(tmp_path / "b", faster)).bench
    assert found is not None
    change = by_key(found.changes)["equal/mse", "throughput", 64]
    assert change.speed is not None
    assert change.speed.value == pytest.approx(2.0)
    assert "B is faster in 12 and slower in 0" in bench_summary(found)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"cpu": "another"}, "cpu is a processor in A and another in B"),
        ({"gpu": "H200"}, "gpu is none in A and H200 in B"),
        ({"cpu": None}, "one of them doesn't tell its machine"),
    ],
)
def test_of_two_machines_there_is_no_ratio_and_why(
    tmp_path: Path, other: dict[str, str | None], told: str
) -> None:
    a, b = written(tmp_path / "a", measured()), written(tmp_path / "b", measured(2.0, **other))
    found = diff_reports(a, b).bench
    assert found is not None
    assert found.apart == told
    assert all(each.speed is None for each in found.changes)
    assert bench_summary(found) == f"Speeds of A and B can't be compared: {told}."


def test_without_two_benches_nothing_is_told(tmp_path: Path) -> None:
    a = written(tmp_path / "a", replace(measured(), bench=None))
    assert diff_reports(a, written(tmp_path / "b", measured())).bench is None


def test_the_command_prints_speeds_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    a, b = written(tmp_path / "a", measured()), written(tmp_path / "b", measured(2.0))
    done = calaudit("report", "diff", a, b, "--all")
    # speeds decide nothing
    assert done.status == 0
    assert "0.50 × (0.48–0.52)" in done.out
    assert "B is faster in 0 and slower in 10" in done.out
    assert "P50 in ms, batch 64" in done.out
    told = json.loads(calaudit("report", "diff", a, b, "--json").out)["bench"]
    assert told["apart"] is None
    assert len(told["changes"]) == 24
