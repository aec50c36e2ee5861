"""Ranges of quantized files, read onto the taps of the FP32 model."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType

from calaudit.graph.file_ranges import ranges_in_file
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.quantized import contents_of, load_quantized
from tests.audit import quantized_elsewhere as elsewhere
from tests.audit.world import make_world
from tests.graph import models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("ranges")).parent


def world_model(folder: Path) -> Model:
    return prepare(load_model(folder / "model.onnx"))


def test_ranges_that_were_put_into_a_graph_are_read_from_it() -> None:
    folded = prepare(Model(models.residual(), "sketch"))
    plan = plan_qdq(folded)
    scales = {tap: 0.01 * (n + 1) for n, tap in enumerate(plan.taps)}
    made = apply_qdq(folded, plan, scales)
    found = ranges_in_file(plan, folded, made)
    assert found.keys() == scales.keys()
    for tap, one in found.items():
        assert one.amax == pytest.approx(127 * np.float32(scales[tap]))
        assert (one.uneven, one.per_channel) == (False, False)
        assert one.finer == pytest.approx(1)
    asked = {each.name for each in contents_of(made).products if each.asked == "int8"}
    assert asked == set(plan.int8_ops)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation_type": QuantType.QUInt8},
        {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QUInt8},
    ],
    ids=["int8", "uint8", "qoperator"],
)
def test_a_min_max_quantizers_ranges_are_those_of_its_samples(
    folder: Path, options: dict[str, Any]
) -> None:
    x = elsewhere.inputs(folder, "split = 'calibration'", 40)
    model = world_model(folder)
    path = elsewhere.make_static(folder, "theirs.onnx", **options)
    (found,) = ranges_in_file(plan_qdq(model), model, load_quantized(path)).values()
    low, high = float(x.min()), float(x.max())
    assert found.amax == pytest.approx(max(-low, high), rel=0.02)
    assert found.step == pytest.approx((high - low) / 255, rel=1e-3)
    assert found.finer <= 1.01


def test_dynamic_quantization_has_no_ranges(folder: Path) -> None:
    engine = load_quantized(elsewhere.make_dynamic(folder, "dynamic.onnx"))
    model = world_model(folder)
    assert ranges_in_file(plan_qdq(model), model, engine) == {}
    contents = contents_of(engine)
    assert (contents.int8, contents.dynamic, contents.fixed) == (True, True, False)


def with_constant(engine: Model, ending: str, values: NDArray[Any]) -> Model:
    """The engine with other values in the constant whose name ends so."""
    proto = onnx.ModelProto()
    proto.CopyFrom(engine.proto)
    (held,) = [each for each in proto.graph.initializer if each.name.endswith(ending)]
    held.CopyFrom(numpy_helper.from_array(values, held.name))
    return Model(proto, "changed")


def test_channels_with_ranges_of_their_own_are_covered_by_the_widest() -> None:
    folded = prepare(Model(models.residual(), "sketch"))
    plan = plan_qdq(folded)
    tap = plan.taps[0]
    made = apply_qdq(folded, plan, dict.fromkeys(plan.taps, 0.5))
    changed = with_constant(made, f"{tap}_scale", np.array([0.1, 0.2, 0.3], np.float32))
    changed = with_constant(changed, f"{tap}_zero_point", np.zeros(3, np.int8))
    one = ranges_in_file(plan, folded, changed)[tap]
    assert one.per_channel
    assert one.amax == pytest.approx(127 * 0.3)
    assert one.step == pytest.approx(np.sqrt((0.01 + 0.04 + 0.09) / 3))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_scales_that_are_none_are_no_ranges(scale: float) -> None:
    folded = prepare(Model(models.residual(), "sketch"))
    plan = plan_qdq(folded)
    tap = plan.taps[0]
    made = apply_qdq(folded, plan, dict.fromkeys(plan.taps, 0.5))
    changed = with_constant(made, f"{tap}_scale", np.array(scale, np.float32))
    assert tap not in ranges_in_file(plan, folded, changed)
