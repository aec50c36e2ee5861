"""Backends of other packages that break: an error that names package, file and line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from calaudit.backends.base import Order, Site
from calaudit.backends.health import examine
from calaudit.backends.registry import BACKENDS
from calaudit.backends.targets import AuditTable, read_targets
from calaudit.backends.timed import Block, Timed
from calaudit.calibration.batching import Batching
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError, CalauditError, SettingsError
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.graph import models
from tests.packages import installed, package_of

KIND = """import numpy as np
from dataclasses import replace
from calaudit.backends.timed import Times
from calaudit.backends.base import BackendKind, BuiltEngine, Capabilities, Int8
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.runtime.errors import Notice
from calaudit.runtime.settings import setting

class Engine:
    def __init__(self, inner):
        self.inner = inner
        self.inputs, self.outputs, self.record = inner.inputs, inner.outputs, inner.record
    def run(self, feeds): return self.inner.run(feeds)
    def close(self): self.inner.close()
{engine}

class Odd:
    name, key, environment = "odd", "odd 1", {{}}
    capabilities = Capabilities(frozenset({{"fp32", "int8"}}), False, True)
    def __init__(self): self.inner = OnnxruntimeBackend(threads=1)
    def check(self, model): return
    def load(self, model): return Engine(self.inner.load(model))
    def make(self, order):
        return BuiltEngine(engine=self.load(order.model), kernels="float")
{backend}

class OddKind(BackendKind):
    name = "odd"
    def make(self, settings, site): return Odd()
    def examine(self, settings, wanted):
        from calaudit.backends.health import Health
        return Health("odd", "odd 1", "cpu", ())
{kind}

