"""TensorRT and TensorRT-RTX as audits name them: keys, what ``doctor`` tries, ways to INT8."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from calaudit.backends.base import BackendKind, Int8, Missing, Site
from calaudit.runtime.errors import BackendError, SettingsError
from calaudit.runtime.settings import setting

if TYPE_CHECKING:
    from calaudit.backends.base import PrecisionProof
    from calaudit.backends.health import Health, Wanted
    from calaudit.backends.tensorrt.backend import TensorrtBackend
    from calaudit.backends.tensorrt.knobs import Knobs
    from calaudit.backends.tensorrt.location import Library, Location
    from calaudit.backends.tensorrt.session import Session
    from calaudit.calibration.batching import Batching
    from calaudit.graph.model import Model

CALIBRATORS: Final[Mapping[str, tuple[Literal["entropy", "minmax"], tuple[str, ...]]]] = {
    "native-entropy": ("entropy", ("entropy-trt", "entropy")),
    "native-minmax": ("minmax", ("minmax",)),
}
"""Method of a cell → TensorRT's own calibrator; our methods to hold it against, nearest first."""
MOST_LEVEL: Final = 5
"""TensorRT's largest optimization level."""
_OURS: Final = sorted({name for _, ours in CALIBRATORS.values() for name in ours})
_EXPLICIT: Final = "'tensorrt>=10'"
_IMPLICIT: Final = "'tensorrt>=10,<11'"
"""What pip installs where no wheel of 8.5.3.1 fits, the last release that PyPI has whole."""
_JETSON: Final = "on a Jetson JetPack's own"
_WITH_CALIBRATORS: Final = (
    f"a TensorRT up to 10: {_JETSON}, else python3.10 -m pip install 'tensorrt==8.5.3.1' "
    f"'pycuda>=2024.1', or with a later Python -m pip install {_IMPLICIT} 'pycuda>=2024.1'"
)


@setting
class Place:
    """Keys of both: where TensorRT is."""

    python: str | None = None
    """Command that starts the interpreter that has TensorRT; None: this one, or ``python3`` by
    SSH."""
    ssh: str | None = None
    """Machine that it is on: ``user@host``, after options of ssh; None: this one."""
    ssh_config: Path | None = None
    """Configuration file of ssh; None: the user's."""
    timeout: float = 900
    """Seconds without a sign of life after which TensorRT counts as hanging."""

    def __post_init__(self) -> None:
        """Refuse places that can't be one."""
        _check_place(self)


@setting
class Compiled(Place):
    """Keys of both: what the compiler is told."""

    optimization_level: int | None = None
    """0 to 5; None: the library's own default."""
    sparsity: bool = False
    """Whether kernels for structured sparse weights may be taken."""
    tf32: bool = False
    """Whether FP32 may be multiplied in TF32."""
    shapes: Literal["dynamic", "fixed"] = "dynamic"
    """Whether engines take batches up to the largest, or that one alone."""

    def __post_init__(self) -> None:
        """Refuse places and levels that can't be one."""
        _check_compiled(self)


@setting
class TensorrtSettings(Compiled):
    """Keys of ``[audit]`` that are TensorRT's."""

    int8: Literal["explicit", "implicit"] = "explicit"
    """How it gets INT8: Q/DQ in the graph, or a calibration (up to TensorRT 10)."""
    ranges: tuple[Literal["calaudit", "tensorrt"], ...] = ("calaudit",)
    """Who estimates the ranges of implicit quantization; both are compared."""
    timing_cache: bool = True
    """Whether builds use the kernel timings of earlier ones."""

    def __post_init__(self) -> None:
        """Refuse keys that don't go together."""
        _check_compiled(self)
        if not self.ranges or len(set(self.ranges)) < len(self.ranges):
            raise SettingsError("ranges must name calaudit, tensorrt or both, once each")
        if "tensorrt" in self.ranges and self.int8 == "explicit":
            raise SettingsError(
                "TensorRT estimates ranges for implicit quantization only",
                next_step='Add int8 = "implicit", or leave ranges out.',
            )


