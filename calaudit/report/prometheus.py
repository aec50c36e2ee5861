"""Metrics in Prometheus' text format, for a textfile collector or a push gateway."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from calaudit.report.forms import Evidence, Form
from calaudit.report.index import Index
from calaudit.results.comparison import ALL, Result, Verdict
from calaudit.results.report import EXIT_STATUS, Report
from calaudit.runtime.words import visible

VERDICTS = ("PASS", "REGRESSED", "INCONCLUSIVE")
_COMPARISON = ("audit", "calibset", "role", "method", "precision", "backend", "slice", "metric")


def prometheus_text(report: Report) -> str:
    """The verdicts, and the numbers of all gated comparisons and of the slice of everything.

    Numbers are in the metric's own unit: a drop of one point of accuracy is 0.01. What isn't
    gated is left out below the slice of everything: every series costs the server memory. A
    control's numbers have the label ``role="control"``, and no status.
    """
    registry, index = CollectorRegistry(), Index(report)
    _add_whole(registry, index)
    _add_comparisons(registry, index)
    return generate_latest(registry).decode("utf-8")


def _add_whole(registry: CollectorRegistry, index: Index) -> None:
    report = index.report
    audit = visible(report.audit.name)
    verdict = Gauge(
        "calaudit_verdict",
        "1 for the audit's verdict, 0 for the others.",
        ("audit", "verdict"),
        registry=registry,
    )
    counts = Gauge(
        "calaudit_comparisons",
        "Gated comparisons of candidates per verdict.",
        ("audit", "verdict"),
        registry=registry,
    )
    given: list[str] = [r.verdict or "INCONCLUSIVE" for r in index.gated]
    for name in VERDICTS:
        verdict.labels(audit, name).set(report.verdict == name)
        counts.labels(audit, name).set(given.count(name))
    cells = Gauge("calaudit_cells", "Engines per status.", ("audit", "status"), registry=registry)
    statuses: list[str] = [cell.status for cell in report.cells]
    for status in ("judged", "failed", "skipped"):
        cells.labels(audit, status).set(statuses.count(status))
    info = Gauge(
        "calaudit_info",
        "Always 1; the labels say what was audited by which release.",
        ("audit", "version", "model", "model_fingerprint", "pool", "pool_fingerprint"),
        registry=registry,
    )
    model, pool = report.audit.model, report.audit.pool
    named = (model.name, model.fingerprint, pool.name, pool.fingerprint)
    info.labels(audit, report.calaudit_version, *map(visible, named)).set(1)
    created = Gauge(
        "calaudit_created_timestamp_seconds",
        "When the report was made.",
        ("audit",),
        registry=registry,
    )
    created.labels(audit).set(datetime.fromisoformat(report.created).timestamp())
    seconds = Gauge(
        "calaudit_stage_seconds", "Wall time per stage.", ("audit", "stage"), registry=registry
    )
    for stage, taken in report.timings.items():
        seconds.labels(audit, visible(stage)).set(taken)


def _add_comparisons(registry: CollectorRegistry, index: Index) -> None:
    fields = {
        "reference": "The metric under FP32.",
        "candidate": "The metric under the engine.",
        "drop": "Quality lost: positive when the engine is worse.",
        "drop_low": "Lower end of the drop's interval.",
        "drop_high": "Upper end of the drop's interval.",
        "samples": "Samples that the comparison rests on.",
        "max_drop": "Largest drop that the gate accepts.",
        "comparison_status": "Of candidates, as the exit status: 0 passed, 1 regressed, 3 "
        "inconclusive.",
    }
    gauges = {
        name: Gauge(f"calaudit_{name}", text, _COMPARISON, registry=registry)
        for name, text in fields.items()
    }
    for result in _shown(index.report.results):
        labels = _labels(index, result)
        for name, value in _values(index, result).items():
            if value is not None:
                gauges[name].labels(*labels).set(value)


def _shown(results: Iterable[Result]) -> Iterable[Result]:
    return (r for r in results if r.gate is not None or r.slice == ALL)


def _labels(index: Index, result: Result) -> list[str]:
    cell = index.cells[result.cell]
    texts = (cell.calibset or "", cell.role, cell.method or "", cell.precision, cell.backend)
    named = (index.report.audit.name, *texts, result.slice, result.metric)
    return [visible(name) for name in named]


def _values(index: Index, result: Result) -> Mapping[str, float | None]:
    decides = index.decides(result)
    return {
        "reference": result.reference,
        "candidate": result.candidate,
        "drop": result.drop,
        "drop_low": result.low,
        "drop_high": result.high,
        "samples": result.n,
        "max_drop": result.gate.max_drop if result.gate is not None else None,
        "comparison_status": EXIT_STATUS[result.verdict or Verdict.INCONCLUSIVE]
        if decides
        else None,
    }


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(prometheus_text(report), encoding="utf-8")


PROMETHEUS = Form("metrics.prom", _write)
