"""What every backend must do: one body of tests over all that are registered."""

import gc
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.config import AuditSettings
from calaudit.backends.base import Backend, Engine, Order
from calaudit.backends.health import examine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.registry import BACKENDS, backend_names
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.timed import Block, Timed
from calaudit.calibration.batching import Batching
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from calaudit.runtime.settings import keys_of
from tests.backends.available import PYTHON, load, make_backend, played
from tests.graph import models
from tests.graph.running import quantize

STATUS = Path("/proc/self/statm")


def in_use(backend: Backend) -> int:
    """Bytes in use: of the GPU's memory where engines lie there, else of this process's."""
    if isinstance(backend, TensorrtBackend):
        told = backend.session.perform(lambda worker: worker.ask("hello.memory")).values
        return int(told["total"] - told["free"])
    return int(STATUS.read_text().split()[1]) * 4096


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "onnxruntime": ("onnxruntime", {"threads": 1}),
    "onnxruntime-fused": ("onnxruntime", {"threads": 1, "kernels": "fused"}),
    "tensorrt": ("tensorrt", {"python": PYTHON}),
    "tensorrt-played": ("tensorrt", {"python": played()}),
    "tensorrt_rtx": ("tensorrt_rtx", {}),
    "onnx_reference": ("onnx_reference", {}),
}
"""Case → backend, its keys. One runs on fakes of TensorRT and pycuda, which show that what stands
around them keeps to the contract; the last one is the example package's."""
TESTED = {
    "conv_bn_relu": models.conv_bn_relu,
    "residual": models.residual,
    "attention": models.attention,
    "embedding": models.embedding,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, example_package: object) -> tuple[str, dict[str, object]]:
    return CASES[request.param]


@pytest.fixture
def backend(case: tuple[str, dict[str, object]], tmp_path: Path) -> Backend:
    name, keys = case
    return make_backend(name, tmp_path, keys)


def lacks_vnni() -> bool:
    """Whether this is an x86 processor whose integer products are added up in 16 bits."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx2" in (told := flags.read_text("utf-8")) and "vnni" not in told


def reference(model: Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What onnxruntime answers, with Q/DQ in float."""
    return OnnxruntimeBackend(threads=1).load(model).run(feeds)


