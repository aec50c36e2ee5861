"""What an earlier report of an audit explains and measured, kept by a later one where it holds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from calaudit.report.files import read_report
from calaudit.results.bench import BenchedEngine, BenchRecord, Ratio
from calaudit.results.explanation import Explanation
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, Notice
from calaudit.runtime.words import counted, first_of, visible

_NAMED = 3
"""Engines that a notice names."""
Told = tuple[str, str, str]
"""A result by its cell, slice and metric."""


def earlier_report(path: Path) -> Report | None:
    """The report that a run is about to replace; None where there is none that can be read."""
    if not path.exists():
        return None
    try:
        return read_report(path)
    except CalauditError:
        return None


def still_holding(report: Report, earlier: Report | None) -> tuple[Explanation, ...]:
    """Explanations of an earlier report whose engines, rows and results are as they were.

    Parameters
    ----------
    report : Report
        Of the audit as it is now.
    earlier : Report or None
    """
    if earlier is None or _tried_on(report) != _tried_on(earlier):
        return ()
    cells, results = (
        _equal(named(report), named(earlier)) for named in (_cells_by_name, _results_by_name)
    )
    kept = []
    for one in earlier.explanations:
        named = {one.cell} | ({one.donor} & set(_cells_by_name(earlier)))
        if named <= cells and results_of(one)[0] in results:
            alike = [each for each in one.alike if each.cell in cells]
            alike = [each for each in alike if (each.cell, each.slice, one.metric) in results]
            kept.append(replace(one, alike=tuple(alike)))
    return tuple(kept)


def results_of(one: Explanation) -> list[Told]:
    """The results that an explanation tells of, its own first."""
    return [
        (one.cell, one.slice, one.metric),
        *((each.cell, each.slice, one.metric) for each in one.alike),
    ]


def merged(new: Iterable[Explanation], kept: Iterable[Explanation]) -> tuple[Explanation, ...]:
    """New explanations, then those kept of results that the new ones don't tell of."""
    new = tuple(new)
    told = {each for one in new for each in results_of(one)}
    rest = [
        replace(
            one,
            alike=tuple(a for a in one.alike if (a.cell, a.slice, one.metric) not in told),
        )
        for one in kept
        if results_of(one)[0] not in told
    ]
    return (*new, *rest)


def still_benched(report: Report, earlier: Report | None) -> BenchRecord | None:
    """An earlier report's bench, of the engines that are as they were.

    An engine is another one where its content, its target or the library that runs it is. What it
    was measured on may be another machine than the report's, and is told with the bench.

    Parameters
    ----------
    report : Report
        Of the audit as it is now.
    earlier : Report or None
    """
    bench = None if earlier is None else earlier.bench
    if earlier is None or bench is None:
        return None
    now, before = _engines(report), _engines(earlier)
    kept = [
        each
        for each in bench.engines
        if each.engine in now
        and now[each.engine] == before.get(each.engine)
        and _fingerprint(report, each) == each.fingerprint
    ]
    if not kept:
        return None
    places = {name: place for place, name in enumerate(now)}
    kept.sort(key=lambda each: places[each.engine])
    keys = {each.key for each in kept}

    def between_kept(found: Iterable[Ratio]) -> tuple[Ratio, ...]:
        return tuple(
            one
            for one in found
            if (one.engine, one.variant) in keys and (one.baseline, one.baseline_variant) in keys
        )

    return replace(
        bench,
        engines=tuple(kept),
        ratios=between_kept(bench.ratios),
        noise=between_kept(bench.noise),
    )


def _engines(report: Report) -> dict[str, Any]:
    """Engine → what it runs on; the reference first, by all its names."""
    targets = {each.name: each for each in report.audit.targets}
    library = {key: report.audit.environment.get(key) for key in ("onnxruntime", "tensorrt")}
    backend = report.reference.backend
    names = dict.fromkeys(("fp32", f"fp32/{backend}"), backend)
    names |= {cell.id: cell.backend for cell in report.cells if cell.engine is not None}
    return {name: (on, targets.get(on), library) for name, on in names.items()}


def _fingerprint(report: Report, benched: BenchedEngine) -> str | None:
    cell = _cells_by_name(report).get(benched.engine)
    engine = report.reference.engine if cell is None else cell.engine
    return None if engine is None else engine.fingerprint


def forgotten(report: Report, earlier: Report | None) -> Iterator[Notice]:
    """Notices where an earlier report explains results or measured engines, and this one not."""
    if earlier is None:
        return
    before, now = (
        {told for one in each.explanations for told in results_of(one)}
        for each in (earlier, report)
    )
    lost = len(before - now)
    if lost:
        yield Notice(
            "explanations_dropped",
            f"{counted(lost, 'result')} that the report of an earlier run explained "
            f"{'is' if lost == 1 else 'are'}n't explained in this one, since what it said needn't "
            "hold any more (calaudit explain explains again)",
            "audit",
        )
    measured, still = (
        {} if each.bench is None else dict.fromkeys(one.engine for one in each.bench.engines)
        for each in (earlier, report)
    )
    kept = still_benched(report, earlier)
    same = set() if kept is None else {one.engine for one in kept.engines}
    # ratios of two benches can't be compared, so that a new one takes the place of all
    unasked = [visible(name) for name in measured if name in same and name not in still]
    if unasked:
        yield Notice(
            "bench_narrowed",
            f"{first_of(unasked[:_NAMED], len(unasked))}, which an earlier bench measured, "
            f"{'was' if len(unasked) == 1 else 'were'}n't measured by this one: its report has no "
            "times of what other rounds measured (calaudit bench measures all where no cells are "
            "named)",
            "audit",
        )
    gone = [visible(name) for name in measured if name not in still and name not in same]
    if gone:
        yield Notice(
            "bench_dropped",
            f"what an earlier bench measured of {first_of(gone[:_NAMED], len(gone))} isn't in this "
            f"report, since {'it is another engine' if len(gone) == 1 else 'they are others'} now, "
            "or gone (calaudit bench measures again)",
            "audit",
        )


def _tried_on(report: Report) -> list[Any]:
    """What all experiments of an audit depend on beside engines: release, inputs, rows."""
    audit = report.audit
    return [
        report.calaudit_version,
        audit.model,
        audit.pool,
        audit.seed,
        audit.environment,
        [audit.config.get(table) for table in ("audit", "slices", "tasks", "gates")],
    ]


def _cells_by_name(report: Report) -> dict[Any, Any]:
    return {each.id: each for each in report.cells}


def _results_by_name(report: Report) -> dict[Any, Any]:
    return {(each.cell, each.slice, each.metric): each for each in report.results}


def _equal(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> set[Any]:
    """Names that stand for the same in both."""
    return {name for name, each in first.items() if name in second and second[name] == each}
