"""Every form of the report for people names the files of every cell."""

import html
from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.formats.predictions import Predictions
from calaudit.graph.load import load_model
from calaudit.report.handover import named_files
from calaudit.report.html.page import html_page
from calaudit.report.markdown import markdown_summary
from calaudit.results.audited import CellRecord
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("files")
    audit = AUDIT.replace("[audit]", '[audit]\nprecisions = ["int8", "fp16"]')
    report, path = run_audit(make_world(folder, audit=audit))
    return path.parent, report


def test_the_report_names_the_files_of_every_cell_and_they_are_there(
    finished: tuple[Path, Report],
) -> None:
    folder, report = finished
    for cell in report.cells:
        kinds = dict(named_files(cell))
        wanted = {"predictions"} if cell.precision == "fp16" else {
            "engine", "scale table", "predictions"
        }  # fmt: skip
        assert set(kinds) == wanted
        assert all((folder / path).is_file() for path in kinds.values())
        assert cell.graph == cell.file
        rows = Predictions(folder / str(cell.predictions)).rows
        assert len(rows) == report.slices[0].n
        if cell.graph is not None and cell.engine is not None:
            graph = load_model(folder / cell.graph, quantized=True)
            assert graph.fingerprint == cell.engine.fingerprint
    assert report.reference.predictions is not None
    assert (folder / report.reference.predictions).is_file()


def test_page_and_summary_name_them(finished: tuple[Path, Report]) -> None:
    _, report = finished
    page = html.unescape(html_page(report)).split("<summary>Engines:")[1]
    listed = markdown_summary(report).split("Engine files")[1]
    for cell in report.cells:
        for what, path in named_files(cell):
            assert f"{what} <code>{path}</code>" in page
            assert f"{what} `{path}`" in listed


def test_a_graph_that_is_the_engine_is_named_once() -> None:
    both = _cell(file="engines/a.onnx", graph="engines/a.onnx")
    assert named_files(both) == (("engine", "engines/a.onnx"),)
    apart = _cell(file="engines/a.engine", graph="engines/a.onnx", cache="engines/a.cache")
    assert named_files(apart) == (
        ("engine", "engines/a.engine"),
        ("Q/DQ graph", "engines/a.onnx"),
        ("calibration cache", "engines/a.cache"),
    )


def _cell(**files: str) -> CellRecord:
    return CellRecord(
        "a/minmax", "a", "minmax", "int8", "tensorrt", "calaudit", "judged", None, **files
    )
