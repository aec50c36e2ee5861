from pathlib import Path

import numpy as np
import onnx
import pytest

from calaudit.calibration.scales import ScaleTable, TapScale
from calaudit.graph import model as graph_model
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import ModelError, Notice, OutputError, RangesError
from calaudit.steps.build import build_engine, write_engine
from tests.graph import models
from tests.graph.running import minmax_scales, run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(models.residual(), str(path))
    return path


def table_for(path: Path, **changes: object) -> ScaleTable:
    prepared = prepare(load_model(path))
    plan = plan_qdq(prepared)
    scales = minmax_scales(prepared, plan, models.feeds(prepared.proto))
    taps = {name: TapScale(scale * 127, scale) for name, scale in scales.items()}
    values: dict[str, object] = {"model_fingerprint": prepared.fingerprint, **changes}
    return ScaleTable(taps, "minmax", "some", **values)  # type: ignore[arg-type]  # test data


def test_without_scales_the_placement_is_explained_and_nothing_written(source: Path) -> None:
    built = build_engine(source)
    assert built.path is None
    assert built.decisions == plan_qdq(prepare(load_model(source))).decisions
    assert [path.name for path in source.parent.iterdir()] == ["model.onnx"]


def test_the_engine_on_disk_is_the_q_dq_graph(source: Path) -> None:
    out = source.parent / "engines" / "int8.onnx"
    built = build_engine(source, table_for(source), out)
    assert built.path == out
    engine = load_model(out, quantized=True)
    assert sum(n.op_type == "QuantizeLinear" for n in engine.proto.graph.node) == 7
    feeds = models.feeds(engine.proto)
    exact, rounded = run(load_model(source), feeds)["y"], run(engine, feeds)["y"]
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_building_twice_writes_the_same_bytes(source: Path) -> None:
    first, second = source.parent / "1.onnx", source.parent / "2.onnx"
    build_engine(source, table_for(source), first)
    build_engine(source, table_for(source), second)
    assert first.read_bytes() == second.read_bytes()


def test_an_oversized_engine_has_its_weights_beside_it(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, whole, out = table_for(source), source.parent / "whole.onnx", source.parent / "big.onnx"
    build_engine(source, table, whole)
    monkeypatch.setattr(graph_model, "PROTOBUF_LIMIT", 1000)
    build_engine(source, table, out)
    assert sorted(path.name for path in source.parent.glob("big*")) == [
        "big.onnx",
        "big.onnx.weights",
    ]
    assert (
        load_model(out, quantized=True).fingerprint == load_model(whole, quantized=True).fingerprint
    )


def test_fallbacks_of_weights_and_taps_come_back_as_notices(source: Path) -> None:
    proto = models.residual()
    for tensor in proto.graph.initializer:
        if tensor.name == "c1.w":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[2] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "c1.w"))
    onnx.save(proto, str(source))
    table = table_for(source, notices=(Notice("dead_tap", "never above 0"),))
    built = build_engine(source, table, source.parent / "int8.onnx")
    assert [notice.code for notice in built.notices] == ["zero_weight_channel", "dead_tap"]


def test_a_table_of_another_model_is_refused(source: Path) -> None:
    out = source.parent / "int8.onnx"
    with pytest.raises(ModelError, match="made for another model"):
        build_engine(source, table_for(source, model_fingerprint="0" * 32), out)
    assert not out.exists()


def test_a_table_that_doesnt_say_which_model_it_is_for_is_taken(source: Path) -> None:
    table = table_for(source, model_fingerprint=None)
    assert build_engine(source, table, source.parent / "int8.onnx").path is not None


def test_missing_taps_leave_nothing_on_disk(source: Path) -> None:
    prepared = prepare(Model(models.residual(), "sketch"))
    out = source.parent / "int8.onnx"
    with pytest.raises(RangesError, match="no scale for x"):
        write_engine(prepared, plan_qdq(prepared), ScaleTable({}, "minmax", "none"), out)
    assert not out.exists()


def test_an_output_that_cant_be_written_is_an_output_error(source: Path) -> None:
    with pytest.raises(OutputError):
        build_engine(source, table_for(source), source / "inside-a-file" / "int8.onnx")