@setting
class RtxSettings(Compiled):
    """Keys of ``[audit]`` that are TensorRT-RTX's."""

    compute_capability: str | None = None
    """The GPU to build for, such as ``"8.9"``; None: the one there."""


def _check_place(settings: Place) -> None:
    if settings.timeout <= 0:
        raise SettingsError(f"timeout must be more than 0 seconds (got {settings.timeout:g})")
    for key, command in (("python", settings.python), ("ssh", settings.ssh)):
        if command is not None and not _words(command):
            raise SettingsError(f"{key} is no command: {command!r}")
    if settings.ssh_config is not None and settings.ssh is None:
        raise SettingsError("ssh_config goes with ssh, which isn't given")
    words = _words(settings.ssh or "host")
    if (len(words) > 1 and not words[0].startswith("-")) or not words[-1].strip("-@"):
        raise SettingsError(
            f"ssh is {settings.ssh!r}",
            next_step="Give the machine, after options of ssh: '-p 2222 user@host'.",
        )


def _check_compiled(settings: Compiled) -> None:
    _check_place(settings)
    level = settings.optimization_level
    if level is not None and not 0 <= level <= MOST_LEVEL:
        raise SettingsError(f"optimization_level must lie between 0 and {MOST_LEVEL} (got {level})")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


class TensorrtKind(BackendKind):
    """TensorRT: explicit Q/DQ from 10 on, implicit quantization up to 10."""

    name: "Library" = "tensorrt"
    settings: type[Any] = TensorrtSettings
    needs_gpu = True
    keeps_engines = True

    def make(self, settings: Any, site: Site) -> "TensorrtBackend":
        """The backend, on the target's GPU."""
        from calaudit.backends.tensorrt.backend import TensorrtBackend
        from calaudit.backends.tensorrt.build import TimingCache
        from calaudit.backends.tensorrt.session import take_session

        knobs = _knobs(settings)
        return TensorrtBackend(
            take_session(_location(self.name, settings)),
            max_batch=site.batch_size,
            sizes=site.shapes,
            compute_capability=self.capability(settings),
            timing=TimingCache(site.folder) if knobs.timing_cache else None,
            knobs=knobs,
        )

    def examine(self, settings: Any, wanted: "Wanted") -> "Health":
        """Find the library and the GPU; build what is wanted, and run it where there is a GPU."""
        from calaudit.backends.health import Health
        from calaudit.backends.tensorrt.location import TITLES
        from calaudit.backends.tensorrt.session import session_of

        session = session_of(_location(self.name, settings))
        try:
            if session.look().library is not None:
                return _examined(session, wanted, self.capability(settings), _knobs(settings))
            absent = session.look().missing
            if self.implicit(settings):
                absent = tuple(_calibrating(each, TITLES[self.name]) for each in absent)
        except BackendError as error:
            absent = tuple(
                Missing(TITLES[self.name], f"can't be used: {each.message}", each.next_step or "")
                for each in error.problems
            )
        place = session.location.named
        title = TITLES[self.name]
        return Health(self.name, title, None, (), ranges=(), absent=absent, interpreter=place)

    def obstacles(self, settings: Any, wanted: "Wanted") -> Iterator[Missing]:
        """What doesn't run; for implicit quantization, that there are no calibrators."""
        implicit = self.implicit(settings)
        # A calibration decides what runs in INT8; a Q/DQ graph that can't be built says nothing.
        asked = {name: ops for name, ops in wanted.items() if not (implicit and name == "int8")}
        health = self.examine(settings, asked)
        yield from health.obstacles
        if implicit and health.ranges and "tensorrt" not in health.ranges:
            reason = "has no calibrators: it quantizes by Q/DQ in the graph only"
            step = (
                f'Leave int8 = "implicit" out, or name in python one that has {_WITH_CALIBRATORS}'
            )
            yield Missing(health.library, reason, step)

    def int8(self, settings: Any, methods: Sequence[str], batching: "Batching") -> Iterator[Int8]:
        """By Q/DQ; or by scale tables handed over as calibration caches, and by its calibrators."""
        if not self.implicit(settings):
            yield from super().int8(settings, methods, batching)
            return
        implicit = {"int8": "implicit"}
        if "calaudit" in settings.ranges:
            for method in methods:
                yield Int8(method=method, given="scales", depends_on=implicit)
        if "tensorrt" not in settings.ranges:
            return
        if not set(_OURS) & set(methods):
            raise SettingsError(
                f"TensorRT has no method among {', '.join(methods)}",
                next_step="Name minmax, entropy or both in methods.",
            )
        depends_on = {**implicit, "batching": str(batching)}
        for name, (_, ours) in CALIBRATORS.items():
            if set(ours) & set(methods):
                yield Int8(method=name, given="calibset", nearest=ours, depends_on=depends_on)

    def implicit(self, settings: Any) -> bool:
        """Whether INT8 comes from a calibration."""
        return isinstance(settings, TensorrtSettings) and settings.int8 == "implicit"

    def capability(self, settings: Any) -> str | None:
        """Compute capability of the GPU to build for; None: the one in this machine."""
        return settings.compute_capability if isinstance(settings, RtxSettings) else None


