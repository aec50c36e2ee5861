"""A program that loads a model into onnxruntime, runs it, and prints how much memory that took.

It is asked on its standard input, in JSON: ``model``, ``feeds`` (input → .npy file), ``how``.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from calaudit.backends.onnxruntime.options import How

RUNS: Final = 3
"""Of the batch: the second one takes what the first let go."""


def _in_bytes(key: str) -> int | None:
    """``VmRSS`` or ``VmHWM`` of this process, in bytes; None where the system has no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _growth(asked: Mapping[str, Any]) -> int | None:
    """Bytes by which this process grew at most while it loaded a model and ran it."""
    options = How(*asked["how"]).options()
    feeds = {name: np.load(path) for name, path in asked["feeds"].items()}
    try:  # the highest so far is forgotten: what importing took isn't the engine's
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return None
    before = _in_bytes("VmRSS")
    session = ort.InferenceSession(asked["model"], options, providers=["CPUExecutionProvider"])
    for _ in range(RUNS):
        session.run(None, feeds)
    after = _in_bytes("VmHWM")
    return None if before is None or after is None else after - before


if __name__ == "__main__":
    print(json.dumps({"peak": _growth(json.load(sys.stdin))}))
