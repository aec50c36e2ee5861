"""A worker that dies, hangs, has no memory or can't be had; and what it leaves behind: nothing.

In processes of their own, with FAKES of TensorRT and pycuda on their paths.
"""

import gc
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.backends.base import Order, Site
from calaudit.backends.tensorrt import link, shared
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.build import TimingCache
from calaudit.backends.tensorrt.implicit import ImplicitPlan, NativeRanges, build_implicit
from calaudit.backends.tensorrt.kind import TENSORRT
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.profile import plan_profile
from calaudit.backends.tensorrt.session import Session
from calaudit.calibration.batching import Batching
from calaudit.calibration.scales import ScaleTable, TapScale
from calaudit.graph.exempt import given_names
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import BackendError
from tests.backends.available import FAKES, played
from tests.backends.tensorrt.calibsets import make_calibset, two_inputs
from tests.graph import models
from tests.graph.running import quantize

ROOT = Path(__file__).parents[3]
MODEL = Model(models.gemms(), "sketch.onnx")
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    made: list[Session] = []
    yield made
    for each in made:
        each.close()


@pytest.fixture
def backend(sessions: list[Session], tmp_path: Path) -> Any:
    def make(*, timeout: float = 60, command: str | None = None, **behaviour: Any) -> Any:
        python = command or played(FAKE_TENSORRT=json.dumps(behaviour))
        sessions.append(Session(Location("tensorrt", python=python, timeout=timeout)))
        return TensorrtBackend(sessions[-1], max_batch=16, timing=TimingCache(tmp_path))

    return make


def pid_of(backend: TensorrtBackend) -> int:
    return int(backend.session.perform(lambda worker: worker.hello["pid"]))


def wait_only(backend: TensorrtBackend, seconds: float) -> None:
    """From now on: on a loaded machine its worker may take longer to start."""
    worker = backend.session.perform(lambda worker: worker)
    worker._location = replace(worker._location, timeout=seconds)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


@pytest.mark.parametrize(
    ("ends", "told"),
    [("killed", "was ended by SIGKILL"), ("aborts", "was ended by SIGABRT")],
)
@pytest.mark.parametrize("where", ["build", "run"])
def test_a_death_is_told_with_the_last_words_and_the_next_engine_is_made(
    backend: Any, tmp_path: Path, ends: str, told: str, where: str
) -> None:
    made = backend(ends=ends, ends_in=where, once=str(tmp_path / "once"))
    feeds = models.feeds(MODEL.proto)
    with pytest.raises(BackendError) as caught:
        made.load(MODEL).run(feeds)
    assert told in str(caught.value)
    assert f"these are the last words in {where}" in str(caught.value)
    assert made.load(MODEL).run(feeds)["y"].shape == (len(feeds["x"]), 6)


def test_an_engine_that_was_loaded_runs_on_in_the_next_worker(backend: Any, tmp_path: Path) -> None:
    made = backend()
    feeds = models.feeds(MODEL.proto, n=20)
    engine = made.load(MODEL)
    wanted = engine.run(feeds)["y"].copy()
    os.kill(pid_of(made), signal.SIGKILL)
    with pytest.raises(BackendError, match="was ended by SIGKILL"):
        engine.run(feeds)
    np.testing.assert_array_equal(engine.run(feeds)["y"], wanted)
    locked = engine.empty_feeds(20)
    os.kill(pid_of(made), signal.SIGKILL)
    with pytest.raises(BackendError):
        made.load(MODEL)
    locked["x"][:] = feeds["x"]
    np.testing.assert_array_equal(
        engine.run(locked)["y"], wanted, "memory of a worker that is gone"
    )


def test_a_hanging_build_is_ended_after_the_timeout(backend: Any) -> None:
    made = backend(ends="hangs")
    pid = pid_of(made)
    wait_only(made, 3.5)
    with pytest.raises(BackendError, match=r"no sign of life for 3\.5 s .*build sketch") as caught:
        made.load(MODEL)
    assert "last words in build" in str(caught.value)
    assert wait_until_gone(pid)


def test_signs_of_life_keep_a_slow_build_alive(backend: Any) -> None:
    made = backend(slow=4.5, talks=True)
    wait_only(made, 3.5)
    assert made.load(MODEL).run(models.feeds(MODEL.proto))


