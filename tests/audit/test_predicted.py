"""Audits on onnxruntime whose INT8 engines predict TensorRT's implicit quantization."""

import html
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from calaudit.audit.run import run_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.formats.scales import open_scales
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.report.forms import write_forms
from calaudit.report.headline import headline
from calaudit.report.html.page import html_page
from calaudit.report.markdown import markdown_summary
from calaudit.report.prometheus import prometheus_text
from calaudit.report.terminal import render_report
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world, weights
from tests.cli.running import calaudit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax", "entropy-trt"]\nint8 = "implicit"')
    folder = tmp_path_factory.mktemp("predicted")
    report, _ = run_audit(make_world(folder, audit=text))
    return folder, report


def test_engines_are_labelled_as_predictions(finished: tuple[Path, Report]) -> None:
    _, report = finished
    assert [cell.id for cell in report.cells] == [
        "loud only/minmax", "loud only/entropy-trt", "both/minmax", "both/entropy-trt"
    ]  # fmt: skip
    for cell in report.cells:
        assert cell.engine is not None
        assert cell.engine.options["predicts"] == "TensorRT's implicit quantization"
        assert cell.engine.quantized_ops == cell.engine.asked_ops == {"MatMul": 1}


def test_every_form_of_the_report_says_so(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    (told,) = (each.message for each in report.warnings if each.code == "predicted")
    assert told.startswith(
        "4 engines of onnxruntime are predictions of TensorRT's implicit quantization"
    )
    (folder / "forms").mkdir()
    for name in ("markdown", "html"):
        (written,) = write_forms(report, folder / "forms", [name])
        text = html.unescape(written.read_text(encoding="utf-8"))
        assert "minmax predicted" in text, name
        assert "no TensorRT has built them" in text, name
    shown = calaudit("report", "show", folder / "audit" / "report.json", "--all")
    assert "minmax predicted" in shown.out
    assert "by the prediction of TensorRT's implicit quantization" in " ".join(shown.out.split())


def test_the_verdict_never_stands_without_it(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    verdict = f"{report.verdict} (predicted)"
    told = "all 4 engines are predictions of TensorRT's implicit quantization"
    assert told in headline(report)
    assert f"Verdict: {verdict}" in render_report(report)
    (folder / "verdicts").mkdir()
    page, marked, junit = (
        html.unescape(
            write_forms(report, folder / "verdicts", [name])[0].read_text(encoding="utf-8")
        )
        for name in ("html", "markdown", "junit")
    )
    assert f"<title>{verdict}: " in page
    assert f"{verdict}: " in marked.splitlines()[0]
    assert told in marked
    assert verdict in junit


def test_one_warning_in_the_terminal_is_that_engines_are_predictions(
    finished: tuple[Path, Report],
) -> None:
    _, report = finished
    assert report.warnings[0].code == "predicted"


def test_prometheus_labels_what_they_predict(finished: tuple[Path, Report]) -> None:
    _, report = finished
    found = list(text_string_to_metric_families(prometheus_text(report)))
    labels = [s.labels for f in found for s in f.samples if "calibset" in s.labels]
    assert labels
    assert {each["predicts"] for each in labels} == {"TensorRT's implicit quantization"}


def test_scale_tables_are_listed_with_the_command_that_makes_caches_of_them(
    finished: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = finished
    tables = [str(cell.scales) for cell in report.cells]
    assert all((folder / "audit" / table).is_file() for table in tables)
    command = f"calaudit cache convert {tables[0]} calibration.cache --tensorrt 8.6.1"
    text = render_report(report, width=100)
    listed = text.split("Files, beside report.json")[1]
    assert all(table in listed for table in tables)
    assert command in " ".join(listed.split())
    page = html.unescape(html_page(report))
    assert command in page
    files = markdown_summary(report).split("Engine files")[1]
    assert all(f"`{table}`" in files for table in tables)
    assert "calaudit cache convert" in files
    monkeypatch.chdir(folder / "audit")
    shown = calaudit(*command.split()[1:])
    assert shown.status == 0, shown.err
    cache = open_trt_cache(folder / "audit" / "calibration.cache")
    assert cache.scales == pytest.approx(open_scales(folder / "audit" / tables[0]).scales)


def test_what_an_int8_product_reads_is_rounded(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    cell = next(each for each in report.cells if each.id == "both/minmax")
    scales = open_scales(folder / "audit" / str(cell.scales)).scales
    (kept,) = (folder / "audit" / "predictions").glob("both-minmax-*.h5")
    found = Predictions(kept)
    with open_pool(folder / "pool.h5") as pool:
        x = pool.read_inputs(found.rows)["x"]

    def rounded(values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
        return np.clip(np.rint(values / scale), -128, 127) * scale

    per_channel = np.abs(weights()).max(axis=0) / 127
    h = rounded(x, scales["x"]) @ rounded(weights(), per_channel)
    assert found.read("y") == pytest.approx(h, abs=1e-4)


def test_a_second_run_observes_nothing_again(
    finished: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = finished
    monkeypatch.setattr("calaudit.audit.observed.observe_network", None)
    again, _ = run_audit(folder / "audit.toml")
    assert again.cells == report.cells
    names = sorted(path.name[:7] for path in (folder / "audit" / "ranges").glob("*.h5"))
    assert names == ["network", "ranges-", "slices-"]