ODD = OddKind()
"""
OFFER = "the backend 'odd' of the package odd"


@contextmanager
def backend(folder: Path, **own: str) -> Iterator[None]:
    """The package ``odd``, of whose classes one has members of its own."""
    given = {part: f"    {own.get(part, 'pass')}" for part in ("engine", "backend", "kind")}
    text = KIND.format(**given)
    made = package_of(folder / "odd", "odd", {"calaudit.backends": {"odd": "ODD"}}, text)
    with installed(made, folder / "metadata"):
        yield


def everything(folder: Path) -> None:
    """All that an audit asks of a backend."""
    kind = BACKENDS.load("odd")
    table = AuditTable({}, (), {"audit.backend": ["odd"]}, "audit.toml", Path())
    settings = read_targets(table)["odd"].settings
    list(kind.int8(settings, ("mse",), Batching(4)))
    assert kind.served(settings) == settings
    assert kind.at_a_time(settings, 1) == 1
    list(kind.obstacles(settings, {}))
    examine("odd")
    made = kind.make(settings, Site("odd", folder, 4, {}))
    _ = made.name, made.key, made.environment, made.capabilities
    model = Model(models.residual(), "sketch")
    feeds = models.feeds(model.proto, n=4)
    made.check(model)
    made.load(model).run(feeds)
    order = Order(model=model, precision="fp32", what="fp32", path=folder / "fp32.engine")
    engine = made.make(order).engine
    assert engine is not None
    _ = engine.inputs, engine.record
    found = engine.run(feeds)
    assert list(found) == list(engine.outputs)
    if isinstance(engine, Timed):
        engine.measure(feeds, Block(seconds=0))
        engine.memory()
        engine.layers(feeds, 1)
    engine.close()


def test_a_backend_that_keeps_its_contract_stays_as_it_is(tmp_path: Path) -> None:
    with backend(tmp_path):
        everything(tmp_path)


def test_an_engine_that_times_itself_is_asked_to(tmp_path: Path) -> None:
    own = (
        "def measure(self, f, block): return Times(host_ms=np.ones(block.least), seconds=1.0)\n"
        "    def memory(self): return EngineMemory(peak_bytes=7)\n"
        "    def layers(self, f, runs): return [LayerTime(name='all', ms=float(runs), share=1.0)]\n"
        "from calaudit.results.bench import EngineMemory, LayerTime"
    )
    model = Model(models.residual(), "sketch")
    feeds = models.feeds(model.proto, n=4)
    with backend(tmp_path, engine=own):
        settings = BACKENDS.load("odd").settings()
        made = BACKENDS.load("odd").make(settings, Site("odd", tmp_path, 4, {}))
        engine = made.load(model)
        assert isinstance(engine, Timed)
        assert len(engine.measure(feeds, Block(seconds=0, least=3)).host_ms) == 3
        assert engine.memory().peak_bytes == 7
        assert [each.ms for each in engine.layers(feeds, 5)] == [5.0]
    with backend(tmp_path / "other"):
        plain = BACKENDS.load("odd").make(settings, Site("odd", tmp_path, 4, {})).load(model)
        assert not isinstance(plain, Timed)


@pytest.mark.parametrize(
    ("part", "own", "told"),
    [
        ("kind", "def make(self, settings, site): return {}['x']", "failed in make .*: KeyError"),
        ("kind", "def examine(self, *_): return 1 / 0", "failed in .*ZeroDivisionError"),
        ("kind", "def examine(self, *_): return None", "failed in obstacles .*AttributeError"),
        ("kind", "def obstacles(self, *_): return ['x']", "gave list with str in it from obstac"),
        ("kind", "def int8(self, *_): yield {}['x']", "failed in int8 .*KeyError: 'x'"),
        ("kind", "def int8(self, *_): yield 'mse'", "from int8, expected values of Int8"),
        ("kind", "def served(self, *_): return {}['x']", "failed in served .*KeyError: 'x'"),
        ("kind", "def served(self, *_): return 3", "gave int from served, expected its settings"),
        ("kind", "def at_a_time(self, *_): return 1 / 0", "failed in at_a_time .*ZeroDivisionErr"),
        ("kind", "def at_a_time(self, *_): return 'all'", "gave str from at_a_time, expected a wh"),
        ("kind", "settings = dict", "isn't made by calaudit.runtime.settings.setting"),
        ("kind", "name = 3", "gave int from name, expected text"),
        ("backend", "environment = {'gpu': 3}", "gave 'gpu': 3 in environment, expected texts"),
        ("backend", "capabilities = ('fp32',)", "gave tuple from capabilities, expected Capabil"),
        ("backend", "key = property(lambda self: {}['x'])", "failed in key .*KeyError: 'x'"),
        ("backend", "def check(self, model): return {}['x']", "failed in check .*KeyError: 'x'"),
        ("backend", "def load(self, model): return {}['x']", "failed in load .*KeyError: 'x'"),
        ("backend", "def load(self, model): return None", "failed in outputs: AttributeError"),
        ("backend", "load = 3", "failed in load: TypeError: 'int' object is not callable"),
        ("backend", "def make(self, order): raise SystemExit(0)", "failed in make .*SystemExit"),
        ("backend", "def make(self, order): return None", "gave NoneType from make, expected"),
        ("backend", "def make(self, o): return BuiltEngine(engine=None, kernels='float')",
         "BuiltEngine with no engine, though it is to be run"),
        ("backend", "def make(self, o): return BuiltEngine(engine=self.load(o.model), kernels='x')",
         "BuiltEngine with kernels = 'x', expected one of emulated, fused, float"),
        ("engine", "outputs = property(lambda self: ('no',), lambda *_: None)",
         "an engine without the model's output"),
        ("engine", "record = property(lambda self: [], lambda *_: None)",
         "gave list from record, expected a mapping of texts"),
        ("engine", "def run(self, feeds): return {}['x']", "failed in run .*KeyError: 'x'"),
        ("engine", "def run(self, feeds): return list(self.inner.run(feeds).values())",
         "gave list from run, expected a dict of arrays"),
        ("engine", "def run(self, feeds): return {}", r"gave outputs \[\] from run, expected"),
        ("engine", "def run(self, f): return {k: v.tolist() for k, v in self.inner.run(f).items()}",
         "gave list for output .*, expected an array"),
        ("engine",
         "def run(self, f): return {k: v.astype('f8') for k, v in self.inner.run(f).items()}",
         "gave float64 for output .*, which is float32"),
        ("engine", "def close(self): return {}['x']", "failed in close .*KeyError: 'x'"),
        ("engine", "def measure(self, f, block): return {}['x']", "failed in measure .*KeyError"),
        ("engine", "def measure(self, f, block): return 1.5", "gave float from measure, expecte"),
        ("engine", "def measure(self, f, block): return Times(host_ms=np.array([]), seconds=0.0)",
         r"gave host_ms of shape \(0,\) from measure"),
        ("engine", "def measure(self, f, block): return Times(host_ms=np.array([-1.]), seconds=0.)",
         r"gave host_ms of shape \(1,\) from measure, expected times"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_names_the_package(
    tmp_path: Path, part: str, own: str, told: str
) -> None:
    with (
        backend(tmp_path, **{part: own}),
        pytest.raises(CalauditError, match=f"(?s){told}") as caught,
    ):
        everything(tmp_path)
    assert isinstance(caught.value, BackendError | SettingsError)
    assert OFFER in str(caught.value)
    if "{}" in own and "KeyError" in told:
        lines = KIND.format(**{"engine": "", "backend": "", "kind": "", part: own}).splitlines()
        assert f"odd_members.py, line {lines.index(own) + 1}): KeyError" in str(caught.value)


def test_an_audit_ends_with_2_where_an_engine_fails_or_answers_too_few(tmp_path: Path) -> None:
    text = AUDIT.replace("batch_size", 'backend = "odd"\nbatch_size')
    audit = make_world(tmp_path, n=400, audit=text)
    few = "def run(self, f): return {k: v[:-1] for k, v in self.inner.run(f).items()}"
    with backend(tmp_path / "few", engine=few):
        ended = calaudit("compare", audit)
    assert ended.status == 2, ended.err
    assert "has shape" in ended.err
    with backend(tmp_path / "failed", engine="def run(self, feeds): return {}['x']"):
        ended = calaudit("compare", audit)
    assert ended.status == 2, ended.err
    assert f"{OFFER} failed in run (" in ended.err
