"""Memory that a model takes in onnxruntime: measured in a process that does nothing else.

Run as a program it is that process: it loads the model, runs it, and prints what that took.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.graph.layers import weight_bytes
from calaudit.graph.model import Model, write_model
from calaudit.results.bench import EngineMemory

if TYPE_CHECKING:
    from calaudit.backends.onnxruntime.sessions import How

RUNS: Final = 3
"""Of the batch: the second one takes what the first let go."""
_TIMEOUT: Final = 600
"""Seconds."""
_HOW: Final = (
    "peak: growth of the resident memory of a process that loads the engine and runs its largest "
    "batch; weights: constants of the graph"
)


def resident_memory(model: Model, how: "How", feeds: Mapping[str, NDArray[Any]]) -> EngineMemory:
    """Memory that a session takes, by the operating system's account of a process of its own.

    Parameters
    ----------
    model : Model
    how : How
    feeds : mapping
        Its largest batch; without one nothing is run and the peak is unknown.
    """
    weights = weight_bytes(model)
    n = len(next(iter(feeds.values()))) if feeds else 0
    if not n:
        return EngineMemory(weights_bytes=weights, how="constants of the graph")
    alone = {name: values[:1] for name, values in feeds.items()} if model.fixed_batch else feeds
    with tempfile.TemporaryDirectory(prefix="calaudit-") as temporary:
        folder = Path(temporary)
        write_model(model, folder / "model.onnx", folder / "weights", location="weights")
        for i, values in enumerate(alone.values()):
            np.save(folder / f"{i}.npy", values)
        asked = {
            "model": str(folder / "model.onnx"),
            "feeds": {name: str(folder / f"{i}.npy") for i, name in enumerate(alone)},
            "how": [how.threads, how.kernels, how.graph_optimization, how.spinning],
        }
        peak = _ask(asked)
    told = "" if peak is not None else " (the process didn't tell its peak)"
    return EngineMemory(weights, None, peak, n, _HOW + told)


def _ask(asked: Mapping[str, object]) -> int | None:
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "calaudit.backends.onnxruntime.memory"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return int(json.loads(ended.stdout.splitlines()[-1])["peak"])
    except (OSError, subprocess.SubprocessError, LookupError, ValueError, TypeError):
        return None


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
    import onnxruntime as ort

    from calaudit.backends.onnxruntime.sessions import How

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
