import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from calaudit.cli.app import app
from calaudit.formats.scales import write_scales
from calaudit.runtime.errors import CalauditError
from calaudit.steps.build import build_engine
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
    macs = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16
    assert f"Multiply-accumulates per sample: {macs:,}, of which 100 % in INT8" in out


@pytest.mark.parametrize(
    ("sketch", "told", "counted"),
    [
        (models.conv_transpose(), "1,920, of which 60 % in INT8", (1920, 1152, 0)),
        (models.gemms(), "360, of which 100 % in INT8", (360, 360, 0)),
    ],
)
def test_explain_says_how_much_of_the_cost_is_in_int8(
    tmp_path: Path, sketch: onnx.ModelProto, told: str, counted: tuple[int, int, int]
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(sketch, str(path))
    assert build(path, "--explain").stdout.rstrip().endswith(told)
    macs = json.loads(build(path, "--explain", "--json").stdout)["macs"]
    assert (macs["all"], macs["int8"], macs["uncounted"]) == counted


def test_explain_says_what_it_cant_count(tmp_path: Path) -> None:
    s = models.Sketch()
    s.conv("x", "c", 3, 4)
    s.op("GlobalAveragePool", ["c"], "p")
    s.op("Flatten", ["p"], "f")
    both = s.gemm("f", "y", 4, 2)
    path = tmp_path / "m.onnx"
    onnx.save(s.model({"x": ["b", 3, "h", "w"]}, {both: ["b", 2]}), str(path))
    out = build(path, "--explain").stdout
    assert "per sample: 8, of which 100 % in INT8; without those of 1 product: the model" in out
    alone = models.Sketch()
    alone.conv("x", "y", 3, 4)
    onnx.save(alone.model({"x": ["b", 3, "h", "w"]}, {"y": ["b", 4, "h", "w"]}), str(path))
    assert "Multiply-accumulates per sample: unknown; the model leaves" in build(
        path, "--explain"
    ).stdout  # fmt: skip


def test_products_named_or_matched_stay_in_float_and_are_explained(source: Path) -> None:
    result = build(source, "--explain", "--float-ops", "node_q0", "--float-ops", "node_k*")
    out = result.stdout
    assert "Weighted ops left in float: 4" in out
    rows = [line for line in out.splitlines() if line.endswith("left in float as asked")]
    assert [row.split()[0] for row in rows] == ["node_q0", "node_k0"]
    assert "input of MatMul node_q0" not in out
    kept = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16 - 2 * 5 * 8 * 8
    content = json.loads(build(source, "--explain", "--json", "--float-ops", "node_[qk]0").stdout)
    assert content["macs"]["int8"] == kept


def test_an_engine_is_built_with_what_is_left_in_float(source: Path, tmp_path: Path) -> None:
    scales, out = tmp_path / "scales.json", tmp_path / "engine.onnx"
    write_scales(scales, table_for(source))
    result = build(source, "--scales", scales, "--out", out, "--float-ops", "node_q0")
    assert result.exit_code == 0
    assert "3 weighted ops left in float" in result.stdout
    nodes = {node.name: node for node in onnx.load(str(out)).graph.node}
    assert not any(name.endswith("_dequantized") for name in nodes["node_q0"].input)
    assert all(name.endswith("_dequantized") for name in nodes["node_k0"].input)


def test_a_pattern_that_matches_no_product_is_refused_with_near_names(source: Path) -> None:
    with pytest.raises(CalauditError, match="'node_q1' names no convolution") as caught:
        build_engine(source, float_ops=["node_q1"])
    assert "Did you mean node_q0" in str(caught.value)
    assert build(source, "--explain", "--float-ops", "node_q1").exit_code != 0


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
