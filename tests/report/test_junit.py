from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from junitparser import Error, Failure, JUnitXml, Skipped, TestSuite

from calaudit.report.forms import write_forms
from calaudit.report.junit import junit_xml
from calaudit.results.report import Report
from tests.report.factory import SAMPLE, cell, report, reports, result
from tests.report.hostile import NAMES, hostile_report


def parsed(made: Report) -> list[TestSuite]:
    found = JUnitXml.fromstring(junit_xml(made).encode())
    assert isinstance(found, JUnitXml)
    return list(found)


def test_there_is_one_case_per_gated_comparison_and_none_for_others() -> None:
    ungated = result("clean/minmax", "all", 0.5, None, metric="nll", max_drop=None)
    suites = parsed(report([*SAMPLE, ungated]))
    assert [suite.name for suite in suites] == [
        "clean/minmax", "clean/mse", "equal/minmax", "equal/mse",
    ]  # fmt: skip
    assert [[case.name for case in suite] for suite in suites] == [
        ["top1 on all", "top1 on noise < 0.4", "top1 on noise ≥ 0.4"]
    ] * 4


def test_a_regression_fails_and_an_inconclusive_one_is_skipped_with_what_it_needs() -> None:
    clean, mse = parsed(report())[:2]
    assert (clean.failures, clean.skipped, clean.errors, clean.tests) == (1, 0, 0, 3)
    (failure,) = list(clean)[2].result
    assert isinstance(failure, Failure)
    assert failure.message == "loses 6.1 points of top-1 accuracy; 2.0 points allowed"
    assert "95 % interval of the drop 4.8–7.4, 64 lost, 3 gained" in failure.text
    (skipped,) = list(mse)[2].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == (
        "inconclusive: loses 2.0 points of top-1 accuracy; 2.0 points allowed; needs 1,200 samples"
    )


def test_an_engine_that_failed_is_an_error() -> None:
    cells = (cell("clean"), cell("equal", status="failed", engine=None, reason="no <ranges>"))
    passed, failed = parsed(report(SAMPLE[:1], cells=cells))
    assert passed.errors == 0
    assert (failed.errors, failed.tests) == (1, 1)
    (error,) = next(iter(failed)).result
    assert isinstance(error, Error)
    assert error.message == "no <ranges>"


def test_hostile_names_are_text_and_what_xml_cannot_hold_is_spelled_out(tmp_path: Path) -> None:
    write_forms(hostile_report(), tmp_path, ["junit"])
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    names = [case.get("name", "") for case in root.iter("testcase")]
    assert f"top1 on {NAMES[2]}" in names
    assert f"top1 on {'n' * 300}" in names
    assert "top1 on line\\nbreak\\ttab\\x1b[31m\\u202e\\x00 nul" in names
    assert "top1 on \\udce9 not UTF-8 \ufffd" in names
    assert {element.tag for element in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "skipped",
        "error", "system-out",
    }  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_reports_file_counts_what_it_holds(made: Report) -> None:
    root = ElementTree.fromstring(junit_xml(made).encode())
    candidates = {each.id: each for each in made.cells if each.role == "candidate"}
    gated = [r for r in made.results if r.gate is not None and r.cell in candidates]
    failed = sum(each.status == "failed" for each in candidates.values())
    unjudged = not gated and not failed
    verdicts = Counter(r.verdict for r in gated)
    assert (
        int(root.get("tests", ""))
        == len(list(root.iter("testcase")))
        == (len(gated) + failed + unjudged)
    )
    assert int(root.get("failures", "")) == len(list(root.iter("failure"))) == verdicts["REGRESSED"]
    assert int(root.get("errors", "")) == len(list(root.iter("error"))) == failed
    undecided = verdicts["INCONCLUSIVE"] + verdicts[None] + unjudged
    assert int(root.get("skipped", "")) == len(list(root.iter("skipped"))) == undecided
    for suite in root:
        datetime.strptime(suite.get("timestamp", ""), "%Y-%m-%dT%H:%M:%S")


def test_equal_reports_give_equal_bytes() -> None:
    assert junit_xml(report()) == junit_xml(replace(report(), timings={}))