def run_on(engine: Engine, feeds: dict[str, np.ndarray], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        engine.run(feeds)


def test_every_backend_is_held_to_the_contract(example_package: object) -> None:
    assert set(backend_names()) == {name for name, _ in CASES.values()}
    assert len(backend_names()) >= 4


@pytest.mark.parametrize("name", TESTED)
def test_fp32_is_onnxruntimes_up_to_rounding(backend: Backend, name: str) -> None:
    model = Model(TESTED[name](), "sketch")
    feeds = models.feeds(model.proto, n=20)
    wanted = reference(model, feeds)
    found = load(backend, model).run(feeds)
    for output, values in wanted.items():
        assert (found[output].dtype, found[output].shape) == (values.dtype, values.shape)
        largest = np.abs(values).max()
        np.testing.assert_allclose(found[output], values, rtol=1e-4, atol=1e-4 * largest)


def test_an_engine_that_times_itself_tells_of_runs_memory_and_layers(backend: Backend) -> None:
    source = Model(models.residual(), "sketch")
    feeds = models.feeds(source.proto, n=16)
    _, model = quantize(source, feeds)
    engine = load(backend, model)
    if not isinstance(engine, Timed):
        return
    wanted = {name: values.copy() for name, values in engine.run(feeds).items()}
    for streams in (1, 2):
        times = engine.measure(feeds, Block(seconds=0, least=6, streams=streams))
        assert len(times.host_ms) == 6
        assert (times.host_ms > 0).all()
        assert 0 < times.seconds < 60
        assert times.host_ms.max() <= 1e3 * times.seconds
        if times.device_ms is not None:
            assert (times.device_ms <= times.host_ms).all()
    layers = engine.layers(feeds, 3)
    assert sum(each.share for each in layers) == pytest.approx(1 if layers else 0)
    mine = {node.name for node in source.proto.graph.node}
    assert {node for each in layers for node in each.nodes} <= mine
    memory = engine.memory()
    assert memory.batch == 16
    assert memory.how
    for name, values in engine.run(feeds).items():
        np.testing.assert_array_equal(values, wanted[name])
    engine.close()


@pytest.mark.parametrize("name", TESTED)
def test_int8_by_the_same_qdq_graph_is_onnxruntimes_up_to_steps(
    case: tuple[str, dict[str, object]], backend: Backend, name: str
) -> None:
    if "kernels" in case[1] and name in {"attention", "embedding"} and lacks_vnni():
        pytest.skip("onnxruntime's integer products overflow on x86 without VNNI")
    source = Model(TESTED[name](), "sketch")
    feeds = models.feeds(source.proto, n=64)
    _, model = quantize(source, feeds)
    wanted, float_ = reference(model, feeds)["y"], reference(source, feeds)["y"]
    found = load(backend, model).run(feeds)["y"]
    spread = np.abs(found - wanted) / np.abs(wanted).max()
    # A value on the border of two steps may fall to either side, and few do.
    assert spread.max() < 0.1
    assert np.quantile(spread, 0.9) < 0.02
    # That the engine is quantized at all: it errs as the graph does, not as FP32 would.
    assert np.abs(found - wanted).mean() < 0.5 * np.abs(float_ - wanted).mean()


def test_what_is_ordered_is_what_is_loaded(backend: Backend, tmp_path: Path) -> None:
    source = Model(models.gemms(), "sketch")
    feeds = models.feeds(source.proto, n=20)
    _, quantized = quantize(source, feeds)
    for precision, model in (("fp32", source), ("int8", quantized)):
        path = tmp_path / f"{precision}.engine"
        order = Order(model=model, precision=precision, what=precision, path=path, scales="s")
        built = backend.make(order)
        assert built.engine is not None
        assert (built.kernels == "float") == (precision == "fp32")
        np.testing.assert_array_equal(
            built.engine.run(feeds)["y"], load(backend, model).run(feeds)["y"]
        )
        built.engine.close()
        again = backend.make(replace(order, to_run=False))
        assert (again.kernels, again.options) == (built.kernels, built.options)
        if again.account is not None:
            assert again.account == built.account


def test_an_engine_is_closed_once_and_for_all(backend: Backend) -> None:
    model = Model(models.gemms(), "sketch")
    feeds = models.feeds(model.proto)
    engine, other = backend.load(model), backend.load(model)
    kept = engine.run(feeds)["y"]
    copied = kept.copy()
    engine.close()
    engine.close()
    with pytest.raises(BackendError, match="closed"):
        engine.run(feeds)
    np.testing.assert_array_equal(kept, copied)
    np.testing.assert_array_equal(other.run(feeds)["y"], copied)


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="reads Linux's account of the memory in use")
def test_closing_frees_the_weights(backend: Backend) -> None:
    s = models.Sketch()
    s.op("MatMul", ["x", s.weight("w", 2048, 2048)], "y")
    model = Model(s.model({"x": ["b", 2048]}, {"y": ["b", 2048]}), "sketch")
    feeds = models.feeds(model.proto, n=2)

    def run_and_close() -> None:
        engine = backend.load(model)
        engine.run(feeds)
        engine.close()

    run_and_close()
    gc.collect()
    before, n = in_use(backend), 4 if backend.capabilities.needs_gpu else 12
    for _ in range(n):
        run_and_close()
    gc.collect()
    assert in_use(backend) - before < n * 16.8e6 / 2, "each has 16.8 MB of weights"


def run_until_interrupted(engine: Engine, feeds: dict[str, np.ndarray]) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    run_on(engine, feeds)


def test_ctrl_c_ends_a_run_and_leaves_an_engine_that_runs(backend: Backend) -> None:
    model = Model(models.conv_bn_relu(), "sketch")
    feeds = models.feeds(model.proto, n=50)
    engine = backend.load(model)
    wanted = engine.run(feeds)["y"].copy()
    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted(engine, feeds)
    np.testing.assert_array_equal(engine.run(feeds)["y"], wanted)


def test_a_kind_says_what_its_backend_says(
    case: tuple[str, dict[str, object]], backend: Backend
) -> None:
    kind = BACKENDS.load(case[0])
    assert kind.name == backend.name == case[0]
    assert kind.needs_gpu == backend.capabilities.needs_gpu
    assert backend.key
    assert all(isinstance(each, str) for each in backend.environment.values())
    ways = list(kind.int8(kind.settings(), ("minmax", "mse"), Batching(8)))
    assert [(way.method, way.given) for way in ways] == [("minmax", "qdq"), ("mse", "qdq")]


def test_health_is_what_runs_here(case: tuple[str, dict[str, object]], backend: Backend) -> None:
    health = examine(case[0], {"fp32": {"Gemm"}, "int8": {"MatMul"}}, **case[1])
    assert health.backend == case[0]
    if case[0].startswith("tensorrt") and all("can't build" in t.failure for t in health.trials):
        pytest.skip(str(health.missing[0]))  # a release that has no kernels for this GPU
    assert health.usable
    assert [(t.op_type, t.precision) for t in health.trials] == [
        ("Gemm", "fp32"), ("MatMul", "int8")
    ]  # fmt: skip
    assert health.ranges[0] == "calaudit"


def test_keys_are_no_keys_of_the_audit(case: tuple[str, dict[str, object]]) -> None:
    kind = BACKENDS.load(case[0])
    assert not keys_of(kind.settings) & keys_of(AuditSettings)
    assert kind.settings() == kind.settings(), "every key has a default"


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
