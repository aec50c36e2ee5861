"""A GPU that isn't there: TensorRT-RTX played by onnxruntime, in this process or a worker's.

Workers load it as a Dask preload, which calls `dask_setup`.
"""

from typing import Any, ClassVar

import pytest

from calaudit.backends.base import Account, BuiltEngine, Capabilities, Order
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.backends.tensorrt.kind import RtxKind
from calaudit.graph.model import Model
from calaudit.runtime.errors import Notice


class PretendedTensorrt:
    """A backend of a GPU."""

    name = "tensorrt_rtx"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}), needs_gpu=True, concurrent=False
    )
    key = "TensorRT-RTX 1.0 on a pretended GPU"
    environment: ClassVar[dict[str, str]] = {"gpu": "a pretended GPU", "tensorrt_rtx": "1.0"}

    def check(self, model: Model) -> None:
        """Whatever the model: it fits."""

    def load(self, model: Model) -> OnnxruntimeEngine:
        return OnnxruntimeBackend(threads=1).load(model)

    def make(self, order: Order) -> BuiltEngine:
        order.path.parent.mkdir(parents=True, exist_ok=True)
        order.path.touch()
        return BuiltEngine(
            engine=self.load(order.model),
            kernels="fused" if order.precision == "int8" else "float",
            account=Account({}, None),
            notices=(Notice("pretended", "no GPU was used"),),
        )


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Let audits in this process find a GPU."""
    patch.setattr(RtxKind, "obstacles", lambda *_: ())
    patch.setattr(RtxKind, "make", lambda *_: PretendedTensorrt())


def dask_setup(_: Any) -> None:
    pretend(pytest.MonkeyPatch())
