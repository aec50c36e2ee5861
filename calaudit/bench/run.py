"""From an audit file to a report with a bench: the audit is finished, its engines are measured."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.runtime.errors import Notice

if TYPE_CHECKING:
    from calaudit.audit.bench_entry import BenchTable
    from calaudit.audit.config import AuditConfig
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.bench.trtexec import Traced
    from calaudit.results.bench import BenchRecord, BenchSettings
    from calaudit.results.report import Report


def bench_audit(
    path: Path | str,
    overrides: "Overrides | None" = None,
    *,
    settings: Mapping[str, Any] | None = None,
    traced: "Sequence[Traced]" = (),
    formats: str | Sequence[str] = "all",
    tell: Callable[[Notice], None] | None = None,
) -> "tuple[Report, Path]":
    """Run or resume an audit, measure what its engines cost, and write its report.

    Engines are those that the audit judged, as they would be served: on onnxruntime with its
    integer kernels, whatever the audit ran. An earlier bench in the report is replaced; where this
    one is ended early, that one stays.

    Parameters
    ----------
    path : Path
        The audit file.
    overrides : Overrides, optional
        As `calaudit.run_audit`.
    settings : mapping, optional
        Keys of ``[bench]`` with values in place of the audit file's: ``batches``, ``rounds``, …
    traced : sequence of Traced
        Engines whose times are read from trtexec's files in place of being measured.
    formats, tell
        As `calaudit.run_audit`.

    Returns
    -------
    Report, Path
        With `bench`; and where report.json was written.

    Raises
    ------
    SettingsError
        Wrong settings, or cells that match nothing.
    FileFormatError
        A file of trtexec's can't be read, before any work.
    CalauditError
        As `calaudit.run_audit`.
    """
    from calaudit.audit.config import read_audit
    from calaudit.audit.matching import check_cells
    from calaudit.audit.run import run_audit
    from calaudit.bench.contestants import runnable
    from calaudit.bench.trtexec import check_files, check_traced

    say = tell or (lambda notice: None)
    config = read_audit(Path(path))
    table = _table(config, settings or {})
    check_files(traced)
    for notice in _unfinished(config, overrides):
        say(notice)

    def known(audit: "Audit") -> None:
        check_cells(table.cells, runnable(audit), what="no engine that can be run")
        check_traced(audit, traced)

    def benched(audit: "Audit", report: "Report") -> "Report":
        return with_bench(audit, report, table, say, traced)

    return run_audit(path, overrides, formats=formats, tell=tell, first=known, then=benched)


def _unfinished(config: "AuditConfig", overrides: "Overrides | None") -> Iterator[Notice]:
    """That the audit has no report yet, so that it is run before anything is measured."""
    out = None if overrides is None else overrides.out
    folder = config.folder if out is None else Path(out)
    if not (folder / "report.json").exists():
        message = "has no report yet: the audit is run first, then its engines are measured"
        yield Notice("audit_not_finished", message, str(config.path))


def with_bench(
    audit: "Audit",
    report: "Report",
    table: "BenchTable",
    tell: Callable[[Notice], None],
    traced: "Sequence[Traced]" = (),
) -> "Report":
    """The report of an audit that is held, with a bench of its engines."""
    from calaudit.runtime.progress import stage

    start = time.perf_counter()
    with stage("bench"):
        record = measure_audit(audit, report, table, traced)
    if report.bench is not None:
        tell(
            Notice("bench_replaced", f"the bench of {report.bench.measured} was replaced", "bench")
        )
    timings = {**report.timings, "bench": round(time.perf_counter() - start, 3)}
    return replace(report, bench=record, timings=timings)


def _table(config: "AuditConfig", settings: Mapping[str, Any]) -> "BenchTable":
    """``[bench]`` with other values, before any work is done.

    Raises
    ------
    SettingsError
        A value is wrong, or a batch is larger than a target's engines are built for.
    """
    from calaudit.audit.bench_entry import BenchTable
    from calaudit.runtime.errors import SettingsError
    from calaudit.runtime.settings import as_values, parse_settings

    values = {**as_values(config.bench.table), **settings}
    table = parse_settings(values, BenchTable, where="bench")
    largest, most = max(table.batches, default=1), config.audit.batch_size
    for target in config.used:
        if target.kind.keeps_engines and largest > most:
            raise SettingsError(
                f"{target.name} builds engines for batches up to [audit] batch_size, {most}, and a "
                f"batch of {largest} is to be measured",
                where="bench: batches",
                next_step="Ask for a smaller batch, or raise batch_size and run the audit again.",
            )
    return table


def measure_audit(
    audit: "Audit", report: "Report", table: "BenchTable", traced: "Sequence[Traced]" = ()
) -> "BenchRecord":
    """Measure the engines of an audit whose artefacts are there.

    Parameters
    ----------
    audit : Audit
    report : Report
        What it found: judged cells are measured.
    table : BenchTable
    traced : sequence of Traced
        Engines that trtexec timed: their files are read.

    Raises
    ------
    SettingsError
        `table.cells` matches nothing.
    BackendError
        The FP32 reference can't be measured.
    """
    from calaudit.bench.contestants import gather
    from calaudit.bench.machine import busy_notice, environment, look, others_share
    from calaudit.bench.measuring import measure
    from calaudit.bench.records import (
        benched_engine,
        kernel_notices,
        noise,
        noise_notices,
        ratios,
    )
    from calaudit.bench.trtexec import traced_engines
    from calaudit.results.bench import BenchRecord
    from calaudit.runtime.errors import BackendError

    batches = tuple(sorted(table.batches or {1, audit.config.audit.batch_size}))
    asked = _asked(audit, table, batches)
    began, around = datetime.now(UTC), environment(audit)
    given, told = traced_engines(audit, report, traced)
    field = gather(audit, report, table.cells)
    field.leave_out({each.engine for each in given})
    notices = [*field.notices, *told]
    before = look()
    measured = measure(
        field.contestants,
        feeds_of(audit, batches),
        asked,
        layers=table.layers,
        notices=notices,
    )
    notices += busy_notice(others_share(before, look()))
    reference = audit.plan.reference
    if not any(one.contestant.planned == reference for one in measured) and not any(
        each.engine == reference.id for each in given
    ):
        why = next((each.message for each in notices if each.code == "bench_failed"), "")
        raise BackendError(f"FP32 can't be measured: {why}", where=audit.model.label)
    floor = tuple(noise(measured, asked.level))
    notices += noise_notices(floor)
    products = [each.subject for each in audit.qdq.decisions if each.kind == "node"]
    notices += kernel_notices(measured, products)
    notices += _served_notices(audit)
    engines = [benched_engine(one, asked) for one in measured if not one.contestant.copy]
    order = [reference.id, *(cell.id for cell in report.cells)]
    engines = sorted([*engines, *given], key=lambda each: order.index(each.engine))
    return BenchRecord(
        measured=began.isoformat(timespec="seconds"),
        settings=asked,
        environment=around,
        engines=tuple(engines),
        ratios=tuple(ratios(measured, field, asked.level)),
        noise=floor,
        notices=tuple(dict.fromkeys(notices)),
    )


def _asked(audit: "Audit", table: "BenchTable", batches: tuple[int, ...]) -> "BenchSettings":
    from calaudit.results.bench import BenchSettings

    return BenchSettings(
        batches=batches,
        streams=tuple(sorted({1, *table.streams})),
        rounds=table.rounds,
        seconds=table.seconds,
        warm_up=table.warm_up,
        seed=audit.seed,
        level=audit.config.audit.level,
    )


def feeds_of(audit: "Audit", batches: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Batch → what is fed: evaluated samples drawn by the audit's seed, repeated where few."""
    import numpy as np

    rng = np.random.default_rng(audit.seed)
    n = min(max(batches), len(audit.evaluated))
    rows = np.sort(rng.choice(audit.evaluated, n, replace=False))
    read = audit.pool.read_inputs(rows)
    return {
        batch: {
            name: np.ascontiguousarray(values[np.arange(batch) % n])
            for name, values in read.items()
        }
        for batch in batches
    }


def _served_notices(audit: "Audit") -> list[Notice]:
    """Where engines were measured under other settings than they were judged under."""
    found = []
    for target in audit.config.used:
        served = target.kind.served(target.settings)
        changed = {
            key: getattr(served, key)
            for key in type(served).__dataclass_fields__
            if getattr(served, key) != getattr(target.settings, key)
        }
        if changed:
            told = ", ".join(f"{key} = {value!r}" for key, value in changed.items())
            message = f"measured as it would be served, with {told}; judged as the audit file says"
            found.append(Notice("bench_served", message, f"target {target.name}"))
    return found
