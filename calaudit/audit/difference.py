"""Two reports compared: what changed per slice, and which of it is more than noise."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calaudit.audit.bench_difference import bench_difference
from calaudit.audit.finished import Finished, open_finished
from calaudit.audit.paired import Key, NotPairedError, paired_differences
from calaudit.results.audited import Role
from calaudit.results.comparison import Result
from calaudit.results.difference import (
    Change,
    Finding,
    Kind,
    OnlyIn,
    ReportDifference,
    ReportName,
    Setting,
)
from calaudit.results.report import Report
from calaudit.statistics.difference import Difference, difference_by_intervals
from calaudit.statistics.verdict import benjamini_yekutieli, holm

LEVEL = 0.95
"""Two-sided level of the changes' intervals; what isn't noise is so at 1 − LEVEL."""


def diff_reports(
    first: Path | str, second: Path | str, *, audit: Path | str | None = None
) -> ReportDifference:
    """Compare two reports.

    Where both audits ran one model on the same samples and their predictions are there, engines
    of the same id are compared unit by unit; else by the two reports' intervals.

    Parameters
    ----------
    first, second : Path
        report.json of each, the folder that holds it, or the audit file.
    audit : Path, optional
        The audit file of either, for the comparison unit by unit; default: the one beside its
        results.

    Raises
    ------
    FileFormatError
        A report is missing, broken, or of a version that this release can't read.
    """
    a, b = open_finished(Path(first)), open_finished(Path(second))
    paired: dict[Key, Difference] = {}
    unpaired = None
    try:
        paired = paired_differences(a, b, audit=None if audit is None else Path(audit), level=LEVEL)
    except NotPairedError as error:
        unpaired = str(error)
    changes = _corrected(list(_changes(a, b, paired)))
    if unpaired is None and any(each.how == "intervals" for each in changes):
        unpaired = "some slices or metrics aren't of the same units in both"
    return ReportDifference(
        a=_name(a.report),
        b=_name(b.report),
        settings=tuple(_settings(a.report, b.report)),
        only=tuple(_only(a.report, b.report)),
        rebuilt=tuple(_rebuilt(a.report, b.report)),
        unpaired=unpaired,
        changes=tuple(changes),
        units={each.name: each.unit for each in (*a.report.metrics, *b.report.metrics)},
        bench=bench_difference(a.report, b.report),
    )


def _name(report: Report) -> ReportName:
    return ReportName(report.audit.name, report.created, report.calaudit_version, report.verdict)


def _changes(a: Finished, b: Finished, paired: Mapping[Key, Difference]) -> Iterator[Change]:
    before = {(r.cell, r.slice, r.metric): r for r in a.report.results}
    sizes = {each.name: each.n for each in a.report.slices}
    same = {each.name for each in b.report.slices if sizes.get(each.name) == each.n}
    cells = (*a.report.cells, *b.report.cells)
    candidates = {each.id for each in cells if each.role == "candidate"}
    for result in b.report.results:
        key = result.cell, result.slice, result.metric
        if key in before:
            found = paired.get(key) if result.slice in same else None
            role: Role = "candidate" if result.cell in candidates else "control"
            yield _change(before[key], result, found, role)


def _change(a: Result, b: Result, paired: Difference | None, role: Role) -> Change:
    found = paired or difference_by_intervals(a, b, level=LEVEL)
    plain = None if a.drop is None or b.drop is None else b.drop - a.drop
    return Change(
        cell=b.cell,
        slice=b.slice,
        metric=b.metric,
        n_a=a.n,
        n_b=b.n,
        broken_a=a.n_broken,
        broken_b=b.n_broken,
        drop_a=a.drop,
        drop_b=b.drop,
        change=plain if found is None else found.estimate,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        level=LEVEL,
        how="intervals" if paired is None else "paired",
        p_value=None if found is None else found.p_value,
        p_adjusted=None,
        gated=a.gate is not None or b.gate is not None,
        role=role,
        verdict_a=a.verdict,
        verdict_b=b.verdict,
        finding="worse" if b.n_broken > a.n_broken else None,
    )


def _corrected(changes: list[Change]) -> list[Change]:
    """With p-values corrected for multiple comparisons: what decides is one family."""
    for decides, correct in ((True, holm), (False, benjamini_yekutieli)):
        tested = {
            i: each.p_value
            for i, each in enumerate(changes)
            if each.decides == decides and each.p_value is not None
        }
        if tested:
            adjusted = correct(list(tested.values())).tolist()
            for i, value in zip(tested, adjusted, strict=True):
                found = _finding(changes[i], value)
                changes[i] = replace(changes[i], p_adjusted=value, finding=found)
    return changes


def _finding(one: Change, p_adjusted: float) -> Finding | None:
    if one.finding:
        return one.finding
    if p_adjusted >= 1 - one.level or not one.change:
        return None
    return "worse" if one.change > 0 else "better"


def _settings(a: Report, b: Report) -> Iterator[Setting]:
    """Inputs first, then the audit file's keys, then what it ran on."""
    one, other = (dict(_facts(report)) for report in (a, b))
    for key in dict.fromkeys((*one, *other)):
        if one.get(key) != other.get(key):
            yield Setting(key, one.get(key), other.get(key))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    audit = report.audit
    yield "model", _json(f"{audit.model.name} {audit.model.fingerprint}")
    yield "pool", _json(f"{audit.pool.name} {audit.pool.fingerprint}")
    yield "seed", _json(audit.seed)
    for each in report.calibsets:
        yield f"calibration set {each.name}", _json(each.fingerprint)
    yield from _flat(audit.config, "")
    yield "release", _json(report.calaudit_version)
    for key, value in audit.environment.items():
        if key != "calaudit":
            yield f"environment.{key}", _json(value)


def _flat(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Leaves of nested tables by their place; tables of a list by their name, or else number."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{at}.{key}" if at else str(key))
    elif _is_tables(value):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{at}[{inner.get('name', number)}]")
    else:
        yield at, _json(value)


def _is_tables(value: Any) -> bool:
    tables = isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)
    return tables and bool(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _only(a: Report, b: Report) -> Iterator[OnlyIn]:
    kinds: Sequence[tuple[Kind, Iterable[str], Iterable[str]]] = (
        ("engines", [c.id for c in a.cells], [c.id for c in b.cells]),
        ("slices", [s.name for s in a.slices], [s.name for s in b.slices]),
        ("metrics", [m.name for m in a.metrics], [m.name for m in b.metrics]),
        ("calibration sets", [s.name for s in a.calibsets], [s.name for s in b.calibsets]),
    )
    for kind, mine, theirs in kinds:
        gone = tuple(name for name in mine if name not in set(theirs))
        new = tuple(name for name in theirs if name not in set(mine))
        if gone or new:
            yield OnlyIn(kind, gone, new)


def _rebuilt(a: Report, b: Report) -> Iterator[str]:
    before = {each.id: each.engine.fingerprint for each in a.cells if each.engine is not None}
    for cell in b.cells:
        known = before.get(cell.id)
        if known is not None and cell.engine is not None and cell.engine.fingerprint != known:
            yield cell.id
