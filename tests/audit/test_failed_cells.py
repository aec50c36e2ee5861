"""Audits whose engines fail: some of them, those of one set, all."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families

from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.backends.base import BuiltEngine, Order
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.graph.model import Model
from calaudit.report.files import read_report
from calaudit.report.findings import findings
from calaudit.results.document import to_document, without_times
from calaudit.results.report import Report, exit_status
from calaudit.results.schema import schema_problems
from calaudit.runtime.errors import BackendError
from tests.audit.world import AUDIT, make_world, weights
from tests.cli.running import calaudit

QUIET_ONLY = """
[[calibsets]]
name = "quiet only"
size = 40
candidates = "split = 'calibration' and loudness = 'quiet'"
"""
WITH_FP16 = AUDIT.replace('"mse"]', '"mse"]\nprecisions = ["int8", "fp16"]')


def fail_beyond(path: Path, error: float) -> None:
    """Make the model's first logit an index: onnxruntime fails where it is `error` off or more.

    A part that no engine quantizes computes that logit again. What differs picks a row of a table
    that ends at `error`.
    """
    model = onnx.load(str(path))
    graph, node = model.graph, helper.make_node
    rows = 100
    graph.initializer.extend(
        [
            numpy_helper.from_array(weights()[:, 0], "w0"),
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.float32(rows / error), "per_row"),
            numpy_helper.from_array(np.zeros((rows, 1), np.float32), "table"),
        ]
    )
    del graph.node[1:]
    graph.node.extend(
        [
            node("Add", ["h", "b"], ["logits"]),
            node("Mul", ["x", "w0"], ["products"]),
            node("ReduceSum", ["products", "one"], ["again"], keepdims=0),
            node("Slice", ["h", "zero", "one", "one"], ["first"]),
            node("Squeeze", ["first", "one"], ["logit"]),
            node("Sub", ["logit", "again"], ["difference"]),
            node("Mul", ["difference", "per_row"], ["place"]),
            node("Cast", ["place"], ["row"], to=TensorProto.INT64),
            node("Gather", ["table", "row"], ["nothing"]),
            node("Add", ["logits", "nothing"], ["y"]),
        ]
    )
    onnx.save(model, str(path))


@pytest.fixture(scope="module")
def all_failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """By the command, so that every form is written; exit status 3."""
    audit = make_world(tmp_path_factory.mktemp("failing"), n=400, audit=WITH_FP16)
    fail_beyond(audit.with_name("model.onnx"), 1e-4)
    ended = calaudit("compare", str(audit))
    assert ended.status == 3, ended.err
    assert "None of the 5 engines could be evaluated" in ended.out
    assert "(no engine could be evaluated)" in ended.out
    return audit.with_suffix(""), read_report(audit.with_suffix("") / "report.json")


def test_an_audit_whose_engines_all_fail_has_a_report_with_each_ones_reason(
    all_failed: tuple[Path, Report],
) -> None:
    folder, report = all_failed
    assert (report.verdict, report.results) == ("INCONCLUSIVE", ())
    assert [cell.id for cell in report.cells][-1] == "fp16"
    for cell in report.cells:
        assert (cell.status, cell.engine) == ("failed", None)
        assert cell.reason is not None
        assert "Gather" in cell.reason
        assert "\n" not in cell.reason
        assert str(folder.parent) not in cell.reason
    assert Counter(each.code for each in report.warnings)["cell_failed"] == 5
    assert "no_gates" not in {each.code for each in report.warnings}
    assert list(schema_problems(to_document(report), where="report")) == []
    assert findings(report)[2] == "Nothing could be decided: every engine failed."


def test_every_form_of_a_report_without_results_says_that_all_engines_failed(
    all_failed: tuple[Path, Report],
) -> None:
    folder, report = all_failed
    suites = ElementTree.parse(folder / "junit.xml").getroot()
    assert (suites.get("tests"), suites.get("errors"), suites.get("failures")) == ("5", "5", "0")
    told = "None of the 5 engines could be evaluated"
    assert told in (folder / "summary.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert told in page
    assert "0 engines of 5 compared with FP32" in page
    assert told in report._repr_html_()
    series = {
        (sample.name, sample.labels.get("status", sample.labels.get("verdict"))): sample.value
        for family in text_string_to_metric_families((folder / "metrics.prom").read_text())
        for sample in family.samples
    }
    assert series["calaudit_cells", "failed"] == 5
    assert series["calaudit_verdict", "INCONCLUSIVE"] == 1


def test_a_report_without_results_is_shown_and_rendered_again(
    all_failed: tuple[Path, Report], tmp_path: Path
) -> None:
    path = str(all_failed[0] / "report.json")
    shown = calaudit("report", "show", path, "--all", "--svg", str(tmp_path / "picture.svg"))
    assert shown.status == 3
    assert "None of the 5 engines could be evaluated" in shown.out
    assert calaudit("report", "render", path, "--out", str(tmp_path)).status == 0
    for name in ("report.html", "junit.xml", "summary.md", "metrics.prom"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_failed_audit_in_another_folder_gives_the_same_report(
    all_failed: tuple[Path, Report], tmp_path: Path
) -> None:
    folder, report = all_failed
    again, _ = run_audit(folder.with_suffix(".toml"), Overrides(out=tmp_path / "elsewhere"))
    assert without_times(to_document(again)) == without_times(to_document(report))


def test_where_the_engines_of_one_set_fail_the_others_are_judged(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=600, audit=AUDIT + QUIET_ONLY)
    fail_beyond(tmp_path / "model.onnx", 40.0)  # quiet samples' ranges clip loud ones
    report, _ = run_audit(audit)
    status = {cell.id: cell.status for cell in report.cells}
    assert {name for name, each in status.items() if each == "failed"} == {
        "quiet only/minmax",
        "quiet only/mse",
    }
    assert {result.cell for result in report.results} == {
        name for name, each in status.items() if each == "judged"
    }
    assert report.verdict == "REGRESSED"


def test_what_passes_beside_an_engine_that_failed_is_no_pass_of_the_whole(tmp_path: Path) -> None:
    gates = AUDIT.replace("max_drop = 0.05", "max_drop = 0.4")
    audit = make_world(tmp_path, n=600, audit=gates + QUIET_ONLY)
    fail_beyond(tmp_path / "model.onnx", 40.0)
    report, _ = run_audit(audit)
    assert {result.verdict for result in report.results if result.gate} == {"PASS"}
    assert exit_status(report) == 3
    assert "2 engines couldn't be evaluated" in findings(report)[0]


@pytest.mark.parametrize("stage", ["load", "run"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_engines_may_all_fail_while_they_are_built_or_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, precision: str
) -> None:
    ungated = AUDIT[: AUDIT.index("[[gates]]")]
    asked = ungated.replace('"mse"]', f'"mse"]\nprecisions = ["{precision}"]')
    audit = make_world(tmp_path, n=400, audit=asked)
    make, run = OnnxruntimeBackend.make, OnnxruntimeEngine.run

    def is_fp32(model: Model) -> bool:
        kinds = {tensor.data_type for tensor in model.proto.graph.initializer}
        return not kinds & {TensorProto.INT8, TensorProto.FLOAT16}

    def refusing(self: OnnxruntimeBackend, order: Order) -> BuiltEngine:
        if stage == "load" and not is_fp32(order.model):
            raise BackendError("refused", where=order.model.label)
        built = make(self, order)
        vars(built.engine)["fp32"] = is_fp32(order.model)
        return built

    def failing(self: OnnxruntimeEngine, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        if not vars(self).get("fp32", True):
            raise BackendError("failed")
        return run(self, feeds)

    monkeypatch.setattr(OnnxruntimeBackend, "make", refusing)
    monkeypatch.setattr(OnnxruntimeEngine, "run", failing)
    report, _ = run_audit(audit)
    assert {cell.status for cell in report.cells} == {"failed"}
    assert {cell.reason for cell in report.cells} == {"refused" if stage == "load" else "failed"}
    assert exit_status(report) == 3
