"""Copies the type stubs of TensorRT to a folder that mypy reads, mended so that it can.

    fix_stubs.py OUT

tensorrt-stubs is generated: it has parameters called ``in``, one without a default after others
with one, and a module variable ``bool`` that hides the type. And it carries no ``py.typed``, so
mypy wouldn't look at it where pip installs it.
"""

import re
import sys
import sysconfig
from pathlib import Path

IGNORE = "# mypy: ignore-errors\n"
MENDS = (
    (r"\bin: list\[", "in_: list["),
    (r"(power: Weights = None, channel_axis: int)\b", r"\1 = 0"),
    (r"(-> |: |\[|, |\| )bool\b(?! *=)", r"\1_bool"),
    (r"\A", "from builtins import bool as _bool\n"),
)


def main(out: Path) -> None:
    """Write the mended stubs to `out`."""
    installed = Path(sysconfig.get_path("purelib"))
    for package in ("tensorrt", "tensorrt_bindings"):
        (out / package).mkdir(parents=True, exist_ok=True)
        for source in sorted((installed / package).glob("*.pyi")):
            text = source.read_text(encoding="utf-8")
            if source.name == "tensorrt.pyi":
                text = mended(text)
            (out / package / source.name).write_text(IGNORE + text, encoding="utf-8")


def mended(text: str) -> str:
    """The stub, as mypy can read it."""
    future = "from __future__ import annotations\n"
    text = text.replace(future, "")
    for pattern, replacement in MENDS:
        text, n = re.subn(pattern, replacement, text)
        if not n:
            sys.exit(f"tensorrt-stubs has changed: nothing matches {pattern!r}")
    return future + text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
