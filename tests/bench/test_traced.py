"""Engines that trtexec timed, in a bench in place of a measurement."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.bench.run import bench_audit
from calaudit.bench.trtexec import Traced, read_traced
from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_remarks
from calaudit.report.index import Index
from calaudit.runtime.errors import CalauditError, FileFormatError, SettingsError
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.formats.trtexec_files import write

QUICK = {"rounds": 2, "seconds": 0.001, "warm_up": 0.0, "cells": ["both/*"]}


def times(n: int, *, latency: float = 5.0) -> str:
    """Queries one after the other; each computes for 1 ms less than it takes."""
    starts = 300 + latency * np.arange(n)
    return json.dumps(
        [
            {
                "startH2dMs": at, "startComputeMs": at + 0.5, "endD2hMs": at + latency,
                "computeMs": latency - 1, "latencyMs": latency,
            }
            for at in starts
        ]
    )  # fmt: skip


PROFILE = json.dumps(
    [
        {"count": 10},
        {"name": "matmul", "timeMs": 30, "averageMs": 3.0, "percentage": 75},
        {"name": "add", "timeMs": 10, "averageMs": 1.0, "percentage": 25},
    ]
)
LAYERS = json.dumps(
    {
        "Layers": [
            {
                "Name": name, "LayerType": "gemm",
                "Inputs": [{"Name": read, "Dimensions": [20, 8], "Format/Datatype": "Int8"}],
                "Weights": {"Type": "Int8", "Count": 32},
            }
            for name, read in (("matmul", "x"), ("add", "h"))
        ],
        "Bindings": ["x", "y"],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]')
    return make_world(tmp_path_factory.mktemp("traced"), n=400, audit=text)


def bench(audit: Path, *traced: Traced) -> Any:
    report, _ = bench_audit(audit, settings=QUICK, traced=traced, tell=lambda notice: None)
    return report


def test_trtexecs_numbers_stand_in_place_of_ours(audit: Path, tmp_path: Path) -> None:
    paths = write(tmp_path, t=times(200), p=PROFILE, i=LAYERS)
    report = bench(audit, Traced("both/minmax", tuple(paths)))
    (mine,) = [each for each in report.bench.engines if each.engine == "both/minmax"]
    assert mine.source == "trtexec"
    (latency,) = mine.latencies
    assert (latency.batch, latency.n) == (20, 200)
    assert latency.p50.value == 5
    assert latency.device_p50.value == 4
    (throughput,) = mine.throughput
    assert (throughput.batch, throughput.streams) == (20, 1)
    assert throughput.per_second.value == pytest.approx(20 * 200 / 1.0)
    assert [(each.name, each.nodes, each.precision) for each in mine.layers] == [
        ("matmul", ("matmul",), "int8"), ("add", ("add",), "int8"),
    ]  # fmt: skip
    assert mine.layers_batch == 20
    assert {each.source for each in report.bench.engines if each.engine == "fp32"} == {"measured"}
    assert not [one for one in report.bench.ratios if one.engine == "both/minmax"]
    shown = bench_of(Index(report))
    assert shown is not None
    remarks = " ".join(bench_remarks(shown))
    assert "trtexec's latency is copies and computing by the GPU's events" in remarks


def test_latencies_of_batches_that_run_beside_each_other_are_left_out(
    audit: Path, tmp_path: Path
) -> None:
    paths = write(tmp_path, t=times(200), p=PROFILE, i=LAYERS)
    report = bench(audit, Traced("both/minmax", tuple(paths), streams=2))
    (mine,) = [each for each in report.bench.engines if each.engine == "both/minmax"]
    assert mine.latencies == ()
    (throughput,) = mine.throughput
    assert (throughput.batch, throughput.streams) == (20, 2)
    assert throughput.per_second.value == pytest.approx(20 * 200 / 1.0)
    (notice,) = [each for each in report.bench.notices if each.code == "trtexec_latency"]
    assert "with 2 streams" in notice.message
    assert "was left out" in notice.message
    shown = bench_of(Index(report))
    assert shown is not None
    assert "was left out" in " ".join(bench_remarks(shown))


def test_engines_that_no_pattern_names_may_be_given(audit: Path, tmp_path: Path) -> None:
    (path,) = write(tmp_path, t=times(50))
    report = bench(audit, Traced("loud only/minmax", (path,), batch=1))
    assert ("loud only/minmax", "trtexec") in {
        (each.engine, each.source) for each in report.bench.engines
    }
    assert ("both/minmax", "measured") in {
        (each.engine, each.source) for each in report.bench.engines
    }


def test_what_drifts_within_a_run_widens_its_intervals(audit: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steady, drifting = (json.loads(times(400)) for _ in range(2))
    noise = rng.normal(0, 0.1, 400)
    for each, one, other, more in zip(steady, drifting, noise, np.linspace(0, 1, 400), strict=True):
        each["latencyMs"] = 5 + other
        one["latencyMs"] = 5 + other + more
    widths = []
    for name, content in (("a", steady), ("b", drifting)):
        (path,) = write(tmp_path / name, t=json.dumps(content))
        report = bench(audit, Traced("both/minmax", (path,), batch=1))
        (mine,) = [each for each in report.bench.engines if each.engine == "both/minmax"]
        p50 = mine.latencies[0].p50
        widths.append(p50.high - p50.low)
    independent = 2 * 1.25 * (1 / 12) ** 0.5 * 1.96 / 20  # of 400 draws without drift within
    assert widths[1] > max(3 * widths[0], 1.5 * independent)


@pytest.mark.parametrize(
    ("traced", "files", "told"),
    [
        (("no/such", 1), {"t": times(5)}, "there is no engine 'no/such'"),
        (("both/minmax", None), {"t": times(5)}, "don't say how many samples a query had"),
        (("both/minmax", 8), {"t": times(5), "i": LAYERS}, "are of a batch of 20, not 8"),
        (("both/minmax", 1), {"t": times(5), "u": times(5)}, "another file of times"),
        (("both/minmax", None), {"i": LAYERS}, "tells no times"),
        (("both/minmax", None), {"p": PROFILE.replace("matmul", "m").replace("add", "a"),
                                 "i": LAYERS}, "no layer of the profile is among"),
    ],
)  # fmt: skip
def test_what_doesnt_fit_is_refused(
    audit: Path, tmp_path: Path, traced: Any, files: Any, told: str
) -> None:
    name, batch = traced
    with pytest.raises(CalauditError, match=told) as caught:
        bench(audit, Traced(name, tuple(write(tmp_path, **files)), batch=batch))
    assert isinstance(caught.value, SettingsError | FileFormatError)
    assert caught.value.problems[0].next_step


def test_an_engine_is_named_once(audit: Path, tmp_path: Path) -> None:
    (path,) = write(tmp_path, t=times(5))
    with pytest.raises(SettingsError, match="named twice"):
        bench(audit, *[Traced("both/minmax", (path,), batch=1)] * 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fp32=a.json", Traced("fp32", (Path("a.json"),))),
        ("a/b=t.json,p.json,l.json,batch=64,streams=2",
         Traced("a/b", (Path("t.json"), Path("p.json"), Path("l.json")), 64, 2)),
        ("a/b= t.json , batch=1", Traced("a/b", (Path("t.json"),), 1)),
    ],
)  # fmt: skip
def test_the_flag_is_an_engine_and_its_files(text: str, found: Traced) -> None:
    assert read_traced(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("times.json", "names no engine and its files"),
        ("=times.json", "names no engine"),
        ("cell=", "names no engine"),
        ("cell=batch=2", "names no engine"),
        ("cell=a.json,batch=0", "batch must be a number from 1 on"),
        ("cell=a.json,streams=x", "streams must be a number"),
        ("cell=a.json,size=3", "size is no part of it"),
    ],
)
def test_another_spelling_is_refused_with_the_right_one(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        read_traced(text)
    assert "times.json,profile.json" in str(caught.value.problems[0].next_step)


def test_the_command_reads_them_and_refuses_others_with_2(
    audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    paths = write(tmp_path, t=times(50), i=LAYERS)
    given = ",".join(map(str, paths))
    quick = ("--rounds", 2, "--seconds", 0.001, "--cell", "both/*", "--formats", "none")
    ended = calaudit("bench", audit, "--trtexec", f"both/minmax={given}", *quick)
    assert ended.status == 1, ended.err  # as compare's: one engine regressed
    assert "by trtexec" in ended.out
    paths[0].write_text(times(50)[:100])
    ended = calaudit("bench", audit, "--trtexec", f"both/minmax={given}", *quick)
    assert ended.status == 2
    assert f"{paths[0]}: isn't JSON in line 1" in ended.err
    ended = calaudit("bench", audit, "--trtexec", "both/minmax", *quick)
    assert ended.status == 2
    assert "names no engine and its files" in ended.err
