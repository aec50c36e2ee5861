"""The bench on a terminal: one row per engine, many folded, every number there."""

from dataclasses import replace
from itertools import pairwise

import pytest

from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.rows import FEW_ENGINES, BenchRow, TargetRows, bench_rows
from calaudit.report.bench.wording import bytes_text, factor, three_digits
from calaudit.report.index import Index
from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.results.bench import EngineMemory
from calaudit.results.report import Report
from tests.report.bench.planted import engine, half_cell, planted, ratios, usual


def tables(made: Report) -> list[TargetRows]:
    bench = bench_of(Index(made))
    assert bench is not None
    return bench_rows(bench)


def rows(made: Report) -> dict[str, BenchRow]:
    return {row.name: row for row in tables(made)[0].rows}


def test_every_engine_has_a_row_with_all_that_was_measured():
    found = rows(usual())
    assert list(found) == [
        "FP32", "FP16", "INT8 equal with minmax", "INT8 equal with mse",
        "INT8 clean with minmax (control)", "INT8 clean with mse (control)",
    ]  # fmt: skip
    best = found["INT8 equal with mse"]
    assert best.latencies == (("0.0667", "0.0867", "0.100"), ("1.33", "1.73", "2.00"))
    assert (best.file, best.memory, best.per_second, best.at) == (
        "120 kB", "3.00 MB", "60,000", "64 × 4",
    )  # fmt: skip
    assert best.speed == "2.00 × (1.98–2.02)"
    assert (best.quality, best.drop) == ("0.948", "0.2 (−0.3 to 0.7)")
    assert best.worst == "at most 1.3 points on noise ≥ 0.4"
    assert (best.verdict, best.told, best.pareto) == ("PASS", "passed in all 3", True)
    assert found["INT8 clean with mse (control)"].worst == "15.0 (14.0–15.5) points on noise ≥ 0.4"
    control = found["INT8 clean with minmax (control)"]
    assert (control.verdict, control.told, control.pareto) == (
        "REGRESSED",
        "regressed in 1 of 3",
        False,
    )
    assert found["FP16"].speed == "baseline"
    assert (found["FP32"].quality, found["FP32"].worst) == ("0.950", "–")


def many() -> Report:
    """48 engines of four sets, by twelve methods each."""
    names = [f"{s}/m{i:02}" for s in ("clean", "head", "equal", "spread") for i in range(12)]
    return planted(
        {name: 2.0 + 0.01 * int(name[-2:]) for name in names},
        {name: 0.1 if name.startswith("clean") and name.endswith("1") else 0.001 for name in names},
        half_speed=1.5,
    )


def test_engines_of_a_set_are_folded_where_there_are_many():
    (found,) = tables(many())
    assert len(found.rows) == 50 > FEW_ENGINES
    assert [row.name for row in found.shown()] == [
        "FP32", "FP16", "INT8 clean", "INT8 head", "INT8 equal", "INT8 spread",
    ]  # fmt: skip
    clean = found.folded[2]
    assert clean.engines == 12
    assert clean.told == "2 of 12 regressed"
    assert clean.worst.startswith("10.0 (9.0–10.5) points on noise")
    assert clean.latencies[1][0] == "1.90–2.00"
    assert clean.speed == "1.33–1.41 × (1.32–1.42)"
    assert found.shown(every=True) == found.rows
    text = render_report(many(), width=200)
    assert "INT8 clean " in text
    assert "INT8 clean with m03" not in text.partition("What engines take")[2]
    assert "INT8 clean with m03" in render_report(many(), view=View(limit=None), width=260)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_leaves_no_column_out(width):
    text = render_report(usual(), width=width).partition("What engines take")[2]
    flat = " ".join(text.split())
    for told in ("0.0667 / 0.0867 / 0.100", "1.33 / 1.73 / 2.00", "60,000", "2.00 × (1.98–2.02)",
                 "120 kB", "0.948", "0.2 (−0.3 to 0.7)"):  # fmt: skip
        assert told in flat
    assert max(map(len, text.splitlines())) <= width
    assert "Pareto set" in text
    assert "Noise floor: FP32 timed against a second copy of itself, latency at batch 1:" in flat


