"""A package with the backend ``fake``: onnxruntime that is out of reach, or dies in the middle."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.packages import installed, package_of

TEXT = '''
from pathlib import Path
from typing import Literal

from calaudit.backends.base import BackendKind, BuiltEngine, Capabilities, Missing
from calaudit.runtime.errors import BackendError
from calaudit.runtime.settings import setting


@setting
class FakeSettings:
    python: str | None = None
    ssh: str | None = None
    key_file: Path | None = None
    dies: Literal["", "fp32", "int8", "running", "mse"] = ""
    made: str = ""
    """A file that gets a line for each engine made."""


class FakeKind(BackendKind):
    name = "fake"
    settings = FakeSettings

    def make(self, settings, site):
        return FakeBackend(settings, site)

    def examine(self, settings, wanted):
        from calaudit.backends.health import Health, run_probe, tried
        from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

        title = f"a fake library of {settings.python or 'this Python'}"
        if settings.ssh == "nowhere":
            step = "Check that `ssh nowhere true` works."
            absent = (Missing("nowhere", "can't be reached: no route to host", step),)
            return Health(self.name, "a fake library", None, (), absent=absent)
        backend = OnnxruntimeBackend(threads=1)
        trials = tried(wanted, lambda model: run_probe(backend.load(model)))
        place = f"{settings.python or 'python3'} on {settings.ssh}" if settings.ssh else ""
        return Health(
            self.name, title, settings.ssh or "a fake GPU", trials,
            interpreter=place, python="3.8.10",
        )


class FakeBackend:
    name = "fake"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}), needs_gpu=False, concurrent=False
    )

    def __init__(self, settings, site):
        place = settings.ssh or "here"
        self.settings, self.key = settings, f"fake 1 on {place}"
        self.environment = {"gpu": f"a fake GPU {place}", "fake": "1"}

    def check(self, model):
        pass

    def load(self, model):
        from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

        return OnnxruntimeBackend(threads=1).load(model)

    def make(self, order):
        if self.settings.made:
            with open(self.settings.made, "a") as file:
                print(order.what, file=file)
        dies = self.settings.dies
        if dies == order.precision or dies == order.method:
            raise BackendError(
                "the fake worker died: out of GPU memory", next_step="Free memory of the GPU."
            )
        engine = self.load(order.model)
        if dies == "running" and order.precision == "int8":
            engine = Dying(engine)
        kernels = "emulated" if order.precision == "int8" else "float"
        return BuiltEngine(engine=engine, kernels=kernels)


class Dying:
    """An engine whose second batch ends its worker."""

    def __init__(self, engine):
        self._engine, self._batches = engine, 0
        self.inputs, self.outputs, self.record = engine.inputs, engine.outputs, engine.record
        self.close = engine.close

    def run(self, feeds):
        self._batches += 1
        if self._batches == 2:
            raise BackendError("the fake worker died: killed by signal 9")
        return self._engine.run(feeds)


FAKE = FakeKind()
'''


@contextmanager
def fake_backend(folder: Path) -> Iterator[Mapping[str, str]]:
    """The backend ``fake`` is installed; gives the environment for a process that sees it too."""
    made = package_of(folder / "fake", "fake", {"calaudit.backends": {"fake": "FAKE"}}, TEXT)
    with installed(made, folder / "metadata") as environment:
        yield environment
