"""Half-precision models are calibrated and quantized as the FP32 models they were made from."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.transformers import float16

from calaudit.graph.fp16 import is_half, widen
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from tests.graph import models
from tests.graph.running import quantize, run

SKETCHES = ["residual", "depthwise_se", "attention", "embedding", "gemms", "conv_1d"]


def halved(name: str, *, keep_io: bool) -> Model:
    copy = onnx.ModelProto()
    copy.CopyFrom(models.ALL[name]())
    made = float16.convert_float_to_float16(
        copy, keep_io_types=keep_io, min_positive_val=5.96e-8, max_finite_val=65504
    )
    return Model(made, name)


def with_types_of(model: Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {each.name: feeds[each.name].astype(each.dtype) for each in model.inputs}


@pytest.mark.parametrize("keep_io", [True, False])
@pytest.mark.parametrize("name", SKETCHES)
def test_a_half_precision_model_is_quantized_where_its_original_is(
    name: str, keep_io: bool
) -> None:
    original = Model(models.ALL[name](), name)
    half = halved(name, keep_io=keep_io)
    before = half.fingerprint
    feeds = models.feeds(original.proto, n=16)
    wanted, as_original = quantize(original, feeds)
    plan, engine = quantize(half, with_types_of(half, feeds))
    assert len(plan.taps) == len(wanted.taps)
    assert len(plan.weights) == len(wanted.weights)
    assert (engine.inputs, engine.outputs) == (half.inputs, half.outputs)
    assert half.fingerprint == before
    first, second = run(as_original, feeds), run(engine, with_types_of(half, feeds))
    for key in first:
        assert np.abs(first[key] - second[key]).max() < 0.05 * np.abs(first[key]).max()


@pytest.mark.parametrize("name", SKETCHES)
def test_a_widened_model_is_valid_and_holds_no_half_but_at_its_edges(name: str) -> None:
    half = halved(name, keep_io=False)
    assert is_half(half.proto)
    assert not is_half(models.ALL[name]())
    proto = widen(half.proto)
    onnx.checker.check_model(proto, full_check=True)
    kinds = {tensor.data_type for tensor in proto.graph.initializer}
    assert not kinds & {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    feeds = with_types_of(half, models.feeds(models.ALL[name](), n=16))
    wanted, found = run(half, feeds), run(prepare(half), feeds)
    for key in wanted:
        assert found[key].dtype == wanted[key].dtype
        assert np.abs(wanted[key] - found[key]).max() <= 0.01 * np.abs(wanted[key]).max()
