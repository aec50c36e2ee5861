"""Which TensorRT is here, and what it can do: asked of the library itself, never of its version.

Typed use of what was found, checked against ``tensorrt-stubs``, within a function::

    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from types import ModuleType
from typing import NamedTuple

from .errors import Missing

MODULES = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Names a library may be imported by, the usual one first."""
TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
WHOLE = "'tensorrt==8.5.3.1'"
"""The last release that PyPI has whole; its wheels are for CPython up to this one."""
LAST_PYTHON = (3, 10)


class Abilities(NamedTuple):
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
    runs: bool
    """``execute_async_v3`` and what it needs: engines can be run."""
    levels: bool
    """``builder_optimization_level`` (from 8.6)."""


class TensorrtModule(NamedTuple):
    """A TensorRT that was imported."""

    library: str
    module: ModuleType
    version: str
    """As the library gives it: ``10.16.1.11``."""
    abilities: Abilities

    @property
    def title(self) -> str:
        """``TensorRT 10.16.1.11``."""
        return f"{TITLES[self.library]} {self.version}"


def find_tensorrt(library: str) -> TensorrtModule | Missing:
    """Import a TensorRT, if it is here, and ask what it can do."""
    install = install_line(library)
    failures: list[Missing] = []
    for name in MODULES[library]:
        found = _loaded(name, TITLES[library], install)
        if isinstance(found, ModuleType):
            return _described(library, name, found)
        failures += [found] if _installed(name) else []
    return failures[0] if failures else Missing(TITLES[library], *_not_installed(install))


def find_pycuda() -> ModuleType | Missing:
    """``pycuda.driver``, not initialised yet, if it is here."""
    # PyPI has its source only, which pip compiles.
    hint = "" if shutil.which("nvcc") else " (with nvcc of NVIDIA's CUDA toolkit on the PATH)"
    install = f"{_pip()} 'pycuda>=2024.1'{hint}"
    found = _loaded("pycuda", "pycuda", install)
    return found if isinstance(found, Missing) else _loaded("pycuda.driver", "pycuda", install)


def install_line(library: str) -> str:
    """What installs a library for this interpreter."""
    if library == "tensorrt_rtx":
        return f"{_pip()} tensorrt-rtx 'pycuda>=2024.1'"
    what = WHOLE if sys.version_info[:2] <= LAST_PYTHON else "'tensorrt>=10'"
    return f"{_pip()} {what} 'pycuda>=2024.1'"


def _pip() -> str:
    return f"{sys.executable} -m pip install"


def _described(library: str, name: str, module: ModuleType) -> TensorrtModule | Missing:
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
    context = getattr(trt, "IExecutionContext", None)
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
        runs=hasattr(context, "execute_async_v3") and hasattr(trt, "IOutputAllocator"),
        levels=hasattr(config, "builder_optimization_level"),
    )
