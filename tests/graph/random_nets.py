"""Networks with random weights, of which a real TensorRT built implicit engines.

The rules of `calaudit.graph.implicit` weren't read off them. Their weights are those that were
built: the order in which numbers are drawn must not change.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SAMPLE = (3, 64, 64)
"""Shape of a sample of each of them."""


class _Net:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._made = 0

    def constant(self, values: Any) -> str:
        self._made += 1
        name = f"k{self._made}"
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, *shape: int) -> str:
        self._made += 1
        name = f"w{self._made}"
        n_in = np.prod(shape[1:]) if len(shape) > 1 else shape[0]
        values = self._random.standard_normal(shape) * np.sqrt(2 / max(1, n_in))
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def op(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        self._made += 1
        out = f"{op_type}_{self._made}"
        self._nodes.append(helper.make_node(op_type, inputs, [out], name=f"n_{out}", **attributes))
        return out

    def conv(self, x: str, n_in: int, n: int, *, k: int = 3, step: int = 1, groups: int = 1) -> str:
        inputs = [x, self.weight(n, n_in // groups, k, k), self.weight(n)]
        return self.op(
            "Conv", inputs, kernel_shape=[k, k], pads=[k // 2] * 4, strides=[step, step],
            group=groups,
        )  # fmt: skip

    def norm(self, x: str, n: int) -> str:
        scale = self.constant((self._random.random(n) + 0.5).astype(np.float32))
        shift, mean = self.weight(n), self.weight(n)
        spread = self.constant((self._random.random(n) + 0.5).astype(np.float32))
        return self.op("BatchNormalization", [x, scale, shift, mean, spread])

    def clip(self, x: str) -> str:
        return self.op("Clip", [x, self.constant(np.float32(0)), self.constant(np.float32(6))])

    def doubled(self, x: str) -> str:
        return self.op(
            "Resize", [x, "", self.constant(np.array([1, 1, 2, 2], np.float32))], mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip

    def halved(self, x: str) -> str:
        return self.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def classes(self, x: str, n_in: int) -> None:
        x = self.op("Flatten", [self.op("GlobalAveragePool", [x])])
        self.op("Gemm", [x, self.weight(100, n_in), self.weight(100)], transB=1)

    def model(self) -> onnx.ModelProto:
        self._nodes[-1].output[0] = "y"
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", *SAMPLE])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(self._nodes, "net", [x], [y], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet() -> onnx.ModelProto:
    """Residual blocks of 64, 128 and 256 channels."""
    net = _Net(1)
    x = net.op("Relu", [net.norm(net.conv("x", 3, 64, k=7, step=2), 64)])
    x = net.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    n_in = 64
    for n, step in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        y = net.op("Relu", [net.norm(net.conv(x, n_in, n, step=step), n)])
        y = net.norm(net.conv(y, n, n), n)
        same = n_in == n and step == 1
        skip = x if same else net.norm(net.conv(x, n_in, n, k=1, step=step), n)
        x, n_in = net.op("Relu", [net.op("Add", [y, skip])]), n
    net.classes(x, n_in)
    return net.model()


def mobilenet() -> onnx.ModelProto:
    """Inverted residuals with depthwise convolutions and ReLU6."""
    net = _Net(2)
    x = net.clip(net.norm(net.conv("x", 3, 32, step=2), 32))
    n_in = 32
    for n, step in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        wide = 4 * n_in
        y = net.clip(net.norm(net.conv(x, n_in, wide, k=1), wide))
        y = net.clip(net.norm(net.conv(y, wide, wide, step=step, groups=wide), wide))
        y = net.norm(net.conv(y, wide, n, k=1), n)
        x, n_in = net.op("Add", [y, x]) if n_in == n and step == 1 else y, n
    net.classes(x, n_in)
    return net.model()


def unet() -> onnx.ModelProto:
    """Three levels, joined by Concat."""
    net, n = _Net(3), 32
    first = net.op("Relu", [net.conv(net.op("Relu", [net.conv("x", 3, n)]), n, n)])
    second = net.op("Relu", [net.conv(net.halved(first), n, 2 * n)])
    third = net.op("Relu", [net.conv(net.halved(second), 2 * n, 4 * n)])
    up = net.op("Concat", [net.doubled(third), second], axis=1)
    up = net.op("Relu", [net.conv(up, 6 * n, 2 * n)])
    up = net.op("Concat", [net.doubled(up), first], axis=1)
    net.conv(net.op("Relu", [net.conv(up, 3 * n, n)]), n, 11, k=1)
    return net.model()


NETS = {"resnet": resnet, "mobilenet": mobilenet, "unet": unet}


def samples(n: int) -> dict[str, NDArray[np.float32]]:
    """The first `n` samples that each was run on; the first 64 calibrated it."""
    random = np.random.default_rng(3)
    return {name: random.standard_normal((64, *SAMPLE)).astype(np.float32)[:n] for name in NETS}