def test_engines_of_two_targets_have_a_table_each_with_their_own_baseline():
    made = usual()
    assert made.bench is not None
    other = half_cell(id="fp32/orin", precision="fp32", backend="orin")
    cells = (*made.cells, other, replace(made.cells[-2], id="equal/mse/orin", backend="orin"))
    engines = (
        *made.bench.engines, engine("fp32/orin", 0.1, "fp32", backend="orin"),
        engine("equal/mse/orin", 0.4, backend="orin"),
    )  # fmt: skip
    found = (*made.bench.ratios, *ratios("equal/mse/orin", 4.0, "fp32/orin"))
    record = replace(made.bench, engines=engines, ratios=found)
    own, orin = tables(replace(made, cells=cells, bench=record))
    assert (own.target, own.baseline) == ("onnxruntime", "FP16")
    assert (orin.target, orin.baseline) == ("orin", "FP32")
    assert [row.speed for row in orin.rows] == ["baseline", "4.00 × (3.96–4.04)"]


def test_another_build_has_its_own_row_and_no_quality():
    made = usual()
    assert made.bench is not None
    built = engine("equal/mse", 3.6, variant="o5", knobs={"optimization_level": 5})
    record = replace(
        made.bench,
        engines=(*made.bench.engines, built),
        ratios=(*made.bench.ratios, *ratios("equal/mse", 2.4, "fp16", variant="o5")),
    )
    row = rows(replace(made, bench=record))["INT8 equal with mse, o5"]
    assert row.speed == "2.40 × (2.38–2.42)"
    assert (row.quality, row.worst, row.verdict, row.told) == ("–", "–", "", "not judged")


def test_memory_without_a_peak_is_what_is_known_of_it():
    made = usual()
    assert made.bench is not None
    first = replace(made.bench.engines[0], memory=EngineMemory(2_000_000, 500_000))
    bare = replace(made.bench.engines[1], memory=None, file_bytes=None, latencies=())
    record = replace(made.bench, engines=(first, bare, *made.bench.engines[2:]))
    found = rows(replace(made, bench=record))
    assert found["FP32"].memory == "2.50 MB"
    assert (found["FP16"].memory, found["FP16"].file) == ("–", "–")
    assert found["FP16"].latencies == (("–", "–", "–"),) * 2


def test_emulated_kernels_and_trtexec_are_told():
    made = usual()
    assert made.bench is not None
    *rest, last = made.bench.engines
    record = replace(
        made.bench, engines=(*rest, replace(last, kernels="emulated", source="trtexec"))
    )
    found = rows(replace(made, bench=record))
    assert found["INT8 equal with mse (by trtexec)"].precision == "INT8, emulated"


def test_numbers_are_told_in_three_digits():
    assert [three_digits(v) for v in (0.01234, 1.2, 12.0, 123.4, 1234.0, 45678.0, None)] == [
        "0.0123", "1.20", "12.0", "123", "1,230", "45,700", "–",
    ]  # fmt: skip
    assert [bytes_text(v) for v in (12, 1200, 3.456e6, 2e9, None)] == [
        "12 B", "1.20 kB", "3.46 MB", "2.00 GB", "–",
    ]  # fmt: skip
    assert [factor(v) for v in (0.5, 12.345, 1234.5, None)] == ["0.50", "12.3", "1,234", "–"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_says_what_its_columns_are_and_never_titles_two_tables_alike(width):
    lines = [line.strip() for line in render_report(usual(), width=width).splitlines()]
    titles = [line for line in lines if line.startswith("What engines ")]
    assert titles[0] == "What engines take"
    assert "What engines gain, and what they lose" in titles
    assert all(first != then for first, then in pairwise(titles))
    text = " ".join(lines)
    assert "60,000 at 64 × 4" in text
    assert "Memory: the most that the engine adds to what was taken before it was loaded" in text
