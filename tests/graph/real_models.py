"""The real models, where they are."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
REAL = {
    "power": DATA / "speech" / "power" / "model.onnx",
    "log": DATA / "speech" / "log" / "model.onnx",
    "ranking": DATA / "ranking" / "model.onnx",
    "detection": DATA / "detection" / "model.onnx",
}


def real_model(name: str) -> Path:
    """Path of a real model; skips the test where it is absent."""
    path = REAL[name]
    if not path.is_file():
        pytest.skip(f"the real model {path.relative_to(DATA.parent)} isn't beside the project")
    return path
