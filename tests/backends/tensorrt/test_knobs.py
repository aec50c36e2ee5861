"""What the compiler is told: on FAKES of TensorRT and pycuda, which write it into their plans."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.backends.base import Order, Site
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.implicit import NativeRanges, build_implicit
from calaudit.backends.tensorrt.kind import TENSORRT, RtxSettings, TensorrtSettings
from calaudit.backends.tensorrt.knobs import Knobs
from calaudit.backends.tensorrt.profile import plan_profile
from calaudit.calibration.batching import Batching
from calaudit.formats.engine import open_engine_file
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError, SettingsError
from tests.backends.available import make_backend, played
from tests.backends.tensorrt.calibsets import make_calibset, two_inputs
from tests.graph import models

MODEL = Model(models.gemms(), "sketch.onnx")


def made(folder: Path, keys: dict[str, Any] | None = None, **behaviour: Any) -> TensorrtBackend:
    python = played(FAKE_TENSORRT=json.dumps(behaviour))
    backend = make_backend("tensorrt", folder, {"python": python, **(keys or {})})
    assert isinstance(backend, TensorrtBackend)
    return backend


def unusable(folder: Path, keys: dict[str, Any], **behaviour: Any) -> None:
    """Make a backend that can't be made; `doctor` says why, too."""
    # a place of its own: a worker of another test, under another environment, may still be there
    place = played(FAKE_TENSORRT=json.dumps(behaviour), PLACE=folder.name)
    settings = TensorrtSettings(python=place, **keys)
    assert TENSORRT.examine(settings, {}).absent
    TENSORRT.make(settings, Site("tensorrt", folder=folder, batch_size=16, shapes={}))


def told(backend: TensorrtBackend, path: Path) -> dict[str, Any]:
    """What stands in the plan that a backend keeps at a path, of what its builder was told."""
    order = Order(model=MODEL, precision="fp32", what="x", path=path, to_run=False)
    built = backend.make(order)
    if built.engine is not None:
        built.engine.close()
    found: dict[str, Any] = json.loads(open_engine_file(path)[0].partition(b"\n")[0])
    return {**found, "options": dict(built.options)}


def test_knobs_reach_the_builder_and_stand_in_key_and_report(tmp_path: Path) -> None:
    plain = made(tmp_path)
    before = told(plain, tmp_path / "plain.engine")
    assert (before["flags"], before["level"], before["tf32"]) == ([], 3, "0")
    assert "sparsity" not in before["options"]
    assert plain.key.endswith("on a fake GPU (compute capability 8.9)")

    turned = made(tmp_path, {"optimization_level": 5, "sparsity": True, "timing_cache": False})
    after = told(turned, tmp_path / "turned.engine")
    assert (after["flags"], after["level"]) == (["SPARSE_WEIGHTS"], 5)
    assert after["options"]["optimization_level"] == 5
    assert after["options"]["sparsity"] is True
    knobs = "optimization_level = 5, sparsity = true, timing_cache = false"
    assert turned.key == f"{plain.key}, {knobs}"


def test_a_timing_cache_is_used_again_unless_it_is_not_wanted(tmp_path: Path) -> None:
    assert told(made(tmp_path), tmp_path / "a.engine")["timed"] is False
    assert told(made(tmp_path), tmp_path / "b.engine")["timed"] is True
    fresh = made(tmp_path, {"timing_cache": False})
    assert told(fresh, tmp_path / "c.engine")["timed"] is False


def test_a_kept_engine_of_other_knobs_is_built_again(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    told(made(tmp_path), path)
    assert told(made(tmp_path, {"optimization_level": 1}), path)["level"] == 1
    first = path.stat().st_mtime_ns
    told(made(tmp_path, {"optimization_level": 1}), path)
    assert path.stat().st_mtime_ns == first


def test_tf32_is_on_in_a_worker_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    exact, quick = made(tmp_path), made(tmp_path, {"tf32": True})
    assert exact.session is not quick.session
    found = told(quick, tmp_path / "quick.engine")
    assert (found["flags"], found["tf32"], found["options"]["tf32"]) == (["TF32"], None, "on")
    assert told(exact, tmp_path / "exact.engine")["tf32"] == "0"


def test_tf32_that_the_environment_forbids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(BackendError, match=r"NVIDIA_TF32_OVERRIDE=0 .* keeps TF32 off"):
        unusable(tmp_path, {"tf32": True})


def test_a_library_without_levels_refuses_them_before_any_build(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="has no optimization levels") as caught:
        unusable(tmp_path, {"optimization_level": 4}, levels=False)
    assert "8.6" in str(caught.value.problems[0].next_step)


@pytest.mark.parametrize("level", [-1, 6])
@pytest.mark.parametrize("settings", [TensorrtSettings, RtxSettings])
def test_a_level_that_is_none_is_refused(settings: type[Any], level: int) -> None:
    with pytest.raises(SettingsError, match="between 0 and 5"):
        settings(optimization_level=level)


def test_fixed_shapes_are_one_batch_in_the_profile() -> None:
    (fixed,) = plan_profile(MODEL, max_batch=16, fixed_shapes=True).values()
    assert fixed.smallest == fixed.opt == fixed.largest
    assert fixed.largest[0] == 16


@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 40])
def test_an_engine_of_fixed_shapes_answers_batches_of_any_size(tmp_path: Path, n: int) -> None:
    engine = made(tmp_path, {"shapes": "fixed"}).load(MODEL)
    feeds = models.feeds(MODEL.proto, n=n)
    found = engine.run(feeds)["y"]
    wanted = OnnxruntimeBackend().load(MODEL).run(feeds)["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert len(feeds["x"]) == n


def test_an_implicit_build_is_told_as_well(tmp_path: Path) -> None:
    session = made(tmp_path).session
    ranges = NativeRanges(
        calibset=make_calibset(tmp_path / "set.h5", two_inputs(24)),
        algorithm="entropy",
        batching=Batching(8, order="stored"),
    )
    model = Model(models.embedding(), "embedding.onnx")
    knobs = Knobs(optimization_level=2, sparsity=True)
    built = build_implicit(session, model, ranges, plan_profile(model, max_batch=16), knobs=knobs)
    found = json.loads(built.plan.partition(b"\n")[0])
    assert found["level"] == 2
    assert {"INT8", "SPARSE_WEIGHTS"} <= set(found["flags"])
    assert "TF32" not in found["flags"]
