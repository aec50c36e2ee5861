"""Backends as tests want them: made where they can be, the test skipped where they can't.

``CALAUDIT_TEST_TENSORRT_PYTHON`` is a command that starts an interpreter with a TensorRT and
pycuda, on a machine with a GPU: tests of the backend tensorrt then run there. Without it they take
this interpreter.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from calaudit.backends.base import Backend, Engine, Site
from calaudit.backends.registry import BACKENDS
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError

FAKES = Path(__file__).parent / "tensorrt" / "fakes"
PYTHON = os.environ.get("CALAUDIT_TEST_TENSORRT_PYTHON")
"""What starts the interpreter with TensorRT; None: this one."""


def played(command: str = shlex.quote(sys.executable), **variables: str) -> str:
    """A command that starts an interpreter with FAKES of TensorRT and pycuda on its path."""
    given = {"PYTHONPATH": str(FAKES), **variables}
    return shlex.join(["env", *(f"{k}={v}" for k, v in given.items())]) + f" {command}"


def make_backend(name: str, folder: Path, keys: Mapping[str, object] | None = None) -> Backend:
    """A backend for batches of 16; skips where something that it needs is missing."""
    kind = BACKENDS.load(name)
    settings = kind.settings(**(keys or {}))
    for missing in kind.examine(settings, {}).absent:
        pytest.skip(str(missing))
    return kind.make(settings, Site(name, folder=folder, batch_size=16, shapes={}))


def load(backend: Backend, model: Model) -> Engine:
    """An engine of `model`; skips where TensorRT's release can't build it."""
    try:
        return backend.load(model)
    except BackendError as error:
        if backend.name.startswith("tensorrt") and "can't build" in str(error):
            pytest.skip(str(error))
        raise
