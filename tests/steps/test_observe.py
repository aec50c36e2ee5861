import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from calaudit.backends.onnxruntime import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.errors import BackendError, ModelError
from calaudit.graph import Model, load_model, plan_qdq, prepare
from calaudit.ranges import observe as histogram_of
from calaudit.steps.calibset_union import CalibsetUnion
from calaudit.steps.observe import TappedEngine, load_tapped, observe
from tests.steps.calibrating import draw, images, write_images, write_model


@pytest.fixture
def union(tmp_path: Path) -> CalibsetUnion:
    pool = write_images(tmp_path / "pool.h5", images(12))
    return CalibsetUnion({"some": draw(pool, tmp_path / "some.h5", "some", 12)})


def test_a_tapped_engine_lets_the_graph_go(tmp_path: Path, union: CalibsetUnion) -> None:
    path = write_model(tmp_path / "m.onnx")

    def load() -> tuple[TappedEngine, weakref.ref[object]]:
        model = prepare(load_model(path))
        engine = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())
        return engine, weakref.ref(model)

    engine, graph = load()
    gc.collect()
    assert graph() is None
    found = observe(engine, union, batch_size=4, pool_fingerprint="p")
    assert found.of("some").one(0, 0) == histogram_of(images(12))
    assert found.model_fingerprint == prepare(load_model(path)).fingerprint


def test_any_tensor_can_be_observed_and_unknown_ones_are_named(
    tmp_path: Path, union: CalibsetUnion
) -> None:
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    engine = load_tapped(model, ("c1", "y"), OnnxruntimeBackend())
    found = observe(engine, union, batch_size=4, pool_fingerprint="p")
    assert found.histograms.taps == ("c1", "y")
    assert found.of("some").one(1, 0).n == 12 * 4
    with pytest.raises(ModelError, match="no tensor 'c9'"):
        load_tapped(model, ("c9",), OnnxruntimeBackend())


def test_a_model_that_cannot_be_loaded_is_whole_afterwards(tmp_path: Path) -> None:
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    before = model.proto.SerializeToString(deterministic=True)

    class Refusing(OnnxruntimeBackend):
        def load(self, model: Model) -> OnnxruntimeEngine:
            raise BackendError("refuses the model")

    with pytest.raises(BackendError, match="refuses"):
        load_tapped(model, ("c1",), Refusing())
    assert model.proto.SerializeToString(deterministic=True) == before


def test_batches_are_made_smaller_where_activations_are_large(
    tmp_path: Path, union: CalibsetUnion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calaudit.steps import observe as module

    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    tapped = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())
    sizes: list[int] = []

    class Counting:
        def run(self, feeds):
            sizes.append(len(feeds["x"]))
            return tapped.engine.run(feeds)

    counted = TappedEngine(Counting(), tapped.taps, "m", "f")
    observe(counted, union, batch_size=64, pool_fingerprint="p")
    assert sizes == [1, 11]
    sizes.clear()
    one = sum(values[:1].nbytes for values in tapped.engine.run({"x": images(1)}).values())
    monkeypatch.setattr(module, "TAP_BYTES", 4 * one)
    found = observe(counted, union, batch_size=64, pool_fingerprint="p")
    assert max(sizes) in {4, 5}
    assert np.sum(sizes) == 12
    assert found.size("some") == 12
