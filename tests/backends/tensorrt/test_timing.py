"""Engines that are timed in a worker: on FAKES of TensorRT, pycuda and nvidia-ml-py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.engine import TensorrtEngine
from calaudit.backends.timed import Block, Timed
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from tests.backends.available import make_backend, played
from tests.graph import models
from tests.graph.running import quantize

MODEL = Model(models.gemms(), "sketch.onnx")


def load(
    folder: Path, *, model: Model = MODEL, keys: Any = None, nvml: Any = None, **behaviour: Any
) -> TensorrtEngine:
    said = {"weighs": True, **behaviour}
    python = played(FAKE_TENSORRT=json.dumps(said), FAKE_NVML=json.dumps(nvml or {}))
    backend = make_backend("tensorrt", folder, {"python": python, **(keys or {})})
    assert isinstance(backend, TensorrtBackend)
    return backend.load(model)


def test_runs_are_timed_from_host_to_host_and_on_the_device(tmp_path: Path) -> None:
    engine = load(tmp_path)
    assert isinstance(engine, Timed)
    feeds = models.feeds(MODEL.proto, n=8)
    before = engine.run(feeds)["y"].copy()
    found = engine.measure(feeds, Block(seconds=0.2))
    assert found.device_ms is not None
    assert len(found.host_ms) == len(found.device_ms) > 3
    assert (found.device_ms > 0).all()
    assert (found.device_ms < found.host_ms).all()
    assert found.host_ms.sum() / 1e3 <= found.seconds < 2
    assert found.seconds >= 0.2
    assert (found.readings, found.notices) == ((), ())
    np.testing.assert_array_equal(engine.run(feeds)["y"], before)


def test_least_runs_are_made_whatever_they_take(tmp_path: Path) -> None:
    found = load(tmp_path).measure(models.feeds(MODEL.proto, n=4), Block(seconds=0, least=7))
    assert len(found.host_ms) == 7


@pytest.mark.parametrize("shares", [True, False])
def test_streams_have_contexts_of_their_own(tmp_path: Path, shares: bool) -> None:
    """Up to 8.5 the plan is loaded again for each; later releases share its weights."""
    engine = load(tmp_path, shares=shares)
    feeds = models.feeds(MODEL.proto, n=4)

    def free() -> int:
        ask = engine.session.perform
        return int(ask(lambda worker: worker.ask("hello.memory").values["free"]))

    engine.measure(feeds, Block(seconds=0, least=1))
    alone = free()
    found = engine.measure(feeds, Block(seconds=0, least=15, streams=3))
    assert len(found.host_ms) == 15
    assert found.device_ms is None  # events of one lane hold the work of others
    weights = 2 * len(engine.plan)
    assert (alone - free() >= weights) is not shares
    again = free()
    engine.measure(feeds, Block(seconds=0, least=5, streams=3))
    assert free() == again  # the same contexts
    engine.close()
    assert free() > alone


@pytest.mark.parametrize("n", [17, 40])
def test_a_batch_that_the_engine_doesnt_take_is_refused(tmp_path: Path, n: int) -> None:
    with pytest.raises(BackendError, match=f"takes batches of 1 to 16 samples; x has {n}"):
        load(tmp_path).measure(models.feeds(MODEL.proto, n=n), Block(seconds=0))


def test_fixed_shapes_take_one_batch_alone(tmp_path: Path) -> None:
    engine = load(tmp_path, keys={"shapes": "fixed"})
    assert engine.takes == (16, 16)
    assert len(engine.measure(models.feeds(MODEL.proto, n=16), Block(seconds=0)).host_ms) == 1
    with pytest.raises(BackendError, match="takes batches of 16 samples; x has 4"):
        engine.measure(models.feeds(MODEL.proto, n=4), Block(seconds=0))


def test_layers_have_the_nodes_of_the_graph_and_leave_the_runner_alone(tmp_path: Path) -> None:
    source = Model(models.gemms(), "sketch")
    feeds = models.feeds(source.proto, n=8)
    _, model = quantize(source, feeds)
    engine = load(tmp_path, model=model)
    before = engine.run(feeds)["y"].copy()
    layers = engine.layers(feeds, 3)
    assert sum(each.share for each in layers) == pytest.approx(1)
    assert all(each.ms > 0 for each in layers)
    products = [each for each in layers if each.nodes and each.kind == "CaskConvolution"]
    assert [each.precision for each in products] == ["int8", "int8"]
    names = {node.name for node in source.proto.graph.node}
    assert {name for each in layers for name in each.nodes} == names
    np.testing.assert_array_equal(engine.run(feeds)["y"], before)


def test_memory_is_told_by_tensorrt_or_by_what_is_free(tmp_path: Path) -> None:
    engine = load(tmp_path, activations=5000)
    plain = engine.memory()
    assert plain.weights_bytes == len(engine.plan)
    assert "weights by free memory" in plain.how
    assert plain.activations_bytes == 5000
    assert plain.batch == 16
    assert plain.peak_bytes is not None
    assert plain.peak_bytes > len(engine.plan) + 16 * 4  # with buffers for inputs and outputs
    told = load(tmp_path, stats=True).memory()
    assert "weights by TensorRT" in told.how
    assert told.weights_bytes is not None
    assert 0 < told.weights_bytes < len(engine.plan)


def test_too_many_streams_for_the_gpus_memory_are_told(tmp_path: Path) -> None:
    engine = load(tmp_path, gpu_bytes=100_000, shares=False)
    feeds = models.feeds(MODEL.proto, n=8)
    with pytest.raises(BackendError, match="memory") as caught:
        engine.measure(feeds, Block(seconds=0, streams=500))
    assert caught.value.problems[0].next_step
    assert engine.run(feeds)["y"].shape[0] == 8  # in the next worker


def test_the_gpu_is_watched_where_it_is_wanted(tmp_path: Path) -> None:
    engine = load(tmp_path, nvml={"reasons": 0x05})
    feeds = models.feeds(MODEL.proto, n=4)
    found = engine.measure(feeds, Block(seconds=0.4, watch=True))
    assert found.notices == ()
    first, *_, last = found.readings
    assert 5 <= len(found.readings) < 60
    assert last.at - first.at >= 0.4
    assert first.energy_joules is not None
    assert last.energy_joules is not None
    assert last.energy_joules - first.energy_joules == pytest.approx(100 * 0.4, abs=15)
    assert first.power_watts == 100
    assert first.utilisation == 0.8
    assert (first.sm_clock_mhz, first.memory_clock_mhz) == (1500, 2600)
    assert first.temperature_celsius == 55
    assert first.throttled == ("sw_power_cap",)  # and not that it is idle
    # what takes the driver long is asked seldom
    assert 1 <= sum(each.process_bytes is not None for each in found.readings) <= 3
    assert first.process_bytes == 2**20
    again = engine.measure(feeds, Block(seconds=0.1, watch=True))
    assert again.readings[0].at >= last.at


def test_what_the_driver_doesnt_tell_is_left_out(tmp_path: Path) -> None:
    engine = load(tmp_path, nvml={"lacks": ["energy", "event reasons"], "reasons": 0x40})
    found = engine.measure(models.feeds(MODEL.proto), Block(seconds=0.1, watch=True))
    assert {each.energy_joules for each in found.readings} == {None}
    assert found.readings[0].power_watts == 100
    assert found.readings[0].throttled == ("hw_thermal_slowdown",)  # by the older call


@pytest.mark.parametrize(
    ("lacks", "known"),
    [(["new process list"], 2**20), (["new process list", "process list"], None)],
)
def test_a_driver_older_than_the_package_is_asked_by_older_calls(
    tmp_path: Path, lacks: list[str], known: int | None
) -> None:
    engine = load(tmp_path, nvml={"lacks": lacks})
    found = engine.measure(models.feeds(MODEL.proto), Block(seconds=0.1, watch=True))
    assert found.readings[0].process_bytes == known
    assert found.readings[0].power_watts == 100


@pytest.mark.parametrize(
    ("nvml", "told"),
    [({"missing": True}, "pip install nvidia-ml-py"), ({"driver": True}, "Driver Not Loaded")],
)
def test_a_gpu_that_cant_be_watched_is_a_notice(tmp_path: Path, nvml: Any, told: str) -> None:
    engine = load(tmp_path, nvml=nvml)
    found = engine.measure(models.feeds(MODEL.proto), Block(seconds=0, watch=True))
    (notice,) = found.notices
    assert notice.code == "gpu_unwatched"
    assert told in notice.message
    assert found.readings == ()
    assert len(found.host_ms) == 1


def test_an_engine_that_was_closed_isnt_measured(tmp_path: Path) -> None:
    engine = load(tmp_path)
    engine.close()
    with pytest.raises(BackendError, match="was closed"):
        engine.measure(models.feeds(MODEL.proto), Block(seconds=0))
