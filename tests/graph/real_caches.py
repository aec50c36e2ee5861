"""Calibration caches that TensorRT 8.5.3.1 wrote, where they are."""

from pathlib import Path

import pytest

CACHES = Path(__file__).parents[3] / "shared" / "trt"


def real_cache(name: str) -> Path:
    """Path of a real cache of the model ``power``; skips the test where it is absent."""
    path = CACHES / f"{name}.cache"
    if not path.is_file():
        pytest.skip(f"the real cache {path.relative_to(CACHES.parent)} isn't beside the project")
    return path