@pytest.mark.parametrize("where", ["build", "load", "run"])
def test_exhausted_memory_is_told_with_what_is_free(backend: Any, where: str) -> None:
    made = backend(ends="exhausted", ends_in=where)
    pid = pid_of(made)
    with pytest.raises(BackendError, match=r"out of memory|OutOfMemory|exhausted") as caught:
        made.load(MODEL).run(models.feeds(MODEL.proto))
    assert "16.0 of 16.0 GiB free on a fake GPU" in str(caught.value)
    assert "Free memory on the GPU, or lower batch_size" in str(caught.value)
    assert wait_until_gone(pid), "the next engine gets a worker whose memory is whole"


def test_memory_that_a_batch_needs_is_told(backend: Any) -> None:
    made = backend(gpu_bytes=300)
    with pytest.raises(BackendError, match=r"768 bytes asked for input x; 0\.0 of 0\.0 GiB free"):
        made.load(MODEL)


@pytest.mark.parametrize(
    ("command", "told", "step"),
    [
        ("no-such-python3", "no-such-python3 can't be started: No such file", "Correct python"),
        ("false", "ended with exit status 1 before it could be used", "Name in python"),
        (
            f"sh -c 'echo welcome; exec \"$@\"' sh {shlex.quote(sys.executable)}",
            "writes something of its own to its standard output",
            "Name in python",
        ),
        (f"{shlex.quote(sys.executable)} -S", "numpy can't be imported", "-m pip install numpy"),
        ("sh -c 'echo no room >&2; exit 3'", "exit status 3 before it could be used: no room", ""),
        ("sh -c 'sleep 600'", "gave no sign of life for 2 s and was ended", "more time by timeout"),
        (
            f"sh -c 'exec \"$@\" </dev/null' sh {shlex.quote(sys.executable)}",
            "reads nothing from its standard input",
            "docker exec -i",
        ),
    ],
)
def test_an_interpreter_that_cant_be_used_is_told(
    sessions: list[Session], command: str, told: str, step: str
) -> None:
    timeout = 2 if "sleep" in command else 60
    sessions.append(Session(Location("tensorrt", python=command, timeout=timeout)))
    with pytest.raises(BackendError) as caught:
        sessions[-1].look()
    assert told in str(caught.value)
    assert step in str(caught.value)


def test_without_pycuda_or_a_gpu_the_library_is_named_all_the_same(
    sessions: list[Session], tmp_path: Path
) -> None:
    (tmp_path / "tensorrt").symlink_to(FAKES / "tensorrt")
    (tmp_path / "fake_tensorrt.py").symlink_to(FAKES / "fake_tensorrt.py")
    command = f"env PYTHONPATH={tmp_path} {shlex.quote(sys.executable)}"
    sessions.append(Session(Location("tensorrt", python=command)))
    found = sessions[-1].look()
    assert (found.library, found.gpu) == ("8.5.3.1", None)
    assert str(found.missing[0]) == "pycuda isn't installed"
    assert f"{sys.executable} -m pip install 'pycuda" in found.missing[0].next_step
    sessions.append(
        Session(Location("tensorrt", python=played(FAKE_TENSORRT=json.dumps({"gpus": 0}))))
    )
    assert [str(each) for each in sessions[-1].look().missing] == ["a GPU isn't there"]


def test_a_timing_cache_is_kept_sent_and_replaced_when_it_is_refused(
    backend: Any, tmp_path: Path
) -> None:
    made = backend()
    made.build(MODEL)
    (kept,) = tmp_path.glob("*.timing")
    assert kept.name == "tensorrt-8.5.3.1-a-fake-GPU.timing"
    first = kept.read_bytes()
    assert made.build(MODEL).notices[-1].code == "weakly_typed"
    assert len(kept.read_bytes()) > len(first), "the second build began with the first's"
    kept.write_bytes(b"of another release")
    codes = [each.code for each in made.build(MODEL).notices]
    assert "timing_cache_refused" in codes
    assert kept.read_bytes() == first
    calibrated(made.session, tmp_path, TimingCache(tmp_path))
    assert len(kept.read_bytes()) > len(first), "a calibration's build takes and keeps it too"


def test_weakly_typed_networks_get_the_flags_of_their_graph(backend: Any, tmp_path: Path) -> None:
    made = backend()
    _, quantized = quantize(MODEL, models.feeds(MODEL.proto))
    path = tmp_path / "x.engine"
    built = made.make(Order(model=quantized, precision="int8", what="x", path=path))
    assert built.options["network"] == "weakly typed"
    assert built.account is not None
    assert built.account.proof is not None
    assert [node.got for node in built.account.proof.nodes] == ["int8", "int8"]


