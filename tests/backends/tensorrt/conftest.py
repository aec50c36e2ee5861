"""Where tests find NVIDIA's bindings: downloaded once, kept in pytest's cache."""

import os
from pathlib import Path

import pytest

from tests.backends.tensorrt.wheels import empty_libraries, installed_wheel

LIBRARIES_10 = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")


@pytest.fixture(scope="session")
def wheel_cache(request: pytest.FixtureRequest) -> Path:
    """Folder for downloads that outlasts the session."""
    cache = request.config.cache
    assert cache is not None
    return cache.mkdir("tensorrt-wheels")


@pytest.fixture(scope="session")
def bindings_10(wheel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that can import the bindings of TensorRT 10.16.1."""
    site = installed_wheel("tensorrt-cu13-bindings==10.16.1.*", wheel_cache)
    libraries = empty_libraries(LIBRARIES_10, tmp_path_factory.mktemp("empty-libraries"))
    return {**os.environ, "PYTHONPATH": str(site), "LD_LIBRARY_PATH": str(libraries)}
