"""What onnxruntime's engines tell of themselves: times, memory, layers."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.timed import Block, Timed
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import BackendError
from tests.graph import models
from tests.graph.real_models import real_model
from tests.graph.running import quantize

STEPS = {"QuantizeLinear", "DequantizeLinear"}


@pytest.mark.parametrize("streams", [1, 3])
def test_a_block_makes_its_least_runs_and_times_each(streams: int) -> None:
    model = Model(models.gemms(), "sketch")
    engine = OnnxruntimeBackend().load(model)
    assert isinstance(engine, Timed)
    times = engine.measure(models.feeds(model.proto), Block(seconds=0, least=6, streams=streams))
    assert len(times.host_ms) == 6
    assert (times.host_ms > 0).all()
    assert times.host_ms.sum() / 1e3 <= times.seconds * streams + 1e-6
    assert (times.device_ms, times.readings) == (None, ())


def test_what_fails_in_a_stream_is_raised() -> None:
    engine = OnnxruntimeBackend().load(Model(models.gemms(), "sketch"))
    with pytest.raises(BackendError, match="wasn't fed"):
        engine.measure({}, Block(seconds=0, least=2, streams=2))


def widening(size: int) -> Model:
    """x (b, 16) is made (b, size) and summed: memory is the middle's, weights are 16 × size."""
    weight = numpy_helper.from_array(np.ones((16, size), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["wide"], "widen"),
            helper.make_node("Exp", ["wide"], ["more"], "exp"),
            helper.make_node("ReduceMax", ["more"], ["y"], "most", axes=[1]),
        ],
        "widening",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 1])],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Model(proto, "widening")


def test_memory_is_that_of_a_process_that_runs_the_largest_batch() -> None:
    """The middle is 200 × 65,536 floats; onnxruntime's allocator takes room in powers of two."""
    model, rows = widening(65_536), 200
    engine = OnnxruntimeBackend(threads=1).load(model)
    for n in (rows, 1):
        engine.measure({"x": np.zeros((n, 16), np.float32)}, Block(seconds=0, least=1))
    found = engine.memory()
    middle = rows * 65_536 * 4
    assert found.weights_bytes == 16 * 65_536 * 4
    assert found.batch == rows
    assert found.peak_bytes is not None
    assert middle < found.peak_bytes < 8 * middle
    assert "resident memory" in found.how


def test_an_audits_session_takes_its_memory_once() -> None:
    """As served, onnxruntime plans a block for later runs, beside what the first one took."""
    peaks: list[int] = []
    for spinning in (False, True):
        engine = OnnxruntimeBackend(threads=1, spinning=spinning).load(widening(65_536))
        engine.measure({"x": np.zeros((200, 16), np.float32)}, Block(seconds=0, least=1))
        peak = engine.memory().peak_bytes
        assert peak is not None
        peaks.append(peak)
    assert peaks[0] < 0.8 * peaks[1]


def test_memory_without_a_run_is_that_of_the_weights() -> None:
    found = OnnxruntimeBackend().load(widening(64)).memory()
    assert (found.weights_bytes, found.peak_bytes, found.batch) == (16 * 64 * 4, None, None)


@pytest.mark.parametrize("kernels", ["fused", "emulated"])
@pytest.mark.parametrize("name", ["conv_bn_relu", "residual", "depthwise_se", "attention"])
def test_every_node_of_the_model_is_in_one_layer(name: str, kernels: str) -> None:
    source = prepare(Model(getattr(models, name)(), "sketch"))
    feeds = models.feeds(source.proto, n=16)
    _, quantized = quantize(source, feeds)
    backend = OnnxruntimeBackend(kernels=kernels)  # type: ignore[arg-type]
    for model in (source, quantized):
        layers = backend.load(model).layers(feeds, 3)
        told = [node for layer in layers for node in layer.nodes]
        own = [name_of(each) for each in model.proto.graph.node if each.op_type not in STEPS]
        assert sorted(told) == sorted(own)
        assert sum(each.share for each in layers) == pytest.approx(1)
        assert all(each.ms >= 0 for each in layers)
    # of Q/DQ as TensorRT places it, onnxruntime has integer kernels for products of activations
    kinds = {each.kind for each in layers if each.precision == "int8"}
    integer = {"QLinearMatMul", "MatMulIntegerToFloat"}
    assert kinds == (integer if (name, kernels) == ("attention", "fused") else set())


def test_a_layer_that_takes_longest_is_the_one_that_computes_most() -> None:
    layers = (
        OnnxruntimeBackend(threads=1)
        .load(widening(65_536))
        .layers({"x": np.ones((100, 16), np.float32)}, 5)
    )
    assert [each.nodes for each in layers] == [("widen",), ("exp",), ("most",)]
    assert {each.precision for each in layers} == {"fp32"}


@pytest.mark.data
def test_layers_of_a_real_detector_cover_its_nodes() -> None:
    model = load_model(real_model("detection"))
    feeds = {"images": np.zeros((2, 3, 240, 320), np.float32)}
    layers = OnnxruntimeBackend(kernels="fused").load(model).layers(feeds, 2)
    told = [node for layer in layers for node in layer.nodes]
    assert len(told) == len(set(told))
    products = [each for each in model.proto.graph.node if each.op_type in {"Conv", "Gemm"}]
    assert {name_of(each) for each in products} <= set(told)


@pytest.mark.parametrize("level", ["all", "none"])
def test_a_level_that_isnt_the_default_is_in_the_key(level: str) -> None:
    keys = {OnnxruntimeBackend().key, OnnxruntimeBackend(graph_optimization=level).key}  # type: ignore[arg-type]
    assert len(keys) == (1 if level == "all" else 2)
