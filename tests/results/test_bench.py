"""A bench in report.json: written and read again, absent from older files, and held to names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.report.files import read_report, write_report
from calaudit.results.bench import Ratio
from calaudit.results.document import to_document
from calaudit.results.values import Estimate
from calaudit.runtime.errors import FileFormatError
from tests.report.benched import BENCH, benched, estimate
from tests.report.factory import report


def test_a_bench_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(report(bench=BENCH), path)
    assert read_report(path).bench == BENCH


def test_files_from_before_benches_have_none(tmp_path: Path) -> None:
    document = to_document(report())
    del document["bench"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_report(path).bench is None


def test_numbers_that_arent_finite_are_none() -> None:
    assert Estimate(float("nan"), float("-inf"), 1) == Estimate(None, None, 1)


@pytest.mark.parametrize(
    ("bench", "told"),
    [
        (
            replace(BENCH, engines=(*BENCH.engines, benched("clean/mnmax"))),
            "no engine is called 'clean/mnmax'",
        ),
        (replace(BENCH, engines=(*BENCH.engines, benched())), "'fp32' is told twice"),
        (
            replace(BENCH, ratios=(Ratio("fp32", "o9", "fp32", "", "latency", estimate(1)),)),
            "'fp32' wasn't benched",
        ),
    ],
)
def test_a_bench_that_names_what_isnt_there_is_refused(
    tmp_path: Path, bench: object, told: str
) -> None:
    document = to_document(replace(report(), bench=bench))  # type: ignore[arg-type]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(FileFormatError, match=told):
        read_report(path)
