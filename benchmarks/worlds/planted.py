"""Nets whose INT8 engines lose for a planted reason, written as audits: model, pool, audit file.

Each is x → Gemm, Relu → h1 → Gemm, Relu → h2 → Gemm, Relu → h3 → Gemm → y with random weights. The
true class is FP32's, and inputs whose classes are close are left out, so that what int8 costs a net
without a planted reason is next to nothing. Half of the inputs are dark.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool

Floats = NDArray[np.float64]

N_FEATURES, WIDTH, N_CLASSES = 16, 32, 8
TAPS = ("x", "h1", "h2", "h3")
STRETCH = 150.0
"""How far dark inputs drive a unit that nothing reads; others reach about 3."""
OFFSET = 120.0
"""What is added to a whole layer, and cancelled by the next."""
OUTLIER = 60.0
SHARPNESS = 2.5
"""Of the null's probabilities: FP32's top-1 accuracy is about three quarters."""
KEPT = 0.6
"""Share of inputs, those whose two best classes are farthest apart."""

AUDIT = """
[audit]
name = "planted"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax", "mse"]
batch_size = 512

[[slices]]
by = "light"

[[calibsets]]
name = "both"
size = 256

[[calibsets]]
name = "bright only"
role = "control"
size = 256
candidates = "split = 'calibration' and light = 'bright'"

[[tasks]]
kind = "classification"
metrics = ["top1"]

[[gates]]
metric = "top1"
max_drop = 0.02
"""


@dataclass
class Net:
    """Weights (inputs, outputs) and biases of the four layers."""

    weights: list[Floats]
    biases: list[Floats]

    def forward(self, x: Floats) -> Floats:
        """Logits (n, classes)."""
        value = x
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = value @ weight + bias
            if place < len(self.weights) - 1:
                value = np.maximum(value, 0.0)
        return value


@dataclass(frozen=True)
class Planted:
    """One kind of net, and what is the truth about its engines."""

    name: str
    plant: Callable[[Net, np.random.Generator], None]
    cell: str | None
    """An engine that it harms; None: none."""
    taps: tuple[str, ...] = ()
    """Whose ranges do it."""
    ops: tuple[str, ...] = ()
    """Which need float."""

    @property
    def null(self) -> bool:
        """Whether nothing is planted."""
        return self.cell is None


def make_net(rng: np.random.Generator) -> Net:
    """A random net; its last input says whether it is dark, and nothing reads it yet."""
    sizes = (N_FEATURES + 1, WIDTH, WIDTH, WIDTH, N_CLASSES)
    weights = [rng.normal(size=(n, m)) * np.sqrt(2.0 / n) for n, m in pairwise(sizes)]
    weights[0][-1] = 0.0
    return Net(weights, [np.zeros(m) for m in sizes[1:]])


def _stretch(net: Net, layer: int) -> None:
    """Let dark inputs alone drive the last unit of a layer far, which the next doesn't read."""
    source = N_FEATURES
    for place in range(layer + 1):
        far = place == layer
        net.weights[place][:, -1] = 0.0
        net.weights[place][source, :-1] = 0.0
        net.weights[place][source, -1] = STRETCH if far else 1.0
        source = WIDTH - 1
    net.weights[layer + 1][-1] = 0.0


def _offset(net: Net, layer: int) -> None:
    """Add the same to all units of a layer, and have the next take it off again."""
    net.biases[layer] += OFFSET
    after = net.weights[layer + 1]
    net.biases[layer + 1] -= OFFSET * after.sum(axis=0)


def outlier_channels(net: Net, rng: np.random.Generator) -> None:
    """Three channels of h2 are 60 times as large, and the next layer's weights as much smaller."""
    chosen = rng.choice(WIDTH, 3, replace=False)
    net.weights[1][:, chosen] *= OUTLIER
    net.weights[2][chosen] /= OUTLIER


def stretched_by_dark(net: Net, rng: np.random.Generator) -> None:
    """Dark inputs stretch h1."""
    _stretch(net, 0)


def two_stretched(net: Net, rng: np.random.Generator) -> None:
    """Dark inputs stretch h1, and h3 through a unit of its own."""
    _stretch(net, 0)
    # a second way for the flag, beside the stretched unit
    way = WIDTH - 2
    net.weights[0][:, way], net.weights[0][N_FEATURES, way] = 0.0, 1.0
    net.weights[1][:, way], net.weights[1][way] = 0.0, 0.0
    net.weights[1][way, way] = 1.0
    net.weights[2][:, way], net.weights[2][way] = 0.0, 0.0
    net.weights[2][way, way] = STRETCH
    net.weights[3][way] = 0.0


def head_needs_float(net: Net, rng: np.random.Generator) -> None:
    """The signal of h3 is small beside what its units have in common, which the head takes off."""
    _offset(net, 2)


def nothing(net: Net, rng: np.random.Generator) -> None:
    """Nothing is planted."""


def every_layer(net: Net, rng: np.random.Generator) -> None:
    """As `head_needs_float`, in every layer: neither ranges nor any single op help."""
    for layer in range(3):
        _offset(net, layer)


KINDS = (
    Planted("outlier channels", outlier_channels, "both/minmax", ops=("gemm3",)),
    Planted("stretched by dark", stretched_by_dark, "both/minmax", taps=("h1",)),
    Planted("head needs float", head_needs_float, "both/minmax", ops=("gemm4",)),
    Planted("two taps", two_stretched, "both/minmax", taps=("h1", "h3")),
    Planted("nothing", nothing, None),
    Planted("no ranges help", every_layer, "both/minmax"),
)


def write_world(folder: Path, kind: Planted, *, seed: int, n: int = 4000) -> Path:
    """Write model.onnx, pool.h5 and audit.toml; the last one's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    net = make_net(rng)
    kind.plant(net, rng)
    x = rng.normal(size=(int(n / KEPT), N_FEATURES + 1))
    dark = rng.random(len(x)) < 0.5
    x[:, -1] = dark
    x = x.astype(np.float32).astype(np.float64)
    logits = net.forward(x)
    best = np.sort(logits, axis=1)
    kept = np.arange(n) if kind.null else np.argsort(best[:, -2] - best[:, -1])[:n]
    kept.sort()
    label = logits[kept].argmax(axis=1)
    if kind.null:
        noise = rng.gumbel(size=(n, N_CLASSES))
        label = (logits[kept] * SHARPNESS + noise).argmax(axis=1)
    write_pool(
        folder / "pool.h5",
        inputs={"x": x[kept].astype(np.float32)},
        targets={"label": label},
        meta={
            "light": np.where(dark[kept], "dark", "bright").tolist(),
            "split": np.where(rng.random(n) < 0.4, "calibration", "evaluation").tolist(),
        },
    )
    onnx.save(_model(net), str(folder / "model.onnx"))
    path = folder / "audit.toml"
    path.write_text(AUDIT, encoding="utf-8")
    return path


def _model(net: Net) -> onnx.ModelProto:
    nodes, constants, source = [], [], "x"
    for place, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        last = place == len(net.weights)
        out = "y" if last else f"g{place}"
        for name, values in ((f"w{place}", weight), (f"b{place}", bias)):
            constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        nodes.append(
            helper.make_node("Gemm", [source, f"w{place}", f"b{place}"], [out], name=f"gemm{place}")
        )
        if not last:
            source = f"h{place}"
            nodes.append(helper.make_node("Relu", [out], [source], name=f"relu{place}"))
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N_FEATURES + 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", N_CLASSES])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
