import dataclasses
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.calibration.accumulate import observe as histogram_of
from calaudit.calibration.observation import Observation
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import open_ranges, write_ranges
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import BackendError, ModelError, RangesError
from calaudit.steps.calibrate import observation_notices
from calaudit.steps.observe import observe
from calaudit.steps.passes import run_through
from calaudit.steps.tapped import SampleRunner, TappedEngine, load_tapped
from calaudit.steps.union import CalibsetUnion, Read
from tests.graph.models import Sketch
from tests.steps import layouts
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
        def load_shared(self, model: Model) -> tuple[OnnxruntimeEngine, int]:
            raise BackendError("refuses the model")

    with pytest.raises(BackendError, match="refuses"):
        load_tapped(model, ("c1",), Refusing())
    assert model.proto.SerializeToString(deterministic=True) == before


def test_batches_are_made_smaller_where_activations_are_large(
    tmp_path: Path, union: CalibsetUnion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calaudit.steps import passes as module

    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    tapped = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())
    sizes: list[int] = []

    class Counting:
        def run(self, feeds):
            sizes.append(len(feeds["x"]))
            return tapped.engine.run(feeds)

    counted = TappedEngine(Counting(), tapped.taps, "m", "f")
    observe(counted, union, batch_size=64, pool_fingerprint="p")
    assert sizes == [1, 2, 11]  # alone, then with another to see where samples lie, then the rest
    sizes.clear()
    one = sum(values[:1].nbytes for values in tapped.engine.run({"x": images(1)}).values())
    monkeypatch.setattr(module, "TAP_BYTES", 4 * one)
    found = observe(counted, union, batch_size=64, pool_fingerprint="p")
    assert max(sizes) in {4, 5}
    assert np.sum(sizes) == 12 + 2
    assert found.size("some") == 12


def test_runs_that_overlap_find_what_runs_in_turn_find(tmp_path: Path) -> None:
    pool = write_images(tmp_path / "pool.h5", images(8))
    union = CalibsetUnion({"some": draw(pool, tmp_path / "some.h5", "some", 8)})
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    loaded = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend(threads=2))
    assert loaded.at_a_time == 2
    both, met = threading.Barrier(2), []

    class Meeting:
        """Twice one sample, a pair, twice three: those alike only run where both are under way."""

        def run(self, feeds):
            if len(feeds["x"]) != 2:
                met.append(both.wait(timeout=60))
            return loaded.engine.run(feeds)

    found, wanted = (
        observe(engine, union, batch_size=3, pool_fingerprint="p")
        for engine in (
            dataclasses.replace(loaded, engine=Meeting()),
            dataclasses.replace(loaded, at_a_time=1),
        )
    )
    assert sorted(met) == [0, 0, 1, 1]
    assert found.histograms == wanted.histograms
    assert found.samples is not None
    assert wanted.samples is not None
    np.testing.assert_array_equal(found.samples.maxima, wanted.samples.maxima)


def test_of_runs_that_overlap_the_first_bad_one_is_named(tmp_path: Path) -> None:
    x = images(9)
    x[[4, 7]] = np.finfo(np.float32).max  # the convolution overflows
    pool = write_images(tmp_path / "pool.h5", x)
    union = CalibsetUnion({"some": draw(pool, tmp_path / "some.h5", "some", 9)})
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    loaded = load_tapped(model, ("x", "c1"), OnnxruntimeBackend(threads=2))
    for _ in range(3):
        with pytest.raises(RangesError, match="in 1 sample: s004") as caught:
            observe(loaded, union, batch_size=3, pool_fingerprint="p")
        assert caught.value.problems[0].where.endswith("calibration set some")
    found = observe(loaded, union, batch_size=3, pool_fingerprint="p", skip_bad=True)
    assert [(each.id, each.tap) for each in found.left_out] == [("s004", "c1"), ("s007", "c1")]


