"""What a backend is: something that turns a model into an engine that can be run.

A package adds one by an entry point of the group ``calaudit.backends`` that names an instance of
`BackendKind`. Nothing here imports a library that runs models, and neither should the module that
the entry point names: audit files are read where none of these libraries is installed.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.runtime.errors import Notice
from calaudit.runtime.settings import setting

if TYPE_CHECKING:
    from calaudit.backends.health import Health, Wanted
    from calaudit.calibration.scales import ScaleTable
    from calaudit.formats.calibset import Calibset
    from calaudit.graph.model import Model, ModelTensor

Precision = Literal["fp32", "fp16", "int8"]
Kernels = Literal["emulated", "fused", "float"]
"""Emulated: Q/DQ computed in float. Fused: by integer kernels. Float: no INT8."""
DEFAULT: Final = "onnxruntime"
"""The backend of audits that name none. Whatever is audited, it observes the ranges; cells of other
backends carry their backend's name."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do on this machine."""

    precisions: frozenset[Precision]
    """What it can build and run."""
    needs_gpu: bool
    concurrent: bool
    """Whether several engines may be made and run at a time, in threads of one process."""
    feeds_scales: bool = False
    """Whether a Q/DQ graph that reads its scales from an input gives the answers of one that holds
    the same scales, to the bit."""
    loads_plans: bool = False
    """Whether it runs engines of its library's own that somebody else built."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a backend needs and that isn't usable here."""

    what: str
    reason: str
    """``isn't installed``, or what went wrong when it was loaded."""
    next_step: str

    def __str__(self) -> str:
        return f"{self.what} {self.reason}"


class Engine(Protocol):
    """A runnable model. One thread at a time uses it."""

    @property
    def inputs(self) -> "tuple[ModelTensor, ...]":
        """What must be fed, without the batch axis."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `run` returns, in this order."""
        ...

    @property
    def record(self) -> Mapping[str, str]:
        """What identifies this engine in a report: library, version, options. Texts only."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a batch of any size.

        Parameters
        ----------
        feeds : mapping
            Input name → array (batch, …) of the input's own dtype, C-ordered or not; entries that
            aren't inputs are ignored. The arrays are read, never kept or written to.

        Returns
        -------
        dict
            Output name → array, (batch, …) where the model's output is batched. The arrays belong
            to the caller: later runs, and `close`, don't touch them.

        Raises
        ------
        BackendError
            An input is missing or doesn't fit, or the engine failed. It can be run again after.
        KeyboardInterrupt
            As soon as the library lets go; whatever the run held is free again.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; it can't be run after. A second time does nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """One way in which a backend gets an INT8 engine from a calibration set."""

    method: str
    """As cells name it: one of the audit's methods, or a name of the backend's own."""
    given: Literal["qdq", "scales", "calibset"] = "qdq"
    """What the backend is given. "qdq": a graph with Q/DQ. "scales": the FP32 graph and a scale
    table. "calibset": the FP32 graph and the set, whose ranges it estimates itself."""
    nearest: tuple[str, ...] = ()
    """For "calibset": the audit's methods to hold its ranges against, the nearest first."""
    depends_on: Mapping[str, object] = field(default_factory=dict)
    """What the engine depends on besides its set, method and `Backend.key`: JSON-like values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An engine that an audit asks for."""

    model: "Model"
    """FP32, FP16 or with Q/DQ."""
    precision: Precision
    what: str
    """The cell, for progress bars."""
    path: Path
    """Ends in ``.engine``: the backend may keep its engine here, and what belongs to it under the
    same stem with the suffixes ``.cache``, ``.json`` and ``.engine.json``. What is kept has to be
    checked against the order when it is found: only the cell's name and `Backend.key` are in it."""
    scales: str | None = None
    """Hash of the scale table behind an INT8 engine."""
    ranges: "ScaleTable | Calibset | None" = None
    """INT8 of an FP32 graph: what `Int8.given` says; None where the graph says everything."""
    method: str | None = None
    """`Int8.method` of a calibration set given in `ranges`."""
    batching: Batching = field(default_factory=Batching)
    """How a calibration set given in `ranges` is cut into batches."""
    float_ops: tuple[str, ...] = ()
    """INT8 of an FP32 graph: nodes of `model` whose layers are to stay in float; empty where the
    graph says everything. `PrecisionProof` doesn't ask INT8 of them."""
    kernels: Literal["emulated", "fused"] | None = None
    """Of a graph that somebody else quantized: how its Q/DQ is computed, where the backend can
    choose; None: as the backend's settings say."""
    plan: bytes | None = None
    """An engine of the library's own that somebody else built, to be run as it is: `model` is the
    FP32 model, whose inputs and outputs it has. Only for backends that load plans."""
    to_run: bool = True
    """False where the engine's answers are known: then it may be left out of what is made."""


@dataclass(frozen=True, slots=True)
class NodePrecision:
    """One product of the graph, as an engine runs it."""

    node: str
    op_type: str
    asked: str
    got: str | None
    """``int8``, ``fp16``, ``fp32``, …; None where nothing is known of the node."""
    reason: str
    """Why it doesn't run in INT8; empty where it does."""
    macs: int | None = None
    """Multiply-accumulates per sample; None where they are unknown."""

    @property
    def ignores_float(self) -> bool:
        """Whether it was to stay in float and runs in INT8."""
        return self.asked == "fp32" and self.got == "int8"


