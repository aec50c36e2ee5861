"""What every backend must do: one body of tests, one fixture per backend."""

from collections.abc import Callable

import numpy as np
import pytest

from calaudit.backends.base import Backend, Engine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.cuda import find_cuda
from calaudit.backends.tensorrt.detect import Library, Missing, find_tensorrt
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from tests.graph import models
from tests.graph.running import quantize


def tensorrt(library: Library) -> Backend:
    """A TensorRT that is here with a GPU; skips the test elsewhere."""
    found, cuda = find_tensorrt(library), find_cuda()
    for each in (found, cuda):
        if isinstance(each, Missing):
            pytest.skip(str(each))
    return TensorrtBackend(library, max_batch=16)


def load(backend: Backend, model: Model) -> Engine:
    """An engine of `model`; skips where TensorRT's release can't build it."""
    try:
        return backend.load(model)
    except BackendError as error:
        if backend.name.startswith("tensorrt") and "can't build" in str(error):
            pytest.skip(str(error))
        raise


BACKENDS: dict[str, Callable[[], Backend]] = {
    "onnxruntime-emulated": lambda: OnnxruntimeBackend(threads=1),
    "onnxruntime-fused": lambda: OnnxruntimeBackend(threads=1, kernels="fused"),
    "tensorrt": lambda: tensorrt("tensorrt"),
    "tensorrt_rtx": lambda: tensorrt("tensorrt_rtx"),
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.param()
    return made


def test_outputs_come_in_the_models_order_and_are_batched(backend: Backend) -> None:
    model = Model(models.tapped_conv_bn(), "sketch")
    engine = backend.load(model)
    assert engine.outputs == ("y", "raw")
    assert engine.inputs == model.inputs
    outputs = engine.run(models.feeds(model.proto, n=7))
    assert list(outputs) == ["y", "raw"]
    assert {len(values) for values in outputs.values()} == {7}


@pytest.mark.parametrize("n", [1, 2, 33])
def test_a_samples_output_doesnt_depend_on_its_batch(backend: Backend, n: int) -> None:
    source = Model(models.depthwise_se(), "sketch")
    _, model = quantize(source, models.feeds(source.proto, n=8))
    engine = load(backend, model)
    feeds = models.feeds(model.proto, n=33)
    whole = engine.run(feeds)["y"]
    pieces = [engine.run({"x": feeds["x"][at : at + n]})["y"] for at in range(0, 33, n)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-5, atol=1e-5)


def test_a_model_fixed_to_one_sample_takes_any_batch(backend: Backend) -> None:
    fixed = Model(models.conv_bn_relu(batch=1), "sketch")
    free = Model(models.conv_bn_relu(), "sketch")
    feeds = models.feeds(free.proto, n=6)
    found = backend.load(fixed).run(feeds)["y"]
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found, backend.load(free).run(feeds)["y"], rtol=1e-5, atol=1e-5)


def test_integer_inputs_keep_their_type(backend: Backend) -> None:
    source = Model(models.embedding(), "sketch")
    feeds = models.feeds(source.proto, n=9)
    _, model = quantize(source, feeds)
    assert backend.load(model).run(feeds)["y"].shape == (9, 10)


def test_feeds_may_be_strided_and_hold_more_than_the_inputs(backend: Backend) -> None:
    model = Model(models.gemms(), "sketch")
    x = models.feeds(model.proto, n=8)["x"]
    engine = backend.load(model)
    wanted = engine.run({"x": x[::2].copy()})["y"]
    np.testing.assert_array_equal(engine.run({"x": x[::2], "other": x})["y"], wanted)


def test_outputs_belong_to_the_caller(backend: Backend) -> None:
    model = Model(models.gemms(), "sketch")
    engine = backend.load(model)
    feeds = models.feeds(model.proto)
    first = engine.run(feeds)["y"]
    kept = first.copy()
    engine.run(models.feeds(model.proto, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_running_twice_gives_the_same_bits(backend: Backend) -> None:
    model = Model(models.residual(), "sketch")
    feeds = models.feeds(model.proto, n=16)
    np.testing.assert_array_equal(
        backend.load(model).run(feeds)["y"], backend.load(model).run(feeds)["y"]
    )


def test_an_input_that_isnt_fed_is_named(backend: Backend) -> None:
    engine = backend.load(Model(models.embedding(), "sketch"))
    with pytest.raises(BackendError, match="input item wasn't fed") as caught:
        engine.run({"items": np.zeros(2, np.int64), "x": np.zeros((2, 4), np.float32)})
    assert caught.value.problems[0].next_step == "Did you mean items?"


@pytest.mark.parametrize(
    "x", [np.zeros((2, 5), np.float32), np.zeros((2, 12), np.float64)], ids=["shape", "type"]
)
def test_feeds_that_dont_fit_are_backend_errors(backend: Backend, x: np.ndarray) -> None:
    engine = backend.load(Model(models.gemms(), "sketch"))
    with pytest.raises(BackendError, match="failed"):
        engine.run({"x": x})


def test_a_model_that_cant_be_loaded_is_a_backend_error(backend: Backend) -> None:
    s = models.Sketch()
    s.op("NoSuchOp", ["x"], "y", domain="elsewhere")
    with pytest.raises(BackendError, match="NoSuchOp") as caught:
        backend.load(Model(s.model({"x": ["b"]}, {"y": ["b"]}), "sketch.onnx"))
    assert caught.value.problems[0].where == "sketch.onnx"


def test_the_record_says_what_ran(backend: Backend) -> None:
    record = backend.load(Model(models.gemms(), "sketch")).record
    library = record["library"].casefold().replace("-", "_")
    assert library.startswith(backend.name)
    assert all(isinstance(value, str) for value in record.values())
    assert "fp32" in backend.capabilities.precisions
