import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from calaudit.cli.app import app
from calaudit.formats.scales import write_scales
from calaudit.runtime.errors import CalauditError
from tests.graph import models
from tests.steps.test_build import table_for


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(models.attention(), str(path))
    return path


def build(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["build", *map(str, arguments)])


def test_explain_prints_every_pair_and_every_weighted_op_in_float(source: Path) -> None:
    result = build(source, "--explain")
    assert result.exit_code == 0
    out = result.stdout
    assert "Q/DQ pairs on activations: 8" in out
    assert "INT8 weights: 6" in out
    assert "Weighted ops left in float: 2" in out
    assert "input of MatMul node_q0; input of MatMul node_k0" in out
    assert "left alone on NVIDIA's guidance" in out
    assert "Other ops, in float: 8" in out


def test_explain_as_json_holds_every_decision(source: Path) -> None:
    content = json.loads(build(source, "--explain", "--json").stdout)
    assert content["engine"] is None
    row = next(d for d in content["decisions"] if d["subject"] == "node_n1")
    assert row["action"] == "float"
    assert row["weighted"] is True


def test_scales_and_out_build_an_engine(source: Path) -> None:
    scales, out = source.parent / "scales.json", source.parent / "int8.onnx"
    write_scales(scales, table_for(source))
    result = build(source, "--scales", scales, "--out", out)
    assert result.exit_code == 0
    assert result.stdout.strip() == (
        f"{out}: 8 Q/DQ pairs on activations, 6 weights in INT8, 2 weighted ops left in float"
    )
    onnx.checker.check_model(str(out), full_check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to build"),
        (["--out", "int8.onnx"], "nothing to build"),
        (["--scales", "s.json"], "no file to write the engine to"),
    ],
)
def test_half_an_order_is_refused(source: Path, arguments: list[str], message: str) -> None:
    result = build(source, *arguments)
    assert isinstance(result.exception, CalauditError)
    assert message in str(result.exception)
    assert "Give --scales and --out" in str(result.exception)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    result = build(tmp_path / "absent.onnx", "--explain")
    assert "no such model file" in str(result.exception)