def ordered(made: Any, path: Path, *left: str, model: Model = MODEL) -> Any:
    """An engine by implicit quantization, with every tensor's range."""
    tensors = [*model.proto.graph.input, *model.proto.graph.output]
    names = {each.name for each in tensors} | {n for e in model.proto.graph.node for n in e.output}
    table = ScaleTable({name: TapScale(127.0, 1.0) for name in names}, "minmax", "some")
    order = Order(
        model=model, precision="int8", what="x", path=path, ranges=table, float_ops=left
    )  # fmt: skip
    built = made.make(order)
    built.engine.close()
    return built


def test_layers_that_are_to_stay_in_float_do_and_arent_short(backend: Any, tmp_path: Path) -> None:
    first, second = (node.name for node in MODEL.proto.graph.node if node.op_type == "Gemm")
    built = ordered(backend(), tmp_path / "x.engine", first)
    got = {node.node: (node.asked, node.got) for node in built.account.proof.nodes}
    assert got == {first: ("fp32", "fp32"), second: ("int8", "int8")}
    assert built.account.proof.short_of() == ()
    assert built.account.asked == {"Gemm": 1}
    assert built.notices == ()
    assert {n.reason for n in built.account.proof.nodes} == {"left in float as asked", ""}


def test_an_engine_that_is_kept_isnt_taken_for_other_exemptions(
    backend: Any, tmp_path: Path
) -> None:
    made, path = backend(), tmp_path / "x.engine"
    first, second = (node.name for node in MODEL.proto.graph.node if node.op_type == "Gemm")
    for left in ((), (first,), (second,), (first,)):
        built = ordered(made, path, *left)
        floats = {node.node for node in built.account.proof.nodes if node.got == "fp32"}
        assert floats == set(left)


def test_a_norm_behind_a_convolution_is_held_with_it(backend: Any, tmp_path: Path) -> None:
    model = Model(models.conv_bn_relu(), "sketch.onnx")
    left = given_names(["node_c2"], model, prepare(model))
    assert left == ("node_n2", "node_c2")
    built = ordered(backend(), tmp_path / "x.engine", *left, model=model)
    got = {node.node: node.got for node in built.account.proof.nodes}
    assert got == {"node_c1": "int8", "node_c2": "fp32", "node_y": "int8"}


@pytest.mark.parametrize(
    ("behaviour", "left", "told"),
    [
        ({"binds": False}, "node_y", "has no builder flag that holds a layer to float32"),
        ({}, "t", "has no layer for t, which is to stay in float"),
        ({}, "inlined", "inlined is no node of the model as TensorRT is given it"),
    ],
)
def test_what_cant_be_held_in_float_has_no_engine(
    backend: Any, tmp_path: Path, behaviour: dict[str, Any], left: str, told: str
) -> None:
    proto = models.gemms()
    proto.graph.node[1].name = ""
    with pytest.raises(BackendError, match=told) as caught:
        ordered(backend(**behaviour), tmp_path / "x.engine", left, model=Model(proto, "m.onnx"))
    assert "explicit" in str(caught.value)


def test_the_network_that_the_parser_makes_is_described(backend: Any) -> None:
    from calaudit.backends.tensorrt.build import describe_network

    told = describe_network(backend().session, MODEL)
    assert told["inputs"] == ["x"]
    assert [layer["index"] for layer in told["layers"]] == list(range(len(told["layers"])))
    assert {"name", "type", "inputs", "outputs"} <= set(told["layers"][0])


