"""Which layers TensorRT's ONNX parser makes of each operator, as seen with TensorRT 8.5.3.1."""

from collections.abc import Callable
from typing import Final

import onnx
from onnx import helper

from calaudit.graph.importer import Importer


def _one_layer(network: Importer, node: onnx.NodeProto) -> None:
    network.result(node)


def _hard_swish(network: Importer, node: onnx.NodeProto) -> None:
    network.layer("Activation", of=("HardSigmoid", node.input), alpha=1 / 6, beta=0.5)
    network.result(node)


def _elementwise(network: Importer, node: onnx.NodeProto) -> None:
    network.result(node)


def _gemm(network: Importer, node: onnx.NodeProto) -> None:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    a, b, *bias = node.input
    a, b = (network.tensor(name) for name in (a, b))
    network.layer("Matrix Multiply", of=("Gemm", [a, b]), **given)
    if bias and bias[0]:
        network.layer("Shuffle", of=("Identity", [network.tensor(bias[0])]))
    network.result(node)


Rule = Callable[[Importer, onnx.NodeProto], None]
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("Conv", "Relu", "HardSigmoid", "ReduceMean", "Sigmoid", "Tanh"), _one_layer),
    **dict.fromkeys(("Add", "Mul", "Sub", "Div"), _elementwise),
    "HardSwish": _hard_swish,
    "Gemm": _gemm,
}
