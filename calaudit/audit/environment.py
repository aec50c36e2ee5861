"""What an audit ran on: versions and hardware, for the report."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from calaudit.version import __version__

PACKAGES = ("numpy", "scipy", "scikit-learn", "h5py", "onnx", "onnxruntime", "polars")


def describe_environment(accelerated: Mapping[str, str]) -> dict[str, str | None]:
    """Versions of what computes, operating system, processor; and what `accelerated` tells."""
    found: dict[str, str | None] = {
        "calaudit": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "gpu": None,
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {**found, **accelerated}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