class RtxKind(TensorrtKind):
    """TensorRT-RTX: explicit Q/DQ only; builds for GPUs that aren't here."""

    name: "Library" = "tensorrt_rtx"
    settings: type[Any] = RtxSettings


TENSORRT: Final = TensorrtKind()
TENSORRT_RTX: Final = RtxKind()


def _knobs(settings: Any) -> "Knobs":
    from calaudit.backends.tensorrt.knobs import Knobs

    return Knobs(
        optimization_level=settings.optimization_level,
        sparsity=settings.sparsity,
        tf32=settings.tf32,
        fixed_shapes=settings.shapes == "fixed",
        timing_cache=getattr(settings, "timing_cache", True),  # RTX has none
    )


def _location(library: "Library", settings: Any) -> "Location":
    from calaudit.backends.tensorrt.location import Location

    return Location(
        library=library,
        python=settings.python,
        ssh=settings.ssh,
        ssh_config=settings.ssh_config,
        timeout=settings.timeout,
        tf32=settings.tf32,
    )


def _calibrating(missing: Missing, title: str) -> Missing:
    """What is missing where calibrators are needed, which the newest TensorRT doesn't have."""
    if missing.what != title or "pip install" not in missing.next_step:
        return missing
    step = missing.next_step.replace(_EXPLICIT, _IMPLICIT)
    why = f"Implicit quantization needs a TensorRT up to 10, {_JETSON}, which pip can't install"
    return replace(missing, next_step=f"{step}. {why}.")


def _examined(
    session: "Session", wanted: "Wanted", capability: str | None, knobs: "Knobs"
) -> "Health":
    from platformdirs import user_cache_path

    from calaudit.backends.health import Health, Trial, run_probe, tried
    from calaudit.backends.tensorrt.backend import TensorrtBackend
    from calaudit.backends.tensorrt.build import TimingCache

    found, library = session.look(), session.location.library
    ranges = ("calaudit", "tensorrt") if found.abilities.get("implicit") else ("calaudit",)
    trials: tuple[Trial, ...] = ()
    if found.device is not None or found.builds_for:
        # Every audit tries these, too: the user's own cache saves it most of the time.
        timing = TimingCache(user_cache_path("calaudit", appauthor=False) / "timing")
        made = TensorrtBackend(
            session, max_batch=2, compute_capability=capability, timing=timing, knobs=knobs
        )

        def attempt(model: "Model") -> "PrecisionProof | None":
            if found.device is None:
                return made.build_only(model)
            engine = made.load(model)
            run_probe(engine)
            proof = made.inspect(engine, model, made.asked(model))
            engine.close()
            return proof

        trials = tried(wanted, attempt)
    return Health(
        library,
        session.title,
        found.device,
        trials,
        found.builds_for,
        ranges,
        found.missing,
        interpreter=session.location.named,
        python=found.python,
    )
