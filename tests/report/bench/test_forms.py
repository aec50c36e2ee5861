"""A bench in the report's other forms: Markdown, Prometheus; JUnit doesn't tell of it."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from calaudit.report.junit import junit_xml
from calaudit.report.markdown import markdown_summary
from calaudit.report.prometheus import prometheus_text
from calaudit.results.report import Report
from tests.report.bench.planted import usual
from tests.report.bench.test_tables import many
from tests.report.benched import BENCH
from tests.report.factory import report, reports

LABELS = ("calibset", "role", "method", "precision", "backend", "variant")


def families(made: Report) -> dict[str, Metric]:
    return {each.name: each for each in text_string_to_metric_families(prometheus_text(made))}


def values(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(s.labels[name] for name in labels): s.value for s in family.samples}


def test_the_summary_has_the_sentence_and_a_row_per_engine():
    text = markdown_summary(usual())
    part = text.partition("### What engines gain, and what they lose")[2]
    assert part.lstrip().startswith("- INT8 equal with mse: 2.00 × as fast as FP16 at batch 1")
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    assert len(rows) == 6
    assert {line.count(" | ") for line in rows} == {10}
    assert (
        "| 0.0667 / 0.0867 / 0.100 | 1.33 / 1.73 / 2.00 | 60,000 at 64 × 4 | 2.00 × (1.98–2.02) |"
        in part
    )
    assert "(✗ regressed in 1 of 3)" in part
    assert "Noise floor: FP32" in part


def test_the_summary_of_many_engines_has_a_row_per_set():
    part = markdown_summary(many()).partition("### What engines gain")[2]
    names = [line.split(" | ")[0] for line in part.splitlines() if line.startswith("| `")]
    assert names == [
        "| `FP32 ◆`", "| `FP16 ◆`", "| `INT8 clean ◆`", "| `INT8 head ◆`", "| `INT8 equal ◆`",
        "| `INT8 spread ◆`",
    ]  # fmt: skip


def test_no_bench_leaves_every_form_as_it_was():
    made = usual()
    bare = replace(made, bench=None)
    assert "What engines gain" not in markdown_summary(bare)
    assert "calaudit_bench" not in prometheus_text(bare)
    assert junit_xml(made) == junit_xml(bare)


def test_the_client_reads_back_latency_in_seconds_with_its_interval():
    found = families(usual())
    key = ("equal", "candidate", "mse", "int8", "onnxruntime", "", "64", "0.99")
    latency, low, high = (
        values(found[f"calaudit_bench_latency{end}_seconds"], *LABELS, "batch", "quantile")[key]
        for end in ("", "_low", "_high")
    )
    assert abs(latency - 0.002) < 1e-9
    assert low < latency < high
    single = ("", "reference", "", "fp32", "onnxruntime", "", "1", "0.5")
    every = values(found["calaudit_bench_latency_seconds"], *LABELS, "batch", "quantile")
    assert abs(every[single] - 0.0002) < 1e-9
    # engines × batches × quantiles
    assert len(every) == 6 * 2 * 3
    assert found["calaudit_bench_measured_timestamp_seconds"].samples[0].value == 1793709000


def test_the_client_reads_back_gains_sizes_and_what_a_gpu_does():
    found = families(usual())
    gains = values(
        found["calaudit_bench_gain_ratio"], "calibset", "method", "baseline", "quantity", "batch",
        "streams",
    )  # fmt: skip
    assert abs(gains["equal", "mse", "fp16", "latency", "1", ""] - 2.0) < 1e-9
    assert abs(gains["equal", "mse", "fp32", "throughput", "64", "1"] - 3.0) < 1e-9
    made = families(report(bench=BENCH))
    assert values(made["calaudit_bench_power_watts"], "variant", "streams") == {("o5", "4"): 310.0}
    assert values(made["calaudit_bench_file_bytes"], "precision", "variant") == {
        ("fp32", ""): 400_000, ("int8", ""): 120_000, ("int8", "o5"): 120_000,
    }  # fmt: skip
    kinds = values(made["calaudit_bench_memory_bytes"], "precision", "variant", "kind")
    assert kinds["fp32", "", "weights"] == 380_000
    assert ("fp32", "", "activations") not in kinds
    through = values(made["calaudit_bench_throughput_samples_per_second"], "precision", "variant")
    assert through["fp32", ""] == 32_000


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_bench_is_read_by_the_client(made: Report) -> None:
    found = families(made)
    told = 0 if made.bench is None else len({e.key for e in made.bench.engines if e.file_bytes})
    family = found.get("calaudit_bench_file_bytes")
    assert (0 if family is None else sum(s.value > 0 for s in family.samples)) <= told
    markdown_summary(made)