def test_arrays_go_by_the_line_where_no_memory_is_shared(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = models.feeds(MODEL.proto, n=40)
    sharing = backend()
    wanted = sharing.load(MODEL).run(feeds)["y"]
    monkeypatch.setattr(shared, "_ways", lambda: iter(()))
    streaming = backend()
    engine = streaming.load(MODEL)
    locked = engine.empty_feeds(40)
    locked["x"][:] = feeds["x"]
    np.testing.assert_array_equal(engine.run(feeds)["y"], wanted)
    np.testing.assert_array_equal(engine.run(locked)["y"], wanted)
    shares = [each.session.perform(lambda worker: worker.shares) for each in (sharing, streaming)]
    assert shares == [True, False]


def calibrated(session: Session, folder: Path, timing: TimingCache | None = None) -> ImplicitPlan:
    """An engine that TensorRT calibrated on 24 samples in batches of 8."""
    model = Model(models.embedding(), "embedding.onnx")
    ranges = NativeRanges(
        calibset=make_calibset(folder / "set.h5", two_inputs(24)),
        algorithm="entropy",
        batching=Batching(8, order="stored"),
    )
    profile = plan_profile(model, max_batch=16)
    return build_implicit(session, model, ranges, profile, timing=timing)


def test_calibration_takes_the_same_batches_by_memory_and_by_the_line(
    backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_memory = calibrated(backend().session, tmp_path)
    monkeypatch.setattr(shared, "_ways", lambda: iter(()))
    monkeypatch.setattr(link, "_CHUNK", 100)
    by_line = calibrated(backend().session, tmp_path)
    assert by_memory.ranges.scales == by_line.ranges.scales
    assert by_memory.ranges.scales == {"x": pytest.approx(23 / 127)}
    assert by_memory.n_batches == by_line.n_batches == 3


@pytest.mark.parametrize("way", ["files", "unregistered"])
def test_other_ways_to_the_same_memory_give_the_same(
    backend: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    feeds = models.feeds(MODEL.proto, n=40)
    wanted = backend().load(MODEL).run(feeds)["y"]
    if way == "files":
        monkeypatch.delattr(os, "memfd_create")
    engine = backend(registers=way != "unregistered").load(MODEL)
    np.testing.assert_array_equal(engine.run(feeds)["y"], wanted)


def test_a_large_batchs_memory_stays_while_small_ones_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "_KEPT", 2**20)
    blocks = shared.SharedBlocks(tuple(shared._ways())[:1])
    for _ in range(12):
        small = [blocks.empty((2**15,), np.uint8) for _ in range(2)]
        del small
        large = [blocks.empty((2**22,), np.uint8) for _ in range(2)]
        del large
    assert len(blocks.news()["new"]) == 4, "made once and used again, though they are 8 MiB"
    for _ in range(40):
        _ = blocks.empty((2**10,), np.uint8)
    told = blocks.news()
    assert len(told["gone"]) >= 2, "what nobody has used for long is given back"


SCRIPT = """
import signal, sys
from pathlib import Path
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.implicit import ImplicitPlan, NativeRanges, build_implicit
from calaudit.backends.tensorrt.kind import TENSORRT
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.session import session_of
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from tests.backends.tensorrt.calibsets import make_calibset, two_inputs
from tests.graph import models
made = TensorrtBackend(session_of(Location("tensorrt", python=sys.argv[1])))
worker = made.session.perform(lambda worker: worker)
worker.empty((1000,), "f4")
print(worker.hello["pid"], flush=True)
try:
    print("building", flush=True)
    made.build(Model(models.gemms(), "sketch.onnx"))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_host_nothing_stays_behind(number: signal.Signals) -> None:
    before = set(SHARED_MEMORY.glob("calaudit-*")) if SHARED_MEMORY.is_dir() else set()
    command = played(FAKE_TENSORRT=json.dumps({"slow": 60.0}))
    host = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    assert is_running(pid)
    assert host.stdout.readline() == "building\n"
    time.sleep(0.5)
    host.send_signal(number)
    rest = host.stdout.read()
    host.wait(120)
    assert wait_until_gone(pid), "in the middle of a build"
    assert ("interrupted" in rest) == (number == signal.SIGINT)
    assert not SHARED_MEMORY.is_dir() or set(SHARED_MEMORY.glob("calaudit-*")) <= before


def test_a_worker_ends_with_the_last_backend_and_engine_that_uses_it(tmp_path: Path) -> None:
    kind, settings = TENSORRT, TENSORRT.settings(python=played(OF="this test"))
    assert kind.examine(settings, {}).device is not None
    site = Site(name="tensorrt", folder=tmp_path, batch_size=16, shapes={})
    first, second = (kind.make(settings, site) for _ in range(2))
    assert first.session is second.session
    pid = pid_of(first)
    engine = first.load(MODEL)
    del first, second
    gc.collect()
    assert engine.run(models.feeds(MODEL.proto))
    assert is_running(pid)
    del engine
    gc.collect()
    assert wait_until_gone(pid)