@dataclass(frozen=True, slots=True)
class PrecisionProof:
    """What all products of one engine run in, as its library says."""

    source: str
    """Who said it: ``"engine inspector"``."""
    nodes: tuple[NodePrecision, ...]

    def short_of(self) -> tuple[NodePrecision, ...]:
        """Nodes that run wider than the graph asked, or of which nothing is known."""
        return tuple(n for n in self.nodes if n.asked not in {"fp32", n.got})

    def counts(self, precision: str) -> dict[str, tuple[int, int]]:
        """Op type → (nodes asked to run in `precision`, of these: nodes that do)."""
        asked = Counter(n.op_type for n in self.nodes if n.asked == precision)
        got = Counter(n.op_type for n in self.nodes if n.asked == n.got == precision)
        return {op_type: (n, got[op_type]) for op_type, n in sorted(asked.items())}


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the precision that was asked for, where a library is free to choose."""

    asked: Mapping[str, int]
    """Op type → nodes asked to run in the engine's precision; empty for FP32."""
    proof: PrecisionProof | None
    """None where the library doesn't tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """What came of an order."""

    engine: Engine | None
    """None where it wasn't to be run. Whoever ordered it closes it."""
    kernels: Kernels
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Library, device, and settings that numbers depend on, for the report."""
    account: Account | None = None
    """None where each node runs in what the graph says."""
    notices: tuple[Notice, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)
    """Of ranges given beside the graph: tap → scale in the engine."""


class Backend(Protocol):
    """Makes engines, on this machine and with one audit's settings."""

    @property
    def name(self) -> str:
        """That of its `BackendKind`."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do here."""
        ...

    @property
    def key(self) -> str:
        """What results depend on besides the graph: library, version, kernels, GPU."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What reports say of the machine: ``gpu``, and the library's version under its name."""
        ...

    def check(self, model: "Model") -> None:
        """Look at a model before any work. Raises `BackendError` where no engine can be made."""
        ...

    def load(self, model: "Model") -> Engine:
        """Make an engine of an FP32 or FP16 model, or of one with Q/DQ in it.

        Raises
        ------
        BackendError
            The backend can't build or load this model.
        """
        ...

    def make(self, order: Order) -> BuiltEngine:
        """Make an engine, or take the one that is kept, and say what it is.

        Raises
        ------
        BackendError
            As for `load`, or the ranges can't be applied.
        OutputError
            What should be kept can't be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where a backend works, besides its own settings."""

    name: str
    """The target's: the backend's own, or one of ``[[targets]]``. A file's name may hold it."""
    folder: Path
    """For what it keeps of all engines, such as kernel timings."""
    batch_size: int
    """Most samples of a batch."""
    shapes: Mapping[str, tuple[int, ...]]
    """Input → shape of a sample, for models that leave it free."""
    jobs: int = 1
    """Engines that share this machine's cores at a time, where `Capabilities.concurrent`."""


@setting
class NoSettings:
    """Settings of a backend that has none."""


class BackendKind(ABC):
    """What a package registers: a backend before it is known whether it can be used here."""

    name: str
    """That of its entry point."""
    settings: type[Any] = NoSettings
    """A class made by `calaudit.runtime.settings.setting`, with defaults. Its keys stand in
    ``[audit]`` of audit files that run on the backend, and in ``[[targets]]``; a `Path` is relative
    to the audit file."""
    needs_gpu: bool = False
    """Whether Dask workers without a GPU can't run it."""
    keeps_engines: bool = False
    """Whether it keeps engines of its own at `Order.path`, for reports to name."""

    @abstractmethod
    def make(self, settings: Any, site: Site) -> Backend:
        """The backend, for one audit. Raises `BackendError` where it isn't usable here."""

    @abstractmethod
    def examine(self, settings: Any, wanted: "Wanted") -> "Health":
        """Find its libraries and device, and try what is wanted of it.

        Parameters
        ----------
        settings
            Of this kind's `settings`.
        wanted : mapping
            Precision → op types; see `calaudit.backends.health.tried`.
        """

    def served(self, settings: Any) -> Any:
        """Settings under which engines are benched: those that they would be served with.

        Where a backend audits with what is slow or reproducible and serves with something else. A
        bench's variants are these settings with other values of the keys that they name.
        """
        return settings

    def at_a_time(self, settings: Any, n_bytes: int | None) -> int:
        """How many engines are best run at a time, each on its share of this machine's cores.

        Where an audit isn't told. One engine of a small model can't keep several cores busy.

        Parameters
        ----------
        settings
            Of this kind's `settings`.
        n_bytes : int or None
            What an engine has alive at a time while it runs a batch, weights included; None where
            the model doesn't tell.
        """
        return 1

    def obstacles(self, settings: Any, wanted: "Wanted") -> Iterable[Missing]:
        """What keeps an audit from running on it, found before any work."""
        return self.examine(settings, wanted).obstacles

    def int8(self, settings: Any, methods: Sequence[str], batching: Batching) -> Iterator[Int8]:
        """The INT8 engines that it makes of one calibration set.

        Parameters
        ----------
        settings
            Of this kind's `settings`.
        methods : sequence of str
            The audit's.
        batching : Batching
            How a calibration of the backend's own is to cut a set.

        Raises
        ------
        SettingsError
            Settings and methods don't go together.
        """
        for method in methods:
            yield Int8(method=method)
