"""Run by test_calibrators.py in a process of its own, where NVIDIA's bindings can be imported.

Every calibrator here is a subclass of NVIDIA's base class and is called through its virtual table.
The builder that calls is a fake; what it does with the calibrator is what TensorRT documents.
"""

import importlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.backends.health import examine
from calaudit.backends.tensorrt.implicit import (
    GivenRanges,
    ImplicitPlan,
    NativeRanges,
    build_implicit,
)
from calaudit.backends.tensorrt.profile import plan_profile
from calaudit.backends.tensorrt.worker.detect import TensorrtModule, find_tensorrt
from calaudit.calibration.batching import Batching
from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.calibset import Calibset
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError, FileFormatError
from tests.backends.tensorrt.calibsets import damage, make_calibset, two_inputs
from tests.backends.tensorrt.fakes.fake_tensorrt import Behaviour
from tests.backends.tensorrt.loopback import Loopback
from tests.backends.tensorrt.virtual_table import CppCalls
from tests.graph import models

N, SIZE = 24, 8
ALGORITHMS = {"entropy": "EntropyCalibration2", "minmax": "MinMaxCalibration"}
HEADER = {flag: f"TRT-101601-{name}\n".encode() for flag, name in ALGORITHMS.items()}


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def calibset(tmp_path: Path) -> Calibset:
    return make_calibset(tmp_path / "set.h5", two_inputs(N))


@pytest.fixture
def model() -> Model:
    return Model(models.embedding(), "embedding.onnx")


Build = Callable[..., ImplicitPlan]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Loopback:
    return Loopback(monkeypatch)


@pytest.fixture
def build(model: Model, calibset: Calibset, algorithm: Any, worker: Loopback) -> Build:
    def run(behaviour: Behaviour, *, ranges: Any = None, **changes: Any) -> ImplicitPlan:
        native: dict[str, Any] = {
            "calibset": calibset,
            "algorithm": algorithm,
            "batching": Batching(SIZE, order="stored"),
        }
        profile = plan_profile(model, max_batch=64)
        return build_implicit(
            worker.session(behaviour),
            model,
            ranges or NativeRanges(**{**native, **changes}),
            profile,
        )

    return run


AMAXES = {"x": 1.5, "looked": 0.7, "both": 3.5, "h": 5.0, "r": 2.0, "y": 9.0}


def scale_table(model: Model, **changes: Any) -> ScaleTable:
    taps = {name: TapScale(amax, scale_of(amax)) for name, amax in AMAXES.items()}
    values: dict[str, Any] = {"method": "percentile", "model_fingerprint": model.fingerprint}
    return ScaleTable(taps, calibset="drawn", **{**values, **changes})


def test_the_bindings_are_nvidias() -> None:
    found = find_tensorrt("tensorrt")
    assert isinstance(found, TensorrtModule)
    assert found.version.startswith("10.16.1.")
    assert found.module.__name__ == "tensorrt_bindings"
    assert found.abilities.implicit
    assert (found.module.__file__ or "").endswith("tensorrt_bindings/__init__.py")


def test_doctor_knows_these_calibrate_and_says_what_else_is_missing() -> None:
    found = examine("tensorrt")
    assert found.library.startswith("TensorRT 10.16.1.")
    assert found.ranges == ("calaudit", "tensorrt")
    assert found.missing or found.device


def test_calls_come_in_order_and_every_sample_arrives_once(
    build: Build, calibset: Calibset, algorithm: str, model: Model
) -> None:
    seen = Behaviour()
    made = build(seen)
    assert seen.calls == [
        "build", f"get_batch_size {SIZE}", "read_cache None", "get_batch", "get_batch", "get_batch",
        "get_batch end", "write_cache",
    ]  # fmt: skip
    assert seen.algorithm == {
        "entropy": "ENTROPY_CALIBRATION_2", "minmax": "MINMAX_CALIBRATION"
    }[algorithm]  # fmt: skip
    wanted = calibset.read_inputs(0, N)
    for name, values in wanted.items():
        found = np.concatenate([batch[name] for batch in seen.batches])
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
    assert made.plan.endswith(model.serialize())
    assert (made.ranges_from, made.n_batches) == ("data", 3)
    assert made.ranges.to_bytes() == seen.written
    amax = np.float32(np.abs(wanted["x"]).max())
    assert made.ranges.scales == {"x": pytest.approx(amax / 127)}


