"""Networks of which it is known which products need float, judged by engines of onnxruntime."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.taps import with_taps

LAYERS, WIDTH, N = 6, 16, 400
LARGE = 3000.0
NAMES = tuple(f"node_g{number}" for number in range(LAYERS))


def float_net(guilty: Collection[str], seed: int = 5) -> Model:
    """Gemm, Relu, … of one width; in what guilty products read, one channel is `LARGE` times more.

    Their weights divide it again, so that FP32 computes what it did: but rounded to 255 steps of
    the large channel, the others are lost.
    """
    rng = np.random.default_rng(seed)
    nodes, x = [], "x"
    weights: dict[str, NDArray[np.float32]] = {}
    for number, name in enumerate(NAMES):
        factors = np.ones(WIDTH, np.float32)
        if name in guilty:
            factors[0] = LARGE
        weight = rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH)).astype(np.float32)
        weights |= {f"f{number}": factors, f"w{number}": weight / factors[:, None]}
        nodes.append(helper.make_node("Mul", [x, f"f{number}"], [f"m{number}"]))
        made = "y" if number == LAYERS - 1 else f"g{number}"
        nodes.append(helper.make_node("Gemm", [f"m{number}", f"w{number}"], [made], name=name))
        if made != "y":
            nodes.append(helper.make_node("Relu", [made], [x := f"r{number}"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", WIDTH]) for name in "xy"]
    held = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "planted", ends[:1], ends[1:], held)
    opset = helper.make_opsetid("", 17)
    return prepare(Model(helper.make_model(graph, opset_imports=[opset], ir_version=8), "planted"))


@dataclass(frozen=True)
class Verdict:
    used: float

    @property
    def holds(self) -> bool:
        return self.used <= 1


class Bench:
    """Engines by min-max of one network, run and held against FP32: a gate of 10 % of flips."""

    gate = 0.1

    def __init__(self, guilty: Collection[str], seed: int = 5) -> None:
        self._model = float_net(guilty, seed)
        self._backend = OnnxruntimeBackend(threads=1)
        rng = np.random.default_rng([seed, 1])
        self._x = rng.normal(size=(N, WIDTH)).astype(np.float32)
        taps = plan_qdq(self._model).taps
        observed = self._backend.load(with_taps(self._model, taps)).run({"x": self._x})
        self._scales = {tap: float(np.abs(observed[tap]).max() / 127) for tap in taps}
        self._exact = observed[self._model.outputs[0].name]
        self.engines = 0

    @property
    def products(self) -> Mapping[str, int | None]:
        return count_macs(self._model)

    def judge(self, left: frozenset[str]) -> Verdict:
        found = self._run(left, np.arange(N))
        flips = (found.argmax(axis=1) != self._exact.argmax(axis=1)).mean()
        return Verdict(float(flips) / self.gate)

    def loss(self, left: frozenset[str], rows: NDArray[np.int64]) -> float:
        return float(np.square(self._run(left, rows) - self._exact[rows]).mean())

    def _run(self, left: frozenset[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.engines += 1
        plan = plan_qdq(self._model, float_ops=left)
        engine = self._backend.load(apply_qdq(self._model, plan, self._scales))
        (found,) = engine.run({"x": self._x[rows]}).values()
        return found
