"""A backend of a package of its own, whose library chooses what its engines run in.

It runs them on onnxruntime. Its library's account of them is a file, in the words of TensorRT's
engine inspector: what stands there is read as TensorRT's would be.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.audit.world import N_CLASSES, make_world
from tests.packages import installed, package_of

MEMBERS = '''
from collections import Counter
from dataclasses import replace
from pathlib import Path

from calaudit.backends.base import Account, BackendKind
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.precision import (
    asked_implicitly,
    precision_notices,
    prove,
    read_inspector,
)
from calaudit.graph.products import products
from calaudit.runtime.settings import setting


@setting
class Settings:
    """Keys of ``[audit]``."""

    account: str = ""
    """File that says what the layers run in; empty: the library doesn't tell."""
    implicit: bool = False
    """Take scale tables and FP32 graphs, and ask INT8 of every product."""


class Kind(BackendKind):
    name = "choosing"
    settings = Settings

    def make(self, settings, site):
        return Choosing(settings)

    def int8(self, settings, methods, batching):
        for each in super().int8(settings, methods, batching):
            yield replace(each, given="scales") if settings.implicit else each

    def examine(self, settings, wanted):
        from calaudit.backends.health import Health

        return Health(self.name, "choosing 1", "a CPU", ())

    def obstacles(self, settings, wanted):
        return ()


class Choosing(OnnxruntimeBackend):
    name = "choosing"

    def __init__(self, settings):
        super().__init__(threads=1)
        self._settings = settings

    def make(self, order):
        built = super().make(order)
        if order.precision != "int8":
            return built
        asked = products(order.model)
        asked = asked if order.ranges is None else asked_implicitly(asked)
        path = self._settings.account
        layers = read_inspector(Path(path).read_text(encoding="utf-8")) if path else ()
        proof = prove(asked, layers, "engine inspector") if layers else None
        narrow = Counter(each.op_type for each in asked if each.asked == "int8")
        notices = precision_notices(proof, order.model.label)
        return replace(built, account=Account(dict(narrow), proof), notices=tuple(notices))


KIND = Kind()
'''
NODES = ("matmul", "second", "third")
"""Of `write_chain`'s model: 32, 16 and 16 multiply-accumulates."""


@contextmanager
def choosing(folder: Path) -> Iterator[None]:
    """The package is installed."""
    group = {"calaudit.backends": {"choosing": "KIND"}}
    made = package_of(folder / "choosing", "choosing", group, MEMBERS)
    with installed(made, folder / "metadata"):
        yield


def account(kinds: Mapping[str, str]) -> str:
    """What an inspector says of an engine: node → format of what it reads and of its weights."""
    layers = [
        {
            "Name": f"{node}.w + {node} + PWN(relu)",
            "LayerType": "CaskGemmMatrixMultiply",
            "Inputs": [{"Name": "in", "Dimensions": [1, 4], "Format/Datatype": kind}],
            "Outputs": [{"Name": "out", "Dimensions": [1, 4], "Format/Datatype": "FP32"}],
            "Weights": {"Type": "Float" if "FP32" in kind else "Int8", "Count": 16},
        }
        for node, kind in kinds.items()
    ]
    return json.dumps({"Layers": layers, "Bindings": ["x", "y"]})


def chain_world(folder: Path, audit: str, *, third: str = "MatMul") -> Path:
    """The small world, whose model multiplies by the identity twice more."""
    path = make_world(folder, n=600, audit=audit)
    model = onnx.load(str(folder / "model.onnx"))
    graph = model.graph
    identity = np.eye(N_CLASSES, dtype=np.float32)
    graph.initializer.append(numpy_helper.from_array(identity, "identity"))
    (last,) = (node for node in graph.node if node.op_type == "Add")
    last.output[0] = "logits"
    graph.node.extend([
        helper.make_node("MatMul", ["logits", "identity"], ["again"], name="second"),
        helper.make_node(third, ["again", "identity"], ["y"], name="third"),
    ])  # fmt: skip
    if third == "Einsum":
        graph.node[-1].attribute.append(helper.make_attribute("equation", "bi,ij->bj"))
    onnx.save(model, str(folder / "model.onnx"))
    return path