def test_addresses_follow_the_names_and_not_the_inputs(build: Build, calibset: Calibset) -> None:
    seen = Behaviour(names=["x", "item"])
    build(seen)
    first = calibset.read_inputs(0, SIZE)
    np.testing.assert_array_equal(seen.batches[0]["x"], first["x"])
    np.testing.assert_array_equal(seen.batches[0]["item"], first["item"])


def test_the_next_batch_is_copied_while_tensorrt_works_on_this_one(
    build: Build, worker: Loopback
) -> None:
    def work(number: int, batch: dict[str, Any]) -> None:
        before = {name: values.copy() for name, values in batch.items()}
        (buffers,) = worker.made
        buffers.wait_for_sends(min(number + 2, N // SIZE))
        for name, values in batch.items():
            np.testing.assert_array_equal(values, before[name])

    build(Behaviour(work=work))
    (buffers,) = worker.made
    assert buffers.sent == buffers.waited == [0, 1, 0]
    assert buffers.senders.isdisjoint({threading.get_ident()})
    assert not buffers.open


def test_the_end_stays_the_end(build: Build) -> None:
    assert build(Behaviour(after_the_end=3)).n_batches == 3


def test_an_exception_in_the_reader_ends_the_build(
    build: Build, calibset: Calibset, tmp_path: Path
) -> None:
    damage(calibset, "x", SIZE + 3)
    with pytest.raises(FileFormatError, match=f"sample-{SIZE + 3}"):
        build(Behaviour(), cache=tmp_path / "set.cache")
    assert not (tmp_path / "set.cache").exists()


def test_names_that_the_network_hasnt_are_an_error(build: Build) -> None:
    with pytest.raises(BackendError, match="TensorRT asked for x, items"):
        build(Behaviour(names=["x", "items"], stop_after=1))


def test_stopping_early_refuses_the_engine(build: Build, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="calibrated on 2 of 3 batches"):
        build(Behaviour(stop_after=2), cache=tmp_path / "set.cache")
    assert not (tmp_path / "set.cache").exists()


def test_never_calibrating_refuses_the_engine(build: Build) -> None:
    with pytest.raises(BackendError, match="never asked for calibration"):
        build(Behaviour(calibrates=False))


def test_a_failed_build_is_an_error(build: Build) -> None:
    with pytest.raises(BackendError, match="can't build an engine"):
        build(Behaviour(builds=False))


def test_a_short_last_batch_is_filled_with_samples_of_the_set(
    build: Build, calibset: Calibset
) -> None:
    seen = Behaviour()
    made = build(seen, batching=Batching(10, order="stored"))
    assert [batch["x"][:, 0].tolist() for batch in seen.batches[2:]] == [
        [20, 21, 22, 23, 0, 1, 2, 3, 4, 5]
    ]
    (notice,) = [each for each in made.notices if each.code == "calibration_filled"]
    assert "6 samples once more" in notice.message
    assert notice.where == str(calibset.path)


def test_a_short_last_batch_is_dropped_when_asked(build: Build) -> None:
    seen = Behaviour()
    made = build(seen, batching=Batching(10, last="drop", order="stored"))
    assert [len(batch["x"]) for batch in seen.batches] == [10, 10]
    assert seen.batches[-1]["x"][-1, 0] == 19
    (notice,) = [each for each in made.notices if each.code == "calibration_dropped"]
    assert "4 of 24 samples" in notice.message


def test_mixed_batches_reach_over_the_whole_set(build: Build) -> None:
    seen = Behaviour()
    build(seen, batching=Batching(SIZE))
    positions = [sorted(batch["x"][:, 0].tolist()) for batch in seen.batches]
    assert positions[0] == [0, 3, 6, 9, 12, 15, 18, 21]
    assert sorted(at for each in positions for at in each) == list(range(N))


def test_a_cache_miss_calibrates_and_a_hit_asks_for_nothing(
    build: Build, algorithm: str, tmp_path: Path
) -> None:
    cache = tmp_path / "caches" / "set.cache"
    cache.parent.mkdir()
    first = Behaviour()
    assert build(first, cache=cache).ranges_from == "data"
    assert cache.read_bytes() == first.written
    assert cache.read_bytes().startswith(HEADER[algorithm])
    second = Behaviour()
    made = build(second, cache=cache)
    assert second.calls == [
        "build",
        f"get_batch_size {SIZE}",
        f"read_cache {len(first.written or b'')}",
    ]
    assert (made.ranges_from, made.n_batches) == ("cache", 0)
    assert made.ranges.to_bytes() == first.written


def test_a_stored_cache_of_something_else_isnt_offered(
    build: Build, algorithm: str, tmp_path: Path
) -> None:
    other = next(flag for flag in ALGORITHMS if flag != algorithm)
    for content in (HEADER[other] + b"x: 3c010204\n", b"\0not a cache", HEADER[algorithm] + b"x\n"):
        cache = tmp_path / "set.cache"
        cache.write_bytes(content)
        seen = Behaviour()
        made = build(seen, cache=cache)
        assert "read_cache None" in seen.calls
        assert made.ranges_from == "data"
        assert [each.code for each in made.notices].count("calibration_cache_unfit") == 1
        assert cache.read_bytes() == seen.written


def test_a_cache_that_tensorrt_refuses_is_calibrated_again(build: Build, tmp_path: Path) -> None:
    cache = tmp_path / "set.cache"
    build(Behaviour(), cache=cache)
    seen = Behaviour(takes_caches=False)
    made = build(seen, cache=cache)
    assert (made.ranges_from, len(seen.batches)) == ("data", 3)
    assert "calibration_cache_refused" in [each.code for each in made.notices]


def test_a_scale_table_goes_in_as_a_cache_without_any_data(build: Build, model: Model) -> None:
    seen = Behaviour()
    table = scale_table(model)
    made = build(seen, ranges=GivenRanges(table))
    assert seen.calls[1] == "get_batch_size 1"
    assert not seen.batches
    assert made.ranges_from == "cache"
    assert made.ranges.to_bytes().startswith(HEADER["entropy"])
    assert made.ranges.scales == table.scales


def test_a_minmax_table_goes_in_under_the_minmax_calibrator(build: Build, model: Model) -> None:
    seen = Behaviour()
    build(seen, ranges=GivenRanges(scale_table(model, method="minmax")))
    assert seen.algorithm == "MINMAX_CALIBRATION"


def test_named_nodes_are_held_to_float_by_a_flag_that_binds(worker: Loopback) -> None:
    gemms = Model(models.gemms(), "gemms.onnx")
    names = ["x", *(name for node in gemms.proto.graph.node for name in node.output)]
    table = ScaleTable({n: TapScale(1.0, scale_of(1.0)) for n in names}, "minmax", "drawn")
    for left, flags in (((), []), (("node_y",), ["OBEY_PRECISION_CONSTRAINTS"])):
        seen = Behaviour()
        build_implicit(
            worker.session(seen),
            gemms,
            GivenRanges(table),
            plan_profile(gemms, max_batch=8),
            float_ops=left,
        )
        assert seen.held == list(left)
        assert [flag for flag in seen.flags if "PRECISION" in flag] == flags


def test_a_refused_scale_table_refuses_the_engine(build: Build, model: Model) -> None:
    with pytest.raises(BackendError, match="rejected the calibration cache"):
        build(Behaviour(takes_caches=False), ranges=GivenRanges(scale_table(model)))


def test_a_network_that_asks_for_more_than_a_table_has_isnt_built(
    build: Build, model: Model
) -> None:
    whole = scale_table(model)
    partly = replace(whole, taps={name: whole.taps[name] for name in ("x", "looked", "both", "r")})
    seen = Behaviour()
    with pytest.raises(BackendError, match=r"no range for 2 tensors that TensorRT asks for.*h, y"):
        build(seen, ranges=GivenRanges(partly))
    assert "build" not in seen.calls


def test_a_scale_table_of_another_model_isnt_built(build: Build, model: Model) -> None:
    table = scale_table(model, model_fingerprint="0" * 32)
    with pytest.raises(BackendError, match="made for another model"):
        build(Behaviour(), ranges=GivenRanges(table))


def test_half_inputs_are_fed_as_float32(build: Build) -> None:
    seen = Behaviour(half_inputs=True)
    build(seen)
    assert seen.batches[0]["x"].dtype == np.float32


def test_the_calibration_profile_is_the_batch(build: Build) -> None:
    seen = Behaviour()
    build(seen)
    assert seen.calibrated_shapes == {"item": (SIZE,), "x": (SIZE, 4)}


def test_a_set_smaller_than_a_batch_makes_the_batch_smaller(build: Build) -> None:
    seen = Behaviour()
    made = build(seen, batching=Batching(512))
    assert seen.calls[1] == f"get_batch_size {N}"
    assert not [each for each in made.notices if each.code.startswith("calibration")]


def test_a_model_fixed_to_one_sample_is_calibrated_one_by_one(
    tmp_path: Path, worker: Loopback
) -> None:
    model = Model(models.conv_bn_relu(batch=1), "fixed.onnx")
    x = models.feeds(models.conv_bn_relu(), n=5)["x"]
    seen = Behaviour()
    ranges = NativeRanges(
        calibset=make_calibset(tmp_path / "set.h5", {"x": x}),
        algorithm="minmax",
        batching=Batching(32, order="stored"),
    )
    build_implicit(worker.session(seen), model, ranges, {})
    np.testing.assert_array_equal(np.concatenate([batch["x"] for batch in seen.batches]), x)


def test_integers_that_dont_fit_are_named(
    model: Model, tmp_path: Path, worker: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = two_inputs(N)
    inputs["item"][13] = 2**40
    narrow = models.embedding()
    narrow.graph.input[0].type.tensor_type.elem_type = 6
    ranges = NativeRanges(
        calibset=make_calibset(tmp_path / "wide.h5", inputs),
        algorithm="entropy",
        batching=Batching(SIZE),
    )
    model = Model(narrow, "narrow.onnx")
    with pytest.raises(BackendError, match=r"int32 can't hold item of 1 sample.*sample-13"):
        build_implicit(worker.session(Behaviour()), model, ranges, plan_profile(model, max_batch=8))


def test_a_graph_with_qdq_isnt_calibrated(calibset: Calibset, worker: Loopback) -> None:
    from tests.graph.running import quantize

    source = Model(models.gemms(), "gemms.onnx")
    _, quantized = quantize(source, models.feeds(source.proto, n=8))
    ranges = NativeRanges(calibset=calibset, algorithm="entropy", batching=Batching(SIZE))
    with pytest.raises(BackendError, match="holds Q/DQ"):
        build_implicit(worker.session(Behaviour()), quantized, ranges, {})


def test_an_input_that_the_set_lacks_is_named(
    model: Model, tmp_path: Path, worker: Loopback
) -> None:
    calibset = make_calibset(tmp_path / "one.h5", {"x": two_inputs(N)["x"]})
    ranges = NativeRanges(calibset=calibset, algorithm="entropy", batching=Batching(SIZE))
    with pytest.raises(BackendError, match="input item isn't in the calibration set"):
        build_implicit(worker.session(Behaviour()), model, ranges, plan_profile(model, max_batch=8))


def test_a_library_without_calibrators_says_so(model: Model, worker: Loopback) -> None:
    without = worker.session(Behaviour(), implicit=False)
    with pytest.raises(BackendError, match="has no calibrators") as caught:
        build_implicit(without, model, GivenRanges(scale_table(model)), {})
    assert caught.value.problems[0].where == "embedding.onnx"


def test_both_base_classes_take_the_same_calls() -> None:
    trt = importlib.import_module("tensorrt_bindings")

    def four(base: Any) -> Any:
        class Calibrator(base):  # type: ignore[misc]  # known at run time only
            def __init__(self) -> None:
                base.__init__(self)

            def get_batch_size(self) -> int:
                return 7

            def get_batch(self, names: list[str]) -> list[int]:
                raise ValueError("taken as the end")

            def read_calibration_cache(self) -> bytes:
                return b""

            def write_calibration_cache(self, cache: memoryview) -> None:
                pass

        return Calibrator()

    for base in (trt.IInt8EntropyCalibrator2, trt.IInt8MinMaxCalibrator):
        calls = CppCalls(four(base))
        assert calls.get_batch_size() == 7
        assert calls.get_batch(["x"]) is None
        assert calls.read_cache() == b"", "empty bytes count as a cache: calaudit gives None"
