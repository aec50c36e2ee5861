"""Metrics in Prometheus' text format, for a textfile collector or a push gateway."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from calaudit.report.bench.exposed import add_bench
from calaudit.report.bench.measured import bench_of
from calaudit.report.forms import Evidence, Form
from calaudit.report.index import Index, predicts, source_of, way_of
from calaudit.report.precision import told_by
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import ALL, Result, Verdict
from calaudit.results.report import EXIT_STATUS, Report
from calaudit.runtime.words import visible

VERDICTS = ("PASS", "REGRESSED", "INCONCLUSIVE")
_ENGINE = ("audit", "calibset", "role", "method", "precision", "backend", "predicts")
_COMPARISON = (*_ENGINE, "slice", "metric")


def prometheus_text(report: Report) -> str:
    """The verdicts, and the numbers of all gated comparisons and of the slice of everything.

    Numbers are in the metric's own unit: a drop of one point of accuracy is 0.01. What isn't
    gated is left out below the slice of everything: every series costs the server memory. A
    control's numbers have the label ``role="control"``, and no status. What an engine predicts is
    the label ``predicts``, empty for engines that are what they say.
    """
    registry, index = CollectorRegistry(), Index(report)
    _add_whole(registry, index)
    _add_engines(registry, index)
    _add_comparisons(registry, index)
    _add_bench(registry, index)
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


def _add_engines(registry: CollectorRegistry, index: Index) -> None:
    """What runs in INT8, of INT8 engines; what is unproven has no value."""
    fields = {
        "products_requested": "Convolutions and matrix products that INT8 is requested of.",
        "products_in_int8": "Of these: those that run in INT8.",
        "macs": "Multiply-accumulates per sample.",
        "macs_in_int8": "Of these: in products that run in INT8.",
        "macs_left_in_float": "Of these: in products that the audit leaves in float.",
    }
    gauges = {
        name: Gauge(f"calaudit_{name}", text, _ENGINE, registry=registry)
        for name, text in fields.items()
    }
    for cell in index.report.cells:
        engine = cell.engine
        if cell.precision != "int8" or engine is None or not engine.asked_ops:
            continue
        asked = sum(engine.asked_ops.values())
        proven = told_by(engine) != "nobody"
        values = {
            "products_requested": asked,
            "products_in_int8": asked - len(engine.not_as_asked) if proven else None,
            "macs": engine.macs,
            "macs_in_int8": engine.int8_macs,
            "macs_left_in_float": engine.exempt_macs,
        }
        for name, value in values.items():
            if value is not None:
                gauges[name].labels(*_engine_labels(index, cell)).set(value)


def _engine_labels(index: Index, cell: CellRecord) -> list[str]:
    way = way_of(cell) if cell.foreign else cell.way or ""
    what = (source_of(cell), cell.role, way, cell.precision)
    texts = (index.report.audit.name, *what, cell.backend, predicts(cell))
    return [visible(name) for name in texts]


def _add_comparisons(registry: CollectorRegistry, index: Index) -> None:
    fields = {
        "reference": "The metric under FP32.",
        "candidate": "The metric under the engine.",
        "drop": "Quality lost: positive when the engine is worse.",
        "drop_low": "Lower end of the drop's interval.",
        "drop_high": "Upper end of the drop's interval.",
        "samples": "Old name of calaudit_units, without the label unit; goes in the next version.",
        "max_drop": "Largest drop that the gate accepts.",
        "comparison_status": "Of candidates, as the exit status: 0 passed, 1 regressed, 3 "
        "inconclusive.",
    }
    families = {
        name: GaugeMetricFamily(f"calaudit_{name}", text, labels=_COMPARISON)
        for name, text in fields.items()
    }
    counted = (
        "What the comparison rests on: samples, queries, images or objects, by the label unit."
    )
    units = GaugeMetricFamily("calaudit_units", counted, labels=[*_COMPARISON, "unit"])
    engines = {name: _engine_labels(index, cell) for name, cell in index.cells.items()}
    # one series has one value, whichever of two engines with the same labels comes last
    shown = {
        (*engines[r.cell], visible(r.slice), visible(r.metric)): r
        for r in _shown(index.report.results)
    }
    for labels, result in shown.items():
        units.add_metric([*labels, index.metrics[result.metric].per], result.n)
        for name, value in _values(index, result).items():
            if value is not None:
                families[name].add_metric(labels, value)
    registry.register(_Gathered((*families.values(), units)))


@dataclass(frozen=True, eq=False, slots=True)
class _Gathered(Collector):
    """Families whose numbers are known: thousands of them without an object to each."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def _shown(results: Iterable[Result]) -> Iterable[Result]:
    return (r for r in results if r.gate is not None or r.slice == ALL)


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


def _add_bench(registry: CollectorRegistry, index: Index) -> None:
    bench = bench_of(index)
    if bench is None:
        return
    labels = {each: _engine_labels(index, cell) for each, cell in index.cells.items()}
    audit = visible(index.report.audit.name)
    for engine in bench.record.engines:
        if engine.engine not in labels:
            known = (engine.precision, visible(engine.backend), "")
            labels[engine.engine] = [audit, "", "reference", "", *known]
    add_bench(registry, bench, _ENGINE, labels)


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(prometheus_text(report), encoding="utf-8")


PROMETHEUS = Form("metrics.prom", _write)
