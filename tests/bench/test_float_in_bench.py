"""What leaving an op in float costs, by real layers and runs of onnxruntime's engines."""

from pathlib import Path

import pytest

from calaudit.bench.run import bench_audit
from calaudit.report.bench.float_cost import float_cost_lines
from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_remarks
from calaudit.report.index import Index
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world
from tests.export.test_export import EXEMPT, two_products

QUICK = {"rounds": 6, "seconds": 0.005, "warm_up": 0.01, "batches": [100], "cells": ["both/*"]}


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("float")
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]')
    audit = make_world(folder, n=400, audit=text + EXEMPT)
    two_products(folder / "model.onnx")
    report, _ = bench_audit(audit, settings=QUICK, formats="none", tell=lambda notice: None)
    return report


def test_an_op_of_an_int8_engine_is_told_by_layers(benched: Report) -> None:
    (line,) = float_cost_lines(Index(benched), "both/minmax", ["second"])
    assert "second" in line
    assert line.endswith("in INT8 at batch 100") or "of their layers included" in line
    assert "ms" in line


def test_an_op_that_is_in_float_is_told_by_the_engine_that_has_it_in_int8(benched: Report) -> None:
    plain = list(float_cost_lines(Index(benched), "both/minmax", ["second"]))
    assert list(float_cost_lines(Index(benched), "both/minmax+last", ["second"])) == plain


def test_the_exemption_is_told_by_its_own_runs(benched: Report) -> None:
    bench = bench_of(Index(benched))
    assert bench is not None
    (line,) = [each for each in bench_remarks(bench) if "left in float: " in each]
    assert "with 1 product left in float: " in line
    assert "× as fast as without (" in line
    assert "at batch 100" in line
