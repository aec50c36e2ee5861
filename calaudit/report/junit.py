"""JUnit XML, for CI systems that list test cases: one per gate × slice × cell."""

import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from calaudit.formats.writing import write_text
from calaudit.report.index import Index
from calaudit.report.wording import (
    amount,
    between,
    broken_units,
    change_of_metric,
    percent,
    score,
    units,
)
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import Result, Verdict
from calaudit.results.report import Report, unjudged
from calaudit.runtime.words import counted, visible

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold, not even escaped."""


def write_junit(report: Report, path: Path) -> None:
    """Write :func:`junit_xml`.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    write_text(path, junit_xml(report))


def junit_xml(report: Report) -> str:
    """The gated comparisons of candidates as JUnit test cases, one suite per cell.

    REGRESSED is a failure. INCONCLUSIVE is skipped, since it is neither kept nor broken; what
    would decide it is in the message. A cell that failed is one test case with an error. Where no
    gate judged anything, one skipped test case says why. Controls are no test cases.
    """
    index = Index(report)
    by_cell: dict[str, list[Result]] = defaultdict(list)
    for result in index.gated:
        by_cell[result.cell].append(result)
    root = Element("testsuites", name=f"calaudit {_text(report.audit.name)}")
    for cell in report.cells:
        if by_cell[cell.id] or (cell.status == "failed" and cell.id not in index.controls):
            root.append(_suite(index, cell, by_cell[cell.id]))
    reason = unjudged(report.results, report.cells)
    if reason is not None and not len(root):
        root.append(_unjudged(report, reason))
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _unjudged(report: Report, reason: str) -> Element:
    suite = Element(
        "testsuite",
        name="calaudit",
        tests="1",
        failures="0",
        errors="0",
        skipped="1",
        timestamp=_when(report),
        time="0",
    )
    case = SubElement(suite, "testcase", classname="calaudit", name="verdict", time="0")
    SubElement(case, "skipped", message=_text(f"inconclusive: {reason}"))
    return suite


def _suite(index: Index, cell: CellRecord, results: list[Result]) -> Element:
    report = index.report
    failed = cell.status == "failed"
    verdicts = [result.verdict for result in results]
    suite = Element(
        "testsuite",
        name=_text(cell.id),
        tests=str(len(results) + failed),
        failures=str(verdicts.count(Verdict.REGRESSED)),
        errors=str(int(failed)),
        skipped=str(
            len(verdicts) - verdicts.count(Verdict.REGRESSED) - verdicts.count(Verdict.PASS)
        ),
        timestamp=_when(report),
        time="0",
    )
    properties = SubElement(suite, "properties")
    facts = {
        "audit": report.audit.name,
        "verdict": report.verdict,
        "model": f"{report.audit.model.name} {report.audit.model.fingerprint}",
        "pool": f"{report.audit.pool.name} {report.audit.pool.fingerprint}",
        "seed": str(report.audit.seed),
        "calaudit": report.calaudit_version,
    }
    controls = [each.name for each in report.calibsets if each.role == "control"]
    if controls:
        facts["controls"] = ", ".join(controls)
    for name, value in facts.items():
        SubElement(properties, "property", name=name, value=_text(value))
    if failed:
        case = _case(suite, cell, "engine")
        reason = _text(cell.reason or "it wasn't judged")
        SubElement(case, "error", type="EngineFailed", message=reason)
    for result in results:
        _add(index, suite, cell, result)
    return suite


def _when(report: Report) -> str:
    return datetime.fromisoformat(report.created).strftime("%Y-%m-%dT%H:%M:%S")


def _case(suite: Element, cell: CellRecord, name: str) -> Element:
    return SubElement(
        suite, "testcase", classname=f"calaudit.{_text(cell.id)}", name=_text(name), time="0"
    )


def _add(index: Index, suite: Element, cell: CellRecord, result: Result) -> None:
    metric = index.metrics[result.metric]
    case = _case(suite, cell, f"{result.metric} on {result.slice}")
    told = change_of_metric(metric, result.drop)
    if result.n_broken:
        told = f"{broken_units(result)}; else {told}"
    if result.gate is not None:
        told += f"; {amount(metric, result.gate.max_drop)} allowed"
    if result.verdict == "REGRESSED":
        found = SubElement(case, "failure", type="REGRESSED", message=_text(told))
        found.text = _text(_details(index, result))
    elif result.verdict != "PASS":
        needed = (
            (f"; needs {counted(result.n_needed, 'sample')}") if result.n_needed is not None else ""
        )
        if index.misses_floor(result) and result.gate is not None:
            floor = score(metric, result.gate.min_reference)
            needed = f"; FP32 itself reaches {score(metric, result.reference)}, not {floor}"
        elif result.reason is not None:
            needed = f"; {result.reason}{needed}"
        SubElement(case, "skipped", message=_text(f"inconclusive: {told}{needed}"))
    output = SubElement(case, "system-out")
    output.text = _text(_details(index, result))


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
    """`value` on one line, without what XML can't hold; ElementTree escapes the rest."""
    return _NO_XML.sub("\ufffd", visible(value))