def test_a_request_to_end_leaves_the_run_that_waits_unbegun(
    tmp_path: Path, union: CalibsetUnion
) -> None:
    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    loaded = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend(threads=2))
    begun, both, go_on = [], threading.Event(), threading.Event()

    class Halting:
        """The third and the fourth run go on when the request has come."""

        def run(self, feeds):
            if threading.current_thread() is not threading.main_thread():
                begun.append(len(feeds["x"]))
                if len(begun) == 4:
                    both.set()
                if len(begun) > 2:
                    go_on.wait(timeout=60)
            return loaded.engine.run(feeds)

    class Ended:
        """Five samples, one by one, and then Ctrl-C."""

        def __len__(self):
            return len(union)

        def read(self):
            (whole,) = union.read()
            for at in range(5):
                one = slice(at, at + 1)
                yield Read(whole.source, whole.places[one], {"x": whole.inputs["x"][one]})
            assert both.wait(timeout=60)
            threading.Timer(0.1, go_on.set).start()
            raise KeyboardInterrupt

    engine = dataclasses.replace(loaded, engine=Halting())
    with pytest.raises(KeyboardInterrupt):
        run_through(Ended(), SampleRunner(engine), lambda *_: None, batch_size=1, what="ranges")
    assert begun == [1] * 4


def test_of_samples_too_large_for_a_batch_nothing_is_kept_but_batches_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calaudit.steps import tapped as module

    model = prepare(load_model(write_model(tmp_path / "m.onnx")))
    loaded = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())
    (one,) = SampleRunner(loaded).run({"x": images(1)})
    held = []
    for most in (2 * one.n_bytes, 2 * one.n_bytes - 1):
        monkeypatch.setattr(module, "TAP_BYTES", most)
        runner = SampleRunner(loaded)
        list(runner.run({"x": images(1)}))
        held.append(runner._alone is not None)
        (three,) = runner.run({"x": images(3)})
        np.testing.assert_allclose(three.rows(0)[0], one.rows(0)[0], rtol=1e-5)
    assert held == [True, False]


def _observed(
    proto: onnx.ModelProto, x: NDArray[np.float32], folder: Path, batch_size: int
) -> tuple[Observation, list[int]]:
    """Ranges of two overlapping sets over `x`, and the sizes of the batches that were run."""
    onnx.save(proto, str(folder / "m.onnx"))
    pool = folder / "pool.h5"
    write_pool(
        pool,
        inputs={"x": x},
        targets={},
        meta={"number": np.arange(len(x))},
        ids=[f"s{number:03d}" for number in range(len(x))],
    )
    sets = {
        "most": draw(pool, folder / "most.h5", "most", len(x) - 3, candidates="number >= 3"),
        "few": draw(pool, folder / "few.h5", "few", 5, candidates="number < 5"),
    }
    model = prepare(load_model(folder / "m.onnx"))
    loaded = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend(threads=2))
    sizes: list[int] = []

    class Counting:
        def run(self, feeds):
            sizes.append(len(feeds["x"]))
            return loaded.engine.run(feeds)

    engine = dataclasses.replace(loaded, engine=Counting())
    union = CalibsetUnion(sets)
    return observe(engine, union, batch_size=batch_size, pool_fingerprint="p"), sizes


def _by_hand(proto: onnx.ModelProto, x: NDArray[np.float32]) -> list[dict[str, NDArray[Any]]]:
    """Every tap of each sample alone."""
    model = prepare(Model(proto, "m"))
    engine = OnnxruntimeBackend().load(with_taps(model, plan_qdq(model).taps))
    return [engine.run({"x": one[None]}) for one in x]


def _check(found: Observation, alone: list[dict[str, NDArray[Any]]]) -> None:
    assert found.samples is not None
    for position, tap in enumerate(found.histograms.taps):
        number = [int(name[1:]) for name in found.samples.ids]
        wanted = [np.abs(alone[n][tap]).max(initial=0) for n in number]
        np.testing.assert_allclose(found.samples.maxima[position], wanted, rtol=1e-5, atol=1e-7)
        for group, rows in (("most", range(3, len(alone))), ("few", range(5))):
            values = np.concatenate([alone[n][tap].reshape(-1) for n in rows])
            one, other = found.of(group).one(position, 0), histogram_of(values)
            assert one.n == other.n
            moved = np.abs(np.cumsum(one.counts - other.counts)).max()  # by a bin, for rounding
            assert moved <= max(3, 0.02 * one.n)
            assert one.amax == pytest.approx(other.amax, rel=1e-5)


@pytest.mark.parametrize("name", layouts.BATCHED)
@pytest.mark.parametrize("batch_size", [2, 6, 64])  # 6 is the length of the time axis too
def test_samples_are_told_apart_wherever_the_batch_lies(
    tmp_path: Path, name: str, batch_size: int
) -> None:
    proto = layouts.BATCHED[name]()
    x = layouts.samples(proto, 23)
    found, sizes = _observed(proto, x, tmp_path, batch_size)
    _check(found, _by_hand(proto, x))
    assert max(sizes) == min(batch_size, 18)  # of 20, two by themselves
    assert sizes.count(1) < 4
    assert found.one_by_one == ()
    assert observation_notices(found) == []


