"""TensorRT and TensorRT-RTX as audits name them: keys, what ``doctor`` tries, ways to INT8."""

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from calaudit.backends.base import BackendKind, Int8, Missing, Site
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import setting

if TYPE_CHECKING:
    from calaudit.backends.base import PrecisionProof
    from calaudit.backends.health import Health, Wanted
    from calaudit.backends.tensorrt.backend import TensorrtBackend
    from calaudit.backends.tensorrt.detect import Library, TensorrtModule
    from calaudit.calibration.batching import Batching
    from calaudit.graph.model import Model

CALIBRATORS: Final[Mapping[str, tuple[Literal["entropy", "minmax"], tuple[str, ...]]]] = {
    "native-entropy": ("entropy", ("entropy-trt", "entropy")),
    "native-minmax": ("minmax", ("minmax",)),
}
"""Method of a cell → TensorRT's own calibrator; our methods to hold it against, nearest first."""
_OURS: Final = sorted({name for _, ours in CALIBRATORS.values() for name in ours})
_DRIVER: Final = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


@setting
class TensorrtSettings:
    """Keys of ``[audit]`` that are TensorRT's."""

    int8: Literal["explicit", "implicit"] = "explicit"
    """How it gets INT8: Q/DQ in the graph, or a calibration (up to TensorRT 10)."""
    ranges: tuple[Literal["calaudit", "tensorrt"], ...] = ("calaudit",)
    """Who estimates the ranges of implicit quantization; both are compared."""

    def __post_init__(self) -> None:
        """Refuse keys that don't go together."""
        if not self.ranges or len(set(self.ranges)) < len(self.ranges):
            raise SettingsError("ranges must name calaudit, tensorrt or both, once each")
        if "tensorrt" in self.ranges and self.int8 == "explicit":
            raise SettingsError(
                "TensorRT estimates ranges for implicit quantization only",
                next_step='Add int8 = "implicit", or leave ranges out.',
            )


@setting
class RtxSettings:
    """Keys of ``[audit]`` that are TensorRT-RTX's."""

    compute_capability: str | None = None
    """The GPU to build for, such as ``"8.9"``; None: the one in this machine."""


class TensorrtKind(BackendKind):
    """TensorRT: explicit Q/DQ from 10 on, implicit quantization up to 10."""

    name: "Library" = "tensorrt"
    settings: type[Any] = TensorrtSettings
    needs_gpu = True
    keeps_engines = True

    def make(self, settings: Any, site: Site) -> "TensorrtBackend":
        """The backend, on this machine's GPU."""
        from calaudit.backends.tensorrt.backend import TensorrtBackend

        return TensorrtBackend(
            self.name,
            max_batch=site.batch_size,
            sizes=site.shapes,
            compute_capability=self.capability(settings),
            timing_cache=site.folder / f"{self.name}.timing",
        )

    def examine(self, settings: Any, wanted: "Wanted") -> "Health":
        """Find the library and the GPU; build what is wanted, and run it where there is a GPU."""
        from calaudit.backends.health import Health
        from calaudit.backends.tensorrt.detect import TITLES, find_tensorrt

        found = find_tensorrt(self.name)
        if isinstance(found, Missing):
            absent = (found, *_no_driver())
            return Health(self.name, TITLES[self.name], None, (), ranges=(), absent=absent)
        return _examined(found, wanted, self.capability(settings))

    def obstacles(self, settings: Any, wanted: "Wanted") -> Iterator[Missing]:
        """What doesn't run; for implicit quantization, that there are no calibrators."""
        from calaudit.backends.tensorrt.detect import INSTALL_IMPLICIT

        implicit = self.implicit(settings)
        # A calibration decides what runs in INT8; a Q/DQ graph that can't be built says nothing.
        asked = {name: ops for name, ops in wanted.items() if not (implicit and name == "int8")}
        health = self.examine(settings, asked)
        yield from health.obstacles
        if implicit and health.ranges and "tensorrt" not in health.ranges:
            reason = "has no calibrators: it quantizes by Q/DQ in the graph only"
            step = f'Leave int8 = "implicit" out, or run: {INSTALL_IMPLICIT}'
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


def _examined(found: "TensorrtModule", wanted: "Wanted", capability: str | None) -> "Health":
    from calaudit.backends.health import Health, Trial, run_probe, tried
    from calaudit.backends.tensorrt.backend import TensorrtBackend, inspect_precision
    from calaudit.backends.tensorrt.build import compute_capabilities
    from calaudit.backends.tensorrt.cuda import find_cuda
    from calaudit.graph.products import products

    cuda, targets = find_cuda(), tuple(compute_capabilities(found))
    device = None if isinstance(cuda, Missing) else str(cuda.gpu)
    absent = [cuda, *_no_driver(cuda)] if isinstance(cuda, Missing) else []
    trials: tuple[Trial, ...] = ()
    if device is not None or targets:
        made = TensorrtBackend(found.library, max_batch=2, compute_capability=capability)

        def attempt(model: "Model") -> "PrecisionProof | None":
            if device is None:
                return made.build(model).proof
            engine = made.load(model)
            run_probe(engine)
            proof = inspect_precision(found, engine, products(model))
            engine.close()
            return proof

        trials = tried(wanted, attempt)
    ranges = ("calaudit", "tensorrt") if found.abilities.implicit else ("calaudit",)
    return Health(found.library, found.title, device, trials, targets, ranges, tuple(absent))


def _no_driver(cuda: Missing | None = None) -> Iterator[Missing]:
    """The GPU's driver, unless it is here or `cuda` says already that there is no GPU."""
    from calaudit.backends.tensorrt.cuda import ELSEWHERE

    if cuda is not None and cuda.what == "a GPU":
        return
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        yield Missing("NVIDIA's GPU driver", f"not found: {_DRIVER} can't be loaded", ELSEWHERE)
