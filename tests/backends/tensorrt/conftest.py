"""Where tests find NVIDIA's bindings: downloaded once, with empty libraries to link to."""

import os
from pathlib import Path

import pytest

from tests.backends.tensorrt.empty_libraries import empty_libraries
from tests.wheels import installed_wheel

LIBRARIES = ("libnvinfer.so", "libnvinfer_plugin.so", "libnvonnxparser.so")
LIBRARIES_RTX = ("libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def bindings_10(wheel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that can import the bindings of TensorRT 10.16.1."""
    folder = tmp_path_factory.mktemp("empty-libraries-10")
    return _bindings("10.16.1.*", wheel_cache, folder)


@pytest.fixture(scope="session")
def bindings_11(wheel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that can import the bindings of TensorRT 11.4."""
    folder = tmp_path_factory.mktemp("empty-libraries-11")
    return _bindings("11.4.0.*", wheel_cache, folder)


def _bindings(release: str, wheel_cache: Path, folder: Path) -> dict[str, str]:
    site = installed_wheel(f"tensorrt-cu13-bindings=={release}", wheel_cache)
    major = release.partition(".")[0]
    empty_libraries([f"{name}.{major}" for name in LIBRARIES], folder)
    return _environment(site, folder)


@pytest.fixture(scope="session")
def rtx(wheel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that can import TensorRT-RTX 1.7.1."""
    site = installed_wheel("tensorrt-rtx-cu13-bindings==1.7.1.*", wheel_cache)
    beside = installed_wheel("onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0", wheel_cache)
    folder = tmp_path_factory.mktemp("rtx")
    for name in LIBRARIES_RTX:
        (found,) = beside.rglob(f"{name}*")
        (folder / f"{name}.1").symlink_to(found)
    return _environment(site, folder)


def _environment(site: Path, libraries: Path) -> dict[str, str]:
    path = f"{ROOT}{os.pathsep}{site}"
    return {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": str(libraries)}
