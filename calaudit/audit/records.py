"""From an audit's values to the report's records, with versions and hardware it ran on."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from calaudit.audit.backends import accelerators
from calaudit.audit.foreign import foreign_record
from calaudit.audit.keys import content_key
from calaudit.audit.plan import PlannedCell
from calaudit.audit.planned_sets import PlannedSet
from calaudit.audit.prepare import Audit
from calaudit.calibration.diff import diff_scales
from calaudit.formats.calibset import Calibset
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import convention_of
from calaudit.results.audited import (
    Agreement,
    Artefact,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    ComparedRanges,
    ComparedTap,
    CompositionRow,
    EngineRecord,
    MetricRecord,
    TargetRecord,
    with_exemption,
)
from calaudit.results.comparison import ALL, Interval
from calaudit.results.drops import Screened
from calaudit.results.values import filled
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.verdict import screen
from calaudit.steps.agreement import compare_outputs
from calaudit.steps.score import Scored
from calaudit.tasks.base import EvalSet
from calaudit.version import __version__

PACKAGES = ("numpy", "scipy", "scikit-learn", "h5py", "onnx", "onnxruntime", "polars")

SHOWN: Final = 10
"""Taps that a comparison lists."""
TOLERATED: Final = 0.01
"""Relative difference of two amax that isn't counted."""

INTERVALS: Mapping[str, Interval] = {
    "binary": "tango",
    "mean": "bootstrap-t",
    "ratio": "bootstrap-t",
    "set": "jackknife",
}


