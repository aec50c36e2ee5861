"""JUnit XML, for CI systems that list test cases: one per gate × slice × cell."""

import io
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from calaudit.report.forms import Evidence, Form
from calaudit.report.index import Index
from calaudit.report.precision import caveat, overall_verdict_text, precision_told
from calaudit.report.wording import (
    amount,
    between,
    broken_units,
    change_of_metric,
    percent,
    score,
    units,
    units_named,
)
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import Result
from calaudit.results.report import Report, unjudged
from calaudit.runtime.words import visible

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold, not even escaped."""


def junit_xml(report: Report) -> str:
    """The gated comparisons of candidates as JUnit test cases, one suite per cell.

    REGRESSED is a failure. INCONCLUSIVE is skipped, since it is neither kept nor broken; what
    would decide it is in the message. A cell that failed is one test case with an error. Where no
    gate applied, one skipped test case says why. Controls are no test cases.
    """
    index = Index(report)
    by_cell: dict[str, list[Result]] = defaultdict(list)
    for result in index.gated:
        by_cell[result.cell].append(result)
    root = JUnitXml(f"calaudit {_text(report.audit.name)}")
    for cell in report.cells:
        if by_cell[cell.id] or (cell.status == "failed" and cell.id not in index.controls):
            root.add_testsuite(_suite(index, cell, by_cell[cell.id]))
    reason = unjudged(report.results, report.cells)
    if reason is not None and not len(root):
        root.add_testsuite(_unjudged(report, reason))
    root.update_statistics()  # type: ignore[no-untyped-call]  # junitparser leaves it untyped
    file = io.BytesIO()
    root.write(file, pretty=True)
    return file.getvalue().decode("utf-8")


def _unjudged(report: Report, reason: str) -> TestSuite:
    case = TestCase("verdict", "calaudit", 0)
    case.result = Skipped(_text(f"inconclusive: {reason}"))
    suite = TestSuite("calaudit")
    suite.timestamp = _when(report)
    suite.add_testcase(case)
    return suite


def _suite(index: Index, cell: CellRecord, results: list[Result]) -> TestSuite:
    report = index.report
    suite = TestSuite(_text(cell.id))
    suite.timestamp = _when(report)
    facts = {
        "audit": report.audit.name,
        "verdict": overall_verdict_text(index),
        "model": f"{report.audit.model.name} {report.audit.model.fingerprint}",
        "pool": f"{report.audit.pool.name} {report.audit.pool.fingerprint}",
        "seed": str(report.audit.seed),
        "calaudit": report.calaudit_version,
    }
    controls = [each.name for each in report.calibsets if each.role == "control"]
    if controls:
        facts["controls"] = ", ".join(controls)
    if cell.engine is not None and (told := precision_told(cell, cell.engine)):
        facts["precision"] = told
    for name, value in facts.items():
        suite.add_property(name, _text(value))
    if cell.status == "failed":
        case = TestCase("engine", _class(cell), 0)
        case.result = Error(_text(cell.reason or "it wasn't evaluated"), "EngineFailed")
        suite.add_testcase(case)
    suite.add_testcases([_case(index, cell, result) for result in results])
    return suite


def _when(report: Report) -> str:
    return datetime.fromisoformat(report.created).strftime("%Y-%m-%dT%H:%M:%S")


def _class(cell: CellRecord) -> str:
    return f"calaudit.{_text(cell.id)}"


def _case(index: Index, cell: CellRecord, result: Result) -> TestCase:
    metric = index.metrics[result.metric]
    case = TestCase(_text(f"{result.metric} on {result.slice}"), _class(cell), 0)
    told = change_of_metric(metric, result.drop)
    if result.n_broken:
        told = f"{broken_units(index, result)}; else {told}"
    if result.gate is not None:
        told += f"; {amount(metric, result.gate.max_drop)} allowed"
    short = caveat(cell)
    told += f"; {short}" if short else ""
    if result.verdict == "REGRESSED":
        failure = Failure(_text(told), "REGRESSED")
        failure.text = _text(_details(index, result))
        case.result = failure
    elif result.verdict != "PASS":
        case.result = Skipped(_text(f"inconclusive: {told}{_needed(index, result)}"))
    passed = f"passed, but {short}: " if short and result.verdict == "PASS" else ""
    case.system_out = _text(f"{passed}{_details(index, result)}")
    return case


def _needed(index: Index, result: Result) -> str:
    """What would decide an inconclusive comparison, or why nothing would."""
    metric = index.metrics[result.metric]
    if index.misses_floor(result) and result.gate is not None:
        floor = score(metric, result.gate.min_reference)
        return f"; FP32 itself reaches {score(metric, result.reference)}, not {floor}"
    needed = ""
    if result.n_needed is not None:
        needed = f"; needs {units_named(index, result.metric, result.n_needed)}"
    return needed if result.reason is None else f"; {result.reason}{needed}"


def _details(index: Index, result: Result) -> str:
    metric = index.metrics[result.metric]
    facts = [
        f"n {units(result)}",
        f"FP32 {score(metric, result.reference)}",
        f"engine {score(metric, result.candidate)}",
    ]
    if result.low is not None and result.level is not None:
        interval = between(metric, result.low, result.high)
        facts.append(f"{percent(result.level)} interval of the drop {interval}")
    if result.flips is not None:
        facts.append(f"{result.flips.lost:,} lost, {result.flips.gained:,} gained")
    return ", ".join(facts)


def _text(value: str) -> str:
    """`value` on one line, without what XML can't hold; the writer escapes the rest."""
    return _NO_XML.sub("\ufffd", visible(value))


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(junit_xml(report), encoding="utf-8")


JUNIT = Form("junit.xml", _write)
