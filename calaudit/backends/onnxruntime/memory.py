"""Memory that a model takes in onnxruntime: measured in a process that does nothing else."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.options import How
from calaudit.graph.layers import weight_bytes
from calaudit.graph.model import Model, write_model
from calaudit.results.bench import EngineMemory

_TIMEOUT: Final = 600
"""Seconds."""
_HOW: Final = (
    "peak: growth of the resident memory of a process that loads the engine and runs its largest "
    "batch; weights: constants of the graph"
)


def resident_memory(model: Model, how: How, feeds: Mapping[str, NDArray[Any]]) -> EngineMemory:
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
            "how": list(how),
        }
        peak = _ask(asked)
    told = "" if peak is not None else " (the process didn't tell its peak)"
    return EngineMemory(weights, None, peak, n, _HOW + told)


def _ask(asked: Mapping[str, object]) -> int | None:
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "calaudit.backends.onnxruntime.resident"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return int(json.loads(ended.stdout.splitlines()[-1])["peak"])
    except (OSError, subprocess.SubprocessError, LookupError, ValueError, TypeError):
        return None
