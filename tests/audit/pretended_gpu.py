"""A GPU that isn't there: TensorRT-RTX played by onnxruntime, in this process or a worker's.

Workers load it as a Dask preload, which calls `dask_setup`.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from calaudit.audit import backends
from calaudit.backends.health import Health
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.formats.engine import EngineFacts
from calaudit.graph.model import Model


class PretendedTensorrt:
    """What an audit uses of `calaudit.backends.tensorrt.backend.TensorrtBackend`."""

    key = "TensorRT-RTX 1.0 on a pretended GPU"
    gpu = "a pretended GPU"
    found = SimpleNamespace(version="1.0")

    def __init__(self, library: str, **_: object) -> None:
        self.name = library

    def check(self, model: Model) -> None:
        """Whatever the model: it fits."""

    def stored(
        self, model: Model, path: Path, *, precision: Any, scales: str | None, **_: object
    ) -> tuple[OnnxruntimeEngine, EngineFacts]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        facts = EngineFacts(
            library="tensorrt_rtx",
            version="1.0",
            gpu=self.gpu,
            compute_capability="9.9",
            model=model.fingerprint,
            scales=scales,
            precision=precision,
            max_batch=100,
            tf32="off",
            proof=None,
            nodes=(),
            notices=({"code": "pretended", "message": "no GPU was used"},),
        )
        return OnnxruntimeBackend(threads=1).load(model), facts


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Let audits in this process find a GPU."""
    health = Health("tensorrt_rtx", "TensorRT-RTX 1.0", "a pretended GPU", (), (), (), ())
    really = backends.examine

    def examine(library: Any, *arguments: Any, **options: Any) -> Health:
        return health if library == "tensorrt_rtx" else really(library, *arguments, **options)

    patch.setattr(backends, "TensorrtBackend", PretendedTensorrt)
    patch.setattr(backends, "examine", examine)


def dask_setup(_: object) -> None:
    pretend(pytest.MonkeyPatch())
