"""What the numbers of a bench have to be read with."""

from dataclasses import replace
from typing import Any

from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_remarks
from calaudit.report.index import Index
from calaudit.results.bench import Ratio
from calaudit.results.report import Report
from calaudit.results.values import Estimate
from calaudit.runtime.errors import Notice
from tests.report.bench.planted import engine, usual


def changed(**changes: Any) -> Report:
    made = usual()
    assert made.bench is not None
    return replace(made, bench=replace(made.bench, **changes))


def remarks(made: Report) -> list[str]:
    bench = bench_of(Index(made))
    assert bench is not None
    return list(bench_remarks(bench))


def engines(made: Report) -> tuple[Any, ...]:
    assert made.bench is not None
    return made.bench.engines


def test_when_where_and_how_come_first_then_the_noise_floor_of_latencies():
    noise = (
        Ratio("fp32", "", "fp32", "", "latency", Estimate(1.0, 0.98, 1.03), 1),
        Ratio("fp32", "", "fp32", "", "throughput", Estimate(1.5, 1.4, 1.6), 1, 1),
        Ratio("fp16", "", "fp16", "", "latency", Estimate(0.99, 0.97, 1.01), 64),
    )
    where = {"cpu": "a processor", "cores": "8", "gpu": "a GPU", "driver": "550.1", "load": "0.1"}
    assert remarks(changed(noise=noise, environment=where))[:3] == [
        "Measured 2026-11-03 12:30 UTC on a GPU, a processor, 8 cores, driver 550.1; 10 rounds, in "
        "each of which every engine ran, in a new order",
        "Noise floor: FP32 timed against a second copy of itself, latency at batch 1: 1.00 × "
        "(0.98–1.03)",
        "Noise floor: FP16 timed against a second copy of itself, latency at batch 64: 0.99 × "
        "(0.97–1.01)",
    ]


def test_kernels_that_were_judged_and_timed_apart_are_told_and_equal_ones_are_not():
    (told,) = (line for line in remarks(usual()) if "kernels" in line)
    assert told.startswith("4 INT8 engines timed with fused kernels and judged with emulated ones")
    alike = tuple(
        replace(e, kernels="emulated") if e.precision == "int8" else e for e in engines(usual())
    )
    assert not any("kernels" in line for line in remarks(changed(engines=alike)))


def test_a_variant_tells_the_knobs_that_differ_from_the_audits_own():
    first, *rest = engines(usual())
    own = replace(first, knobs={"threads": 2, "tf32": False})
    other = engine(
        "fp32", 1.2, "fp32", variant="o5", knobs={"threads": 2, "tf32": True, "level": 5}
    )
    found = remarks(changed(engines=(own, other, *rest)))
    assert "o5: tf32 = true, level = 5" in found
    (told,) = (line for line in found if line.startswith("What o5 does to answers"))
    assert "over the baseline with the same knobs" in told


def test_what_trtexec_timed_is_told_apart():
    *rest, last = engines(usual())
    (told,) = (
        line
        for line in remarks(changed(engines=(*rest, replace(last, source="trtexec"))))
        if "trtexec" in line
    )
    assert told == (
        "1 engine timed by trtexec, apart from the others: no ratio says how fast it is beside them"
    )
    alone = tuple(replace(each, source="trtexec") for each in engines(usual()))
    first = remarks(changed(engines=alone))[0]
    assert first == "Measured 2026-11-03 12:30 UTC on a processor, 2 cores"


def test_notices_of_the_bench_are_told_with_their_place():
    notice = Notice("bench_failed", "it wasn't measured: no memory", "engine a/mse")
    assert remarks(changed(notices=(notice,)))[-1] == "engine a/mse: it wasn't measured: no memory"


def test_what_is_the_same_of_several_engines_is_told_once_with_their_names():
    def failed(engine: str, why: str) -> Notice:
        return Notice("bench_failed", f"it wasn't measured: {why}", f"engine {engine}")

    many = [failed(f"e{k}/mse", "no kernel") for k in range(15)]
    target = Notice("bench_served", "measured as it would be served", "target here")
    busy = Notice("bench_machine_busy", "other programs took 9% of the processors", "bench")
    given = (failed("a/mse", "no memory"), *many, target, failed("b/mse", "no memory"), busy)
    told = remarks(changed(notices=given))
    shown = ", ".join(f"e{k}/mse" for k in range(12))
    assert told[-4:] == [
        "engines a/mse, b/mse: it wasn't measured: no memory",
        f"engines {shown} and 3 more: it wasn't measured: no kernel",
        "target here: measured as it would be served",
        "other programs took 9% of the processors",
    ]
