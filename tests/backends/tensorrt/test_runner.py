"""Engines in a worker: what the contract of all backends doesn't cover.

On a GPU, where one is: of the TensorRT that ``CALAUDIT_TEST_TENSORRT_PYTHON`` has, or of
TensorRT-RTX here; and everywhere on fakes of TensorRT and pycuda.
"""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from calaudit.backends.base import Order
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.formats.engine import facts_path, open_engine_file
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from tests.backends.available import PYTHON, load, make_backend, played
from tests.graph import models
from tests.graph.running import quantize


@pytest.fixture(params=["gpu", "played"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> TensorrtBackend:
    if request.param == "played":
        made = make_backend("tensorrt", tmp_path, {"python": played()})
    elif PYTHON is not None:
        made = make_backend("tensorrt", tmp_path, {"python": PYTHON})
    else:
        made = make_backend("tensorrt_rtx", tmp_path)
    assert isinstance(made, TensorrtBackend)
    return made


def test_batch_larger_than_the_profiles_is_run_in_pieces(backend: TensorrtBackend) -> None:
    model = Model(models.gemms(), "sketch")
    x = models.feeds(model.proto, n=101)
    engine = backend.load(model)
    wanted = OnnxruntimeBackend().load(model).run(x)["y"]
    np.testing.assert_allclose(engine.run(x)["y"], wanted, rtol=1e-4, atol=1e-4)


def test_page_locked_feeds_give_the_same_bits(backend: TensorrtBackend) -> None:
    model = Model(models.gemms(), "sketch")
    x = models.feeds(model.proto, n=50)
    engine = backend.load(model)
    locked = engine.empty_feeds(50)
    locked["x"][:] = x["x"]
    np.testing.assert_array_equal(engine.run(locked)["y"], engine.run(x)["y"])


def test_small_and_large_batches_in_turn_give_their_own_answers(backend: TensorrtBackend) -> None:
    """A small one's outputs are written to the host's memory, a large one's are copied there."""
    model = Model(models.gemms(), "sketch")
    whole = models.feeds(model.proto, n=410)["x"]
    engine = backend.load(model)
    wanted = OnnxruntimeBackend().load(model).run({"x": whole})["y"]
    kept = []
    for n in (1, 400, 1, 2, 400, 3, 16):
        start = len(kept)
        fed = engine.empty_feeds(n)
        fed["x"][:] = whole[start : start + n]
        kept.append((slice(start, start + n), engine.run(fed)["y"]))
    for rows, found in kept:
        np.testing.assert_allclose(found, wanted[rows], rtol=1e-4, atol=1e-4)


def test_output_whose_size_only_the_run_tells_comes_whole(backend: TensorrtBackend) -> None:
    s = models.Sketch()
    s.op("NonZero", ["x"], "where")
    s.op("Relu", ["x"], "y")
    model = Model(
        s.model({"x": ["b", 4]}, {"where": [2, "n"], "y": ["b", 4]},
                types={"where": TensorProto.INT64}), "sketch",
    )  # fmt: skip
    engine = load(backend, model)
    for n_zero in (0, 3, 20):
        x = np.ones((5, 4), np.float32)
        x.flat[:n_zero] = 0
        found = engine.run({"x": x})
        np.testing.assert_array_equal(found["where"], np.array(np.nonzero(x)))
        np.testing.assert_array_equal(found["y"], x)


def test_fp16_inputs_and_outputs_keep_their_type(backend: TensorrtBackend) -> None:
    s = models.Sketch()
    s.op("Relu", ["x"], "y")
    half = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16}
    proto = s.model({"x": ["b", 4]}, {"y": ["b", 4]}, types=half)
    x = np.linspace(-1, 1, 12).astype(np.float16).reshape(3, 4)
    found = backend.load(Model(proto, "sketch")).run({"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.maximum(x, 0))


def test_kept_engine_is_loaded_again_only_if_it_is_whole(
    backend: TensorrtBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Model(models.gemms(), "sketch")
    feeds = models.feeds(source.proto, n=8)
    _, model = quantize(source, feeds)
    path = tmp_path / "x.engine"

    def stored(scales: str = "s") -> np.ndarray:
        order = Order(model=model, precision="int8", what="x", path=path, scales=scales)
        built = backend.make(order)
        assert built.account is not None
        assert built.account.proof is not None
        assert [node.got for node in built.account.proof.nodes] == ["int8", "int8"]
        assert built.engine is not None
        return built.engine.run(feeds)["y"]

    first = stored()
    built = path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(backend, "build", None)
        np.testing.assert_array_equal(stored(), first)
    assert path.stat().st_mtime_ns == built
    path.write_bytes(path.read_bytes()[:-9])
    np.testing.assert_array_equal(stored(), first)
    stored("other scales")
    assert '"other scales"' in facts_path(path).read_text()


def test_engine_that_cant_be_loaded_is_explained(backend: TensorrtBackend, tmp_path: Path) -> None:
    model = Model(models.gemms(), "sketch")
    path = tmp_path / "x.engine"
    backend.make(Order(model=model, precision="fp32", what="x", path=path))
    plan, facts = open_engine_file(path)
    with pytest.raises(BackendError, match=r"can't load the engine: .*Serialization"):
        backend.ready(plan[:1000], model, facts)
    foreign = facts.__class__(
        library="tensorrt_rtx", version="1.4", gpu="NVIDIA L4", compute_capability="8.0", model="m"
    )
    with pytest.raises(BackendError) as caught:
        backend.ready(plan[:1000], model, foreign)
    assert f"tensorrt_rtx 1.4 built it, this is {backend.session.title}" in str(caught.value)
    assert "built for NVIDIA L4 of compute capability 8.0, this is" in str(caught.value)
    np.testing.assert_array_equal(
        backend.ready(plan, model, facts).run(models.feeds(model.proto))["y"],
        backend.load(model).run(models.feeds(model.proto))["y"],
    )