def describe_environment(accelerated: Mapping[str, str]) -> dict[str, str | None]:
    """Versions of what computes, operating system, processor; and what `accelerated` tells."""
    found: dict[str, str | None] = {
        "calaudit": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "gpu": None,
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {**found, **accelerated}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def compare_ranges(
    cells: Iterable[PlannedCell], scales: Mapping[str, Mapping[str, float]]
) -> Iterator[ComparedRanges]:
    """A backend's own ranges beside those of the nearest of our methods, set by set.

    Parameters
    ----------
    cells : iterable of PlannedCell
    scales : mapping
        Cell id → tap → scale, of the cells that were built.
    """
    planned = {(each.backend, each.calibset, each.way): each for each in cells}
    for (backend, calibset, _), cell in planned.items():
        ways = (with_exemption(ours, cell.exemption) for ours in cell.nearest)
        nearest = [planned.get((backend, calibset, way)) for way in ways]
        other = next((each for each in nearest if each and scales.get(each.id)), None)
        if other is not None and scales.get(cell.id):
            yield _compared(cell.id, other.id, scales[cell.id], scales[other.id])


def _compared(
    cell: str, other: str, native: Mapping[str, float], ours: Mapping[str, float]
) -> ComparedRanges:
    found = diff_scales(native, ours)
    differing = [
        each for each in found.shared if each.ratio is None or abs(each.ratio - 1) > TOLERATED
    ]
    return ComparedRanges(
        cell=cell,
        other=other,
        taps=len(found.shared),
        differing=len(differing),
        only_tensorrt=len(found.only_first),
        only_calaudit=len(found.only_second),
        shown=tuple(
            ComparedTap(each.tap, 127 * each.first, 127 * each.second) for each in differing[:SHOWN]
        ),
    )


def audit_record(audit: Audit) -> AuditRecord:
    """What was asked, of what, on what."""
    return AuditRecord(
        name=audit.config.audit.name,
        config=audit.config.raw,
        config_fingerprint=content_key(audit.config.raw),
        model=_artefact(audit.model.label, audit.model.fingerprint),
        pool=_artefact(audit.pool.label, audit.pool.fingerprint()),
        seed=audit.seed,
        environment=describe_environment(accelerators(audit.backends)),
        ranges=audit.plan.ranges.name,
        targets=tuple(
            TargetRecord(
                target.name,
                target.backend,
                audit.backends[target.name].environment,
                {key: _setting(value) for key, value in sorted(target.given.items())},
            )
            for target in audit.config.used
        ),
    )


def _setting(value: object) -> str:
    """A setting's value as text: ``"implicit"``, ``"true"``, ``"calaudit, tensorrt"``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return str(value)


def metric_records(scored: Iterable[Scored]) -> list[MetricRecord]:
    """All tasks' metrics; the first task's first is the headline."""
    return [
        _metric(
            metric,
            one.eval_set.task.computed(metric, probabilities=one.probabilities),
            one.eval_set.unit,
        )
        for one in scored
        for metric in one.eval_set.metrics
    ]


def agreement_records(
    audit: Audit,
    reference: Predictions,
    cells: Mapping[str, Predictions],
    comparisons: Sequence[Comparison],
) -> list[Agreement]:
    """Every cell of a target that is to agree, beside the same engine on the audit's own."""
    verdicts = {
        (one.cell, one.slice, one.metric): one.verdict
        for one in comparisons
        if one.max_drop is not None
    }
    mine = {
        (cell.precision, cell.calibset or cell.given_ranges, cell.way): cell
        for cell in audit.plan.cells
        if cell.backend == audit.config.audit.backend and not cell.foreign
    }
    found: list[Agreement] = []
    for cell in audit.plan.cells:
        if cell.backend == audit.config.audit.backend or cell.id not in cells or cell.foreign:
            continue
        ranges = cell.calibset or cell.given_ranges
        twin = mine.get((cell.precision, ranges, cell.way))
        if twin is None and cell.precision != "fp32":
            continue
        other = reference if twin is None else cells.get(twin.id)
        if other is None:
            continue
        pairs = [] if twin is None else [
            (verdict, verdicts.get((cell.id, where, metric)))
            for (name, where, metric), verdict in verdicts.items()
            if name == twin.id
        ]  # fmt: skip
        equal = sum(a == b for a, b in pairs)
        found += [
            replace(
                compare_outputs(
                    eval_set, cell.id, cells[cell.id], None if twin is None else twin.id, other
                ),
                verdicts=len(pairs),
                verdicts_equal=equal,
            )
            for eval_set in _first_of_tasks(audit.eval_sets)
        ]
    return found


def _first_of_tasks(eval_sets: Iterable[EvalSet]) -> Iterable[EvalSet]:
    """One of each task: outputs are compared, whatever units are made of them."""
    found: dict[str, EvalSet] = {}
    for each in eval_sets:
        found.setdefault(each.where, each)
    return found.values()


def calibset_record(audit: Audit, planned: PlannedSet, drawn: Calibset) -> CalibsetRecord:
    """How a set was drawn and what it holds, by the audit's slices where it is of this pool."""
    return filled(
        CalibsetRecord,
        planned,
        kind="given" if planned.draw == 0 else drawn.recipe.kind,
        method=drawn.recipe.describe(),
        size=len(drawn),
        composition=tuple(_composition(audit, drawn)),
        kish_n_eff=drawn.kish_n_eff,
        shortages=drawn.notices,
        fingerprint=drawn.fingerprint,
        draw=planned.draw or None,
        file=kept(audit, planned.path) or planned.path.name,
    )


def cell_record(
    audit: Audit, planned: PlannedCell, engine: EngineRecord | None, reason: str | None = None
) -> CellRecord:
    """What a cell is, and where its files lie; without an engine it has failed."""
    target = audit.config.targets.get(planned.backend)
    own = target is not None and target.kind.keeps_engines
    foreign = None if planned.foreign is None else audit.foreign[planned.foreign]
    calibrated = planned.given == "calibset"
    shows_int8 = foreign is not None and engine is not None and bool(engine.quantized_ops)
    return filled(
        CellRecord,
        planned,
        status="failed" if engine is None else "judged",
        engine=engine,
        reason=reason,
        file=kept(audit, planned.built if own else planned.engine),
        scales=kept(audit, planned.scales),
        graph=kept(audit, planned.engine),
        cache=kept(audit, planned.built.with_suffix(".cache")) if calibrated else None,
        predictions=None if engine is None else kept(audit, planned.predictions),
        precision="int8" if shows_int8 else planned.precision,
        foreign=foreign and foreign_record(audit.config, foreign, audit.slices.names),
    )


def prediction_notices(cells: Iterable[CellRecord]) -> Iterator[Notice]:
    """That engines are predictions, once for all that predict the same."""
    by_what: dict[str, list[str]] = {}
    for cell in cells:
        if cell.engine is not None and cell.engine.options.get("predicts"):
            by_what.setdefault(str(cell.engine.options["predicts"]), []).append(cell.backend)
    for what, backends in by_what.items():
        one = len(backends) == 1
        message = (
            f"{counted(len(backends), 'engine')} of {' and '.join(dict.fromkeys(backends))} "
            f"{'is a prediction' if one else 'are predictions'} of {what}: no TensorRT has built "
            f"{'it' if one else 'them'}, and what a GPU's fastest kernels keep in float isn't known"
        )
        yield Notice("predicted", message)


def screening_records(comparisons: Iterable[Comparison]) -> list[Screened]:
    """Comparisons without a gate that lose significantly."""
    return [filled(Screened, one) for one in screen(comparisons)]


def left_out_notices(comparisons: Sequence[Comparison]) -> list[Notice]:
    """Units without a score, units that an engine broke, and slices where a metric has no value.

    Once per metric, cell, or metric and slice.
    """
    found = {}
    for one in comparisons:
        name = one.metric
        if one.slice == ALL and one.n_left_out:
            units = counted(one.n_left_out, "unit has", "units have")
            left = "is left out" if one.n_left_out == 1 else "are left out"
            message = f"{units} no score under FP32 and {left}"
            found["left_out", name] = Notice("units_left_out", message, f"metric {name}")
        if one.slice == ALL and one.n_broken:
            message = (
                f"{counted(one.n_broken, 'unit')} that FP32 scores "
                f"{'has' if one.n_broken == 1 else 'have'} no score under it by {name}: "
                "it has regressed"
            )
            found.setdefault(
                ("broken", one.cell), Notice("units_broken", message, f"cell {one.cell}")
            )
        if one.n and one.reference is None:
            message = (
                f"isn't defined on slice {one.slice}, though "
                f"{counted(one.n, 'unit has', 'units have')} a score"
            )
            found[name, one.slice] = Notice("metric_not_defined", message, f"metric {name}")
    return list(found.values())


def kept(audit: Audit, path: Path | None) -> str | None:
    """A file's place within the results folder, if it lies there."""
    if path is None or not path.exists() or not path.is_relative_to(audit.folder):
        return None
    return path.relative_to(audit.folder).as_posix()


def _artefact(label: str, fingerprint: str) -> Artefact:
    return Artefact(label.replace("\\", "/").rsplit("/", 1)[-1], fingerprint)


def _metric(metric: Metric, computed: Metric, unit: str) -> MetricRecord:
    return filled(
        MetricRecord,
        metric,
        title=computed.title,
        interval=INTERVALS[metric.kind],
        convention=convention_of(computed),
        per=unit,
    )


def _composition(audit: Audit, drawn: Calibset) -> Iterable[CompositionRow]:
    n = len(drawn)
    if drawn.pool_fingerprint != audit.pool.fingerprint():
        for row in drawn.composition:
            yield CompositionRow(row.name, row.drawn, row.share, None)
        return
    pool = audit.pool_slices.counts()
    held = audit.pool_slices.take(drawn.rows).counts()
    for name, count in held.items():
        yield CompositionRow(name, count, count / n, pool[name] / max(1, len(audit.pool)))
