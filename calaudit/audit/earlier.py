"""Explanations of an earlier run of an audit, which a later report keeps where they still hold."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from calaudit.report.files import read_report
from calaudit.results.explanation import Explanation
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, Notice
from calaudit.runtime.words import counted

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


def forgotten(report: Report, earlier: Report | None) -> Iterator[Notice]:
    """A notice where results that an earlier report explains aren't explained any more."""
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
