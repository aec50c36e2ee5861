from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from calaudit.report.forms import write_forms
from calaudit.report.prometheus import prometheus_text
from calaudit.results.report import Report
from tests.report.factory import NLL, SAMPLE, TOP1, report, reports, result
from tests.report.hostile import NAMES, hostile_report


def families(made: Report) -> dict[str, Metric]:
    return {each.name: each for each in text_string_to_metric_families(prometheus_text(made))}


def values(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(s.labels[name] for name in labels): s.value for s in family.samples}


def test_the_client_reads_back_verdicts_and_numbers() -> None:
    found = families(report())
    assert values(found["calaudit_verdict"], "verdict") == {
        ("PASS",): 0, ("REGRESSED",): 1, ("INCONCLUSIVE",): 0,
    }  # fmt: skip
    assert values(found["calaudit_comparisons"], "audit", "verdict") == {
        ("digits", "PASS"): 10, ("digits", "REGRESSED"): 1, ("digits", "INCONCLUSIVE"): 1,
    }  # fmt: skip
    key = ("clean", "minmax", "int8", "onnxruntime", "noise ≥ 0.4", "top1")
    names = ("calibset", "method", "precision", "backend", "slice", "metric")
    told = {name: values(found[f"calaudit_{name}"], *names)[key] for name in (
        "reference", "candidate", "drop", "drop_low", "drop_high", "samples", "max_drop",
        "comparison_status",
    )}  # fmt: skip
    assert told == {
        "reference": 0.95, "candidate": 0.95 - 0.061, "drop": 0.061, "drop_low": 0.061 - 0.013,
        "drop_high": 0.061 + 0.013, "samples": 1000, "max_drop": 0.02, "comparison_status": 1,
    }  # fmt: skip
    units = values(found["calaudit_units"], *names, "unit")
    assert units[*key, "sample"] == told["samples"]
    assert values(found["calaudit_created_timestamp_seconds"], "audit")[("digits",)] == 1793707200
    assert values(found["calaudit_stage_seconds"], "stage")[("total",)] == 12.25


def test_units_say_what_they_count() -> None:
    objects = replace(TOP1, per="object")
    found = families(report([*SAMPLE], metrics=(objects,)))
    assert {s.labels["unit"] for s in found["calaudit_units"].samples} == {"object"}
    assert "unit" not in found["calaudit_samples"].samples[0].labels


def test_what_is_not_gated_appears_over_everything_only() -> None:
    extra = [
        result("clean/minmax", name, 0.3, None, metric="nll", max_drop=None)
        for name in ("all", "noise ≥ 0.4")
    ]
    found = families(report([*SAMPLE, *extra], metrics=(TOP1, NLL)))
    drops = values(found["calaudit_drop"], "slice", "metric")
    assert ("all", "nll") in drops
    assert ("noise ≥ 0.4", "nll") not in drops
    assert ("all", "nll") not in values(found["calaudit_max_drop"], "slice", "metric")


def test_controls_keep_their_numbers_and_have_no_status() -> None:
    roles = {"clean": "control", "equal": "candidate"}
    cells = tuple(replace(each, role=roles[each.calibset or ""]) for each in report().cells)
    found = families(report(SAMPLE, cells=cells))
    drops = values(found["calaudit_drop"], "calibset", "role")
    assert set(drops) == set(roles.items())
    assert set(values(found["calaudit_comparison_status"], "calibset")) == {("equal",)}
    assert values(found["calaudit_comparisons"], "verdict") == {
        ("PASS",): 6, ("REGRESSED",): 0, ("INCONCLUSIVE",): 0,
    }  # fmt: skip


def test_what_could_not_be_measured_is_absent() -> None:
    found = families(report([replace(SAMPLE[0], drop=None, low=None)]))
    assert found["calaudit_drop"].samples == []
    assert found["calaudit_drop_low"].samples == []
    assert len(found["calaudit_reference"].samples) == 1


def test_hostile_names_come_back_as_labels(tmp_path: Path) -> None:
    write_forms(hostile_report(), tmp_path, ["prometheus"])
    text = (tmp_path / "metrics.prom").read_text(encoding="utf-8")
    found = {each.name: each for each in text_string_to_metric_families(text)}
    names: Iterable[str] = {s.labels["slice"] for s in found["calaudit_drop"].samples}
    assert set(NAMES[:8]) - {NAMES[5]} <= set(names)
    assert len(set(names)) == len(NAMES)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_report_is_read_by_the_client(made: Report) -> None:
    found = families(made)
    assert sum(s.value for s in found["calaudit_verdict"].samples) == 1
    controls = {each.id for each in made.cells if each.role == "control"}
    gated = sum(r.gate is not None and r.cell not in controls for r in made.results)
    assert sum(s.value for s in found["calaudit_comparisons"].samples) == gated
