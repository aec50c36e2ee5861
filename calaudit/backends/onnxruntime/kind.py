"""onnxruntime as audits name it: its keys in the audit file, and how it is made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from calaudit.backends.base import BackendKind, Int8, Missing, Site
from calaudit.calibration.batching import Batching
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import setting

if TYPE_CHECKING:
    from calaudit.backends.health import Health, Wanted
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
    from calaudit.graph.model import Model

MOST_THREADS: Final = 1024
_HELD: Final = 4
"""Bytes that a session holds for each that is alive (seen with 1.32 on three models: 3 to 4)."""
_AT_A_TIME: Final = 512 << 20
"""Bytes that sessions may hold together which nobody asked to run at a time."""
PREDICTED: Final = "TensorRT's implicit quantization"
Kernels = Literal["emulated", "fused"]
GraphOptimization = Literal["all", "extended", "basic", "none"]


@setting
class OnnxruntimeSettings:
    """Keys of ``[audit]`` that are onnxruntime's."""

    int8: Literal["explicit", "implicit"] = "explicit"
    """What its INT8 engines are: the Q/DQ graph, or predictions of what TensorRT up to 10 makes of
    the model by a calibration."""
    kernels: Kernels = "emulated"
    """How it runs Q/DQ: in float (same on every machine) or in integer kernels."""
    threads: int | None = None
    """None: all cores."""
    graph_optimization: GraphOptimization = "all"
    """What it may do to the graph: onnxruntime's levels."""
    spinning: bool = False
    """Whether its threads wait busily for each other and for the next run, as onnxruntime's do by
    default: both begin sooner, and whatever else runs meanwhile has less of the cores. Memory is
    then planned ahead as well, in a block beside what the first run took."""

    def __post_init__(self) -> None:
        """Refuse numbers of threads that no machine has."""
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise SettingsError(
                f"threads must lie between 1 and {MOST_THREADS} (got {self.threads})"
            )


class OnnxruntimeKind(BackendKind):
    """Engines on the CPU."""

    name = "onnxruntime"
    settings = OnnxruntimeSettings

    def make(self, settings: OnnxruntimeSettings, site: Site) -> "OnnxruntimeBackend":
        """The backend; its threads are divided among the site's jobs."""
        from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
        from calaudit.runtime.compiled import n_cores

        every = settings.threads or n_cores()
        # 0: as many as onnxruntime chooses
        threads = max(1, every // site.jobs) if site.jobs > 1 else settings.threads or 0
        return OnnxruntimeBackend(
            threads=threads,
            kernels=settings.kernels,
            graph_optimization=settings.graph_optimization,
            spinning=settings.spinning,
            all_threads=every,
        )

    def at_a_time(self, settings: OnnxruntimeSettings, n_bytes: int | None) -> int:
        """One for each core where they are small: 24 of the demo took half the time on two cores.

        A large one keeps all cores busy by itself, in the memory of one.
        """
        from calaudit.runtime.compiled import n_cores

        if n_bytes is None:
            return 1
        return max(1, min(settings.threads or n_cores(), _AT_A_TIME // max(1, _HELD * n_bytes)))

    def served(self, settings: OnnxruntimeSettings) -> OnnxruntimeSettings:
        """With integer kernels, threads that wait busily and memory planned ahead: its defaults."""
        return replace(settings, kernels="fused", spinning=True)

    def int8(
        self, settings: OnnxruntimeSettings, methods: Sequence[str], batching: Batching
    ) -> Iterator[Int8]:
        """By Q/DQ; or by scale tables of all tensors, which TensorRT would be given."""
        if settings.int8 == "explicit":
            yield from super().int8(settings, methods, batching)
            return
        for method in methods:
            yield Int8(method=method, given="scales", depends_on={"int8": "implicit"})

    def examine(self, settings: OnnxruntimeSettings, wanted: "Wanted") -> "Health":
        """Run what is wanted."""
        from calaudit.backends.health import Health, run_probe, tried
        from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, library_title

        backend = OnnxruntimeBackend(kernels=settings.kernels)

        def attempt(model: "Model") -> None:
            engine = backend.load(model)
            run_probe(engine)
            engine.close()

        return Health(self.name, library_title(), "CPU", tried(wanted, attempt))

    def obstacles(self, settings: OnnxruntimeSettings, wanted: "Wanted") -> Iterable[Missing]:
        """None: calaudit isn't installed without it, and it says itself what it can't load."""
        return ()


ONNXRUNTIME: Final = OnnxruntimeKind()
