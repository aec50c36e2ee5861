"""What is here: library, abilities, GPU, and which of the host's memory can be reached."""

from __future__ import annotations

import ctypes
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .build import compute_capabilities
from .cuda import DRIVER, ELSEWHERE
from .errors import Missing

if TYPE_CHECKING:
    from .state import State


def share(
    state: State, arrays: dict[str, Any], *, tokens: dict[str, bytes]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Which of the host's folders are this machine's, too: those whose files have its tokens."""
    found = []
    for path, token in tokens.items():
        try:
            with open(path, "rb") as file:
                same = file.read() == token
        except OSError:
            continue
        if same and os.access(path, os.W_OK):
            found.append(path)
    state.line.arrays.shares = bool(found)
    return {"shared": found}, {}


def look(
    state: State, arrays: dict[str, Any], *, library: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Import TensorRT and find the GPU; what can't be had comes as what is missing."""
    found = state.find_library(library)
    if isinstance(found, Missing):
        return {"library": None, "gpu": None, "missing": [tuple(found), *_no_driver()]}, {}
    gpu = state.find_gpu()
    missing = [] if not isinstance(gpu, Missing) else [tuple(gpu), *_no_driver(gpu)]
    return {
        "library": {
            "name": found.library,
            "version": found.version,
            "abilities": found.abilities._asdict(),
        },
        "gpu": None if isinstance(gpu, Missing) else (gpu.name, gpu.compute_capability),
        "builds_for": list(compute_capabilities(found)),
        "missing": missing,
    }, {}


def learn(
    state: State, arrays: dict[str, Any], *, name: str, text: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take another module of the host's, whose functions are verbs too: for measurements."""
    module = ModuleType(f"{__package__}.{name}")
    exec(compile(text, f"<{__package__}/{name}>", "exec"), module.__dict__)
    sys.modules[module.__name__] = module
    return {}, {}


def memory(state: State, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bytes of the GPU's memory that are free, and all."""
    free, total = state.cuda.driver.mem_get_info()
    return {"free": int(free), "total": int(total)}, {}


def _no_driver(gpu: Missing | None = None) -> list[tuple[str, ...]]:
    """The GPU's driver, unless it is here or `gpu` says already that there is no GPU."""
    if gpu is not None and gpu.what == "a GPU":
        return []
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        reason = f"not found: {DRIVER} can't be loaded"
        return [tuple(Missing("NVIDIA's GPU driver", reason, ELSEWHERE))]
    return []
