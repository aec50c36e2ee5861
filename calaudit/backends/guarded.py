"""Backends of other packages as calaudit uses them: held to their contract, call by call.

What they raise that isn't an error of calaudit's own, and what they give that isn't what
`calaudit.backends.base` promises, is a `BackendError` that names the package.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import (
    Backend,
    BackendKind,
    BuiltEngine,
    Capabilities,
    Engine,
    Int8,
    Kernels,
    Missing,
    Order,
    Site,
)
from calaudit.backends.timed import Block, Times
from calaudit.calibration.batching import Batching
from calaudit.results.bench import EngineMemory, LayerTime
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.outside import Gives, asked, is_ours
from calaudit.runtime.settings import check_settings

if TYPE_CHECKING:
    from calaudit.backends.health import Health, Wanted
    from calaudit.graph.model import Model, ModelTensor

_NEXT: Final = "Fix the package: calaudit/backends/base.py says what a backend gives."
_TEXT: Final = Gives("text", (str,), error=BackendError)
_ANYTHING: Final = Gives("anything", error=BackendError)


def guarded(kind: BackendKind, offer: str) -> BackendKind:
    """A backend of another package, held to its contract.

    Raises
    ------
    SettingsError
        Its settings aren't made by `calaudit.runtime.settings.setting`.
    """
    return kind if is_ours(type(kind)) else GuardedKind(kind, offer)


class _Guarded:
    """Something of another package, whose members are asked for one by one."""

    def __init__(self, of: Any, offer: str) -> None:
        self._of = of
        self._offer = offer
        self._file = getattr(sys.modules.get(type(of).__module__), "__file__", None)

    def _call(self, name: str, gives: Gives, *arguments: Any) -> Any:
        function = self._value(name, _ANYTHING)
        return asked(self._offer, name, gives, self._file, function, *arguments)

    def _value(self, name: str, gives: Gives) -> Any:
        return asked(self._offer, name, gives, self._file, getattr, self._of, name)

    def _texts(self, name: str) -> Mapping[str, str]:
        """A mapping of texts to texts, as reports hold it."""
        gives = Gives("a mapping of texts", (Mapping,), error=BackendError)
        found: Mapping[Any, Any] = self._value(name, gives)
        for key, value in found.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                raise BackendError(
                    f"{self._offer} gave {key!r}: {value!r} in {name}, expected texts",
                    next_step=_NEXT,
                )
        return found


class GuardedKind(_Guarded, BackendKind):
    """A kind of backend of another package."""

    def __init__(self, kind: BackendKind, offer: str) -> None:
        super().__init__(kind, offer)
        self.name = self._value("name", _TEXT)
        self.settings = self._value("settings", _ANYTHING)
        self.needs_gpu = bool(self._value("needs_gpu", _ANYTHING))
        self.keeps_engines = bool(self._value("keeps_engines", _ANYTHING))
        check_settings(self.settings, offer)

    def make(self, settings: Any, site: Site) -> Backend:
        """See `BackendKind`."""
        return GuardedBackend(self._call("make", _ANYTHING, settings, site), self._offer)

    def examine(self, settings: Any, wanted: "Wanted") -> "Health":
        """See `BackendKind`."""
        from calaudit.backends.health import Health  # which looks backends up here

        gives = Gives("Health", (Health,), error=BackendError)
        found: Health = self._call("examine", gives, settings, wanted)
        return found

    def served(self, settings: Any) -> Any:
        """See `BackendKind`."""
        gives = Gives("its settings", (self.settings,), error=BackendError)
        return self._call("served", gives, settings)

    def at_a_time(self, settings: Any, n_bytes: int | None) -> int:
        """See `BackendKind`."""
        gives = Gives("a whole number", (int,), error=BackendError)
        return max(1, int(self._call("at_a_time", gives, settings, n_bytes)))

    def obstacles(self, settings: Any, wanted: "Wanted") -> Iterable[Missing]:
        """See `BackendKind`."""
        gives = Gives("values of Missing", (Missing,), each=True, error=BackendError)
        found: Iterable[Missing] = self._call("obstacles", gives, settings, wanted)
        return found

    def int8(self, settings: Any, methods: Sequence[str], batching: Batching) -> Iterator[Int8]:
        """See `BackendKind`."""
        gives = Gives("values of Int8", (Int8,), each=True)
        yield from self._call("int8", gives, settings, methods, batching)


class GuardedBackend(_Guarded):
    """A backend of another package."""

    @property
    def name(self) -> str:
        """See `Backend`."""
        return str(self._value("name", _TEXT))

    @property
    def capabilities(self) -> Capabilities:
        """See `Backend`."""
        gives = Gives("Capabilities", (Capabilities,), error=BackendError)
        found: Capabilities = self._value("capabilities", gives)
        return found

    @property
    def key(self) -> str:
        """See `Backend`."""
        return str(self._value("key", _TEXT))

    @property
    def environment(self) -> Mapping[str, str]:
        """See `Backend`."""
        return self._texts("environment")

    def check(self, model: "Model") -> None:
        """See `Backend`."""
        self._call("check", _ANYTHING, model)

    def load(self, model: "Model") -> Engine:
        """See `Backend`."""
        return _held(self._call("load", _ANYTHING, model), self._offer, model)

    def make(self, order: Order) -> BuiltEngine:
        """See `Backend`."""
        gives = Gives("a BuiltEngine", (BuiltEngine,), error=BackendError)
        built: BuiltEngine = self._call("make", gives, order)
        notices: Any = built.notices
        kernels = get_args(Kernels)
        if built.kernels not in kernels:
            wrong = f"kernels = {built.kernels!r}, expected one of {', '.join(kernels)}"
        elif not isinstance(notices, tuple) or not all(isinstance(n, Notice) for n in notices):
            wrong = f"notices = {notices!r}, expected a tuple of Notice"
        elif built.engine is None and order.to_run:
            wrong = "no engine, though it is to be run"
        else:
            engine = built.engine
            held = None if engine is None else _held(engine, self._offer, order.model)
            return replace(built, engine=held)
        raise BackendError(
            f"{self._offer} gave a BuiltEngine with {wrong}", where=order.what, next_step=_NEXT
        )


class GuardedEngine(_Guarded):
    """An engine of another package: of a model's outputs each, of its element type."""

    def __init__(self, engine: Any, offer: str, model: "Model") -> None:
        super().__init__(engine, offer)
        self._dtypes = {each.name: each.dtype for each in model.outputs}
        self._label = model.label
        lacking = [name for name in self._dtypes if name not in self.outputs]
        if lacking:
            raise self._wrong(f"an engine without the model's output {lacking[0]!r}")

    @property
    def inputs(self) -> "tuple[ModelTensor, ...]":
        """See `Engine`."""
        from calaudit.graph.model import ModelTensor  # which imports onnx

        gives = Gives("values of ModelTensor", (ModelTensor,), each=True, error=BackendError)
        return tuple(self._value("inputs", gives))

    @property
    def outputs(self) -> tuple[str, ...]:
        """See `Engine`."""
        gives = Gives("names of outputs", (str,), each=True, error=BackendError)
        return tuple(self._value("outputs", gives))

    @property
    def record(self) -> Mapping[str, str]:
        """See `Engine`."""
        return self._texts("record")

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Engine`."""
        gives = Gives("a dict of arrays", (dict,), error=BackendError)
        found: dict[str, NDArray[Any]] = self._call("run", gives, feeds)
        names = self.outputs
        if set(found) != set(names):
            raise self._wrong(f"outputs {list(found)} from run, expected {list(names)}")
        for name, values in found.items():
            if not isinstance(values, np.ndarray):
                raise self._wrong(f"{type(values).__name__} for output {name!r}, expected an array")
            wanted = self._dtypes.get(name, values.dtype)
            if values.dtype != wanted or values.dtype.kind not in "biuf":
                raise self._wrong(f"{values.dtype} for output {name!r}, which is {wanted}")
        return {name: found[name] for name in names}

    def close(self) -> None:
        """See `Engine`."""
        self._call("close", _ANYTHING)

    def _wrong(self, what: str) -> BackendError:
        return BackendError(f"{self._offer} gave {what}", where=self._label, next_step=_NEXT)


class GuardedTimedEngine(GuardedEngine):
    """An engine of another package that times itself."""

    def measure(self, feeds: Mapping[str, NDArray[Any]], block: Block) -> Times:
        """See `Timed`."""
        gives = Gives("Times", (Times,), error=BackendError)
        found: Times = self._call("measure", gives, feeds, block)
        host, device = np.asarray(found.host_ms), found.device_ms
        if host.ndim != 1 or not host.size or not (np.isfinite(host) & (host >= 0)).all():
            raise self._wrong(f"host_ms of shape {host.shape} from measure, expected times of runs")
        if device is not None and np.shape(device) != host.shape:
            raise self._wrong(f"{np.shape(device)} device_ms and {host.shape} host_ms from measure")
        return found

    def memory(self) -> EngineMemory:
        """See `Timed`."""
        gives = Gives("EngineMemory", (EngineMemory,), error=BackendError)
        found: EngineMemory = self._call("memory", gives)
        return found

    def layers(self, feeds: Mapping[str, NDArray[Any]], runs: int) -> tuple[LayerTime, ...]:
        """See `Timed`."""
        gives = Gives("values of LayerTime", (LayerTime,), each=True, error=BackendError)
        return tuple(self._call("layers", gives, feeds, runs))


def _held(engine: Any, offer: str, model: "Model") -> GuardedEngine:
    """An engine of another package, which times itself where it offers to."""
    kind = GuardedTimedEngine if hasattr(engine, "measure") else GuardedEngine
    return kind(engine, offer, model)
