"""Which TensorRT is here, and what it can do: asked of the library itself, never of its version.

Typed use of what was found, checked against ``tensorrt-stubs``, within a function::

    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
"""

import importlib
import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Literal

from calaudit.backends.base import Missing
from calaudit.runtime.errors import BackendError

Library = Literal["tensorrt", "tensorrt_rtx"]

MODULES: Final[Mapping[Library, tuple[str, ...]]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Names a library may be imported by, the usual one first."""
TITLES: Final[Mapping[Library, str]] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}

INSTALL_TENSORRT: Final = "python -m pip install 'calaudit[tensorrt]'"
INSTALL_IMPLICIT: Final = "python -m pip install 'tensorrt>=8.6,<11' 'pycuda>=2024.1'"
INSTALL_EXPLICIT: Final = "python -m pip install 'tensorrt>=10' 'pycuda>=2024.1'"
INSTALL_RTX: Final = "python -m pip install 'calaudit[rtx]'"
INSTALL_PYCUDA: Final = "python -m pip install 'pycuda>=2024.1'"
INSTALL_LINES: Final[Mapping[Library, str]] = {
    "tensorrt": INSTALL_TENSORRT,
    "tensorrt_rtx": INSTALL_RTX,
}


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a TensorRT offers, by the names it has."""

    implicit: bool
    """Calibrators and the INT8 flag: quantization without Q/DQ in the graph (up to 10)."""
    strongly_typed: bool
    """Networks that keep the graph's types, so that Q/DQ and FP16 mean what they say."""
    builds_without_gpu: bool
    """Engines for a named compute capability, on a machine without that GPU."""
    progress: bool
    """``IProgressMonitor``: a build can be watched and cancelled."""
    inspector: bool
    """Engines that say what their layers run in."""
    timing_cache: bool
    """Measurements of kernels that can be kept between builds."""


@dataclass(frozen=True, slots=True)
class TensorrtModule:
    """A TensorRT that was imported."""

    library: Library
    module: ModuleType
    version: str
    """As the library gives it: ``10.16.1.11``."""
    abilities: Abilities

    @property
    def title(self) -> str:
        """``TensorRT 10.16.1.11``."""
        return f"{TITLES[self.library]} {self.version}"


def find_tensorrt(library: Library) -> TensorrtModule | Missing:
    """Import a TensorRT, if it is here, and ask what it can do."""
    install = INSTALL_LINES[library]
    failures: list[Missing] = []
    for name in MODULES[library]:
        found = _loaded(name, TITLES[library], install)
        if isinstance(found, ModuleType):
            return _described(library, name, found)
        failures += [found] if _installed(name) else []
    return failures[0] if failures else Missing(TITLES[library], *_not_installed(install))


def require_tensorrt(library: Library) -> TensorrtModule:
    """Import a TensorRT that must be here.

    Raises
    ------
    BackendError
        It isn't installed, or can't be loaded; with the line that installs it.
    """
    found = find_tensorrt(library)
    if isinstance(found, Missing):
        raise BackendError(str(found), next_step=found.next_step)
    return found


def find_pycuda() -> ModuleType | Missing:
    """``pycuda.driver``, not initialised yet, if it is here."""
    # PyPI has its source only, which pip compiles.
    hint = "" if shutil.which("nvcc") else " (with nvcc of NVIDIA's CUDA toolkit on the PATH)"
    install = INSTALL_PYCUDA + hint
    found = _loaded("pycuda", "pycuda", install)
    return found if isinstance(found, Missing) else _loaded("pycuda.driver", "pycuda", install)


def _described(library: Library, name: str, module: ModuleType) -> TensorrtModule | Missing:
    if not hasattr(module, "Builder"):
        return Missing(
            TITLES[library],
            f"is shadowed: `import {name}` finds {_place(module)}, which has no Builder",
            "Rename that file or folder, or run calaudit from another folder.",
        )
    version = str(getattr(module, "__version__", "unknown"))
    return TensorrtModule(library, module, version, _abilities(module))


def _installed(name: str) -> bool:
    """Whether there is code to import: folders without any, such as stubs, don't count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _not_installed(install: str) -> tuple[str, str]:
    return "isn't installed", f"Run: {install}"


def _loaded(name: str, title: str, install: str) -> ModuleType | Missing:
    """Import a module; why it can't be, where it can't."""
    if not _installed(name):
        return Missing(title, *_not_installed(install))
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        # Missing shared libraries are ImportErrors; NVIDIA's packages raise the others.
        reason = " ".join(str(error).split())
        return Missing(
            title,
            f"is installed but can't be loaded: {reason}",
            f"Put its shared libraries and the GPU driver's on LD_LIBRARY_PATH, or run: {install}",
        )


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or list(getattr(module, "__path__", [])))


def _abilities(trt: ModuleType) -> Abilities:
    flags = getattr(trt, "BuilderFlag", None)
    config = getattr(trt, "IBuilderConfig", None)
    engine = getattr(trt, "ICudaEngine", None)
    return Abilities(
        implicit=hasattr(trt, "IInt8EntropyCalibrator2")
        and hasattr(trt, "IInt8MinMaxCalibrator")
        and hasattr(flags, "INT8")
        and hasattr(config, "int8_calibrator"),
        strongly_typed=hasattr(trt, "NetworkDefinitionCreationFlag")
        and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"),
        builds_without_gpu=hasattr(config, "set_compute_capability"),
        progress=hasattr(trt, "IProgressMonitor") and hasattr(config, "progress_monitor"),
        inspector=hasattr(engine, "create_engine_inspector"),
        timing_cache=hasattr(config, "create_timing_cache"),
    )
