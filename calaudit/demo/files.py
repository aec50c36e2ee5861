"""The demo's files, laid out in a folder as a user would have them."""

from pathlib import Path

from calaudit.demo.pool import build_digits_pool
from calaudit.formats.writing import written_aside

DEMO_MODEL = Path(__file__).with_name("digits.onnx")
"""Image (b, 1, 8, 8) float32 → ``logits`` (b, 10) and ``embedding`` (b, 32) of length 1."""

DEMO_AUDIT = Path(__file__).with_name("digits.toml")
"""Audit of that model on the demo's pool."""


def write_demo(folder: Path) -> Path:
    """Write digits.onnx, digits.h5 and, unless it is there, digits.toml; return the last.

    Raises
    ------
    OutputError
        `folder` can't be written.
    """
    build_digits_pool(folder / "digits.h5")
    _copy(DEMO_MODEL, folder / "digits.onnx")
    audit = folder / "digits.toml"
    if not audit.exists():
        _copy(DEMO_AUDIT, audit)
    return audit


def _copy(source: Path, target: Path) -> None:
    with written_aside(target) as aside:
        aside.write_bytes(source.read_bytes())