@pytest.mark.parametrize("name", layouts.SINGLE)
def test_samples_that_cannot_be_told_apart_run_one_by_one_and_that_is_said(
    tmp_path: Path, name: str
) -> None:
    proto = layouts.SINGLE[name]()
    x = layouts.samples(proto, 23)
    found, sizes = _observed(proto, x, tmp_path, 8)
    _check(found, _by_hand(proto, x))
    assert sizes.count(2) == 1
    assert max(sizes) == 2
    (notice,) = observation_notices(found)
    assert notice.code == "one_by_one"
    assert found.one_by_one[0].tap in notice.message


@pytest.mark.parametrize("name", [*layouts.BATCHED, "sums_over_time"])
def test_a_batch_fixed_to_one_is_calibrated_without_a_word(tmp_path: Path, name: str) -> None:
    proto = layouts.fixed({**layouts.BATCHED, **layouts.SINGLE}[name]())
    x = layouts.samples(proto, 9)
    found, sizes = _observed(proto, x, tmp_path, 8)
    _check(found, _by_hand(proto, x))
    assert set(sizes) == {1}
    assert observation_notices(found) == []


def test_samples_that_change_each_other_in_a_batch_are_remarked_on(tmp_path: Path) -> None:
    """BatchNormalization as it is in training: it takes its statistics from the batch."""
    s = Sketch()
    s.op("ReduceMean", [s.conv("x", "c", 3, 4)], "mean", axes=[0, 2, 3])
    s.conv(s.op("Sub", ["c", "mean"], "centred"), "y", 4, 2)
    proto = s.model({"x": ["b", 3, 8, 8]}, {"y": ["b", 2, 8, 8]})
    x = layouts.samples(proto, 12)
    found, _ = _observed(proto, x, tmp_path, 8)
    _check(found, _by_hand(proto, x))
    (notice,) = observation_notices(found)
    assert notice.code == "mixed_samples"
    assert "centred" in notice.message
    assert "inference" in notice.message


def test_a_first_sample_of_zeros_doesnt_make_a_pass_slow(tmp_path: Path) -> None:
    proto = layouts.heads_merged()
    x = layouts.samples(proto, 23)
    x[3] = x[0] = 0
    found, sizes = _observed(proto, x, tmp_path, 4)
    _check(found, _by_hand(proto, x))
    assert max(sizes) == 4
    assert found.one_by_one == ()


def test_inputs_of_other_sizes_are_looked_at_anew(tmp_path: Path) -> None:
    s = Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0, 2])
    s.op("MatMul", ["xt", s.weight("w", 4, 3)], "h")
    s.op("Transpose", ["h"], "y", perm=[1, 0, 2])
    onnx.save(s.model({"x": ["b", "t", 4]}, {"y": ["b", "t", 3]}), str(tmp_path / "m.onnx"))
    model = prepare(load_model(tmp_path / "m.onnx"))
    engine = load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())
    sets = {}
    longest = {}
    for length in (3, 7):
        x = np.random.default_rng(length).standard_normal((6, length, 4)).astype(np.float32)
        pool = tmp_path / f"{length}.h5"
        write_pool(pool, inputs={"x": x}, targets={}, meta={"a": np.arange(6)})
        name = f"t{length}"
        sets[name] = draw(pool, tmp_path / f"{name}.h5", name, 6)
        longest[name] = np.abs(x).max()
    found = observe(engine, CalibsetUnion(sets), batch_size=4, pool_fingerprint="p")
    assert found.one_by_one == ()
    for name, amax in longest.items():
        assert found.of(name).one(0, 0).amax == amax


def test_why_samples_ran_one_by_one_is_kept_with_the_ranges(tmp_path: Path) -> None:
    proto = layouts.sums_over_time()
    found, _ = _observed(proto, layouts.samples(proto, 9), tmp_path, 4)
    write_ranges(tmp_path / "ranges.h5", found)
    assert open_ranges(tmp_path / "ranges.h5").one_by_one == found.one_by_one != ()
    with h5py.File(tmp_path / "ranges.h5", "a") as file:
        del file["one_by_one"]  # as releases up to 0.1 wrote it
    assert open_ranges(tmp_path / "ranges.h5").one_by_one == ()
