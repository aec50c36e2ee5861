"""Networks of which it is known which products need float, with engines judged by onnxruntime."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.taps import with_taps
from tests.graph.models import Sketch

LAYERS, WIDTH, N = 6, 16, 400
LARGE = 3000.0
NAMES = tuple(f"node_g{number}" for number in range(LAYERS))


def float_net(guilty: Collection[str]) -> Model:
    """Gemm, Relu, … of one width; in what guilty products read, one channel is `LARGE` times more.

    Their weights divide it again, so that FP32 computes what it did: but rounded to 255 steps of
    the large channel, the others are lost.
    """
    s = Sketch(5)
    x = "x"
    for number, name in enumerate(NAMES):
        factors = np.ones(WIDTH, np.float32)
        if name in guilty:
            factors[0] = LARGE
        scaled = s.op("Mul", [x, s.array(f"f{number}", factors)], f"m{number}")
        weight = s.rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH)).astype(np.float32)
        inputs = [scaled, s.array(f"w{number}", weight / factors[:, None])]
        x = s.op("Gemm", inputs, f"g{number}")
        if number < LAYERS - 1:
            x = s.op("Relu", [x], f"r{number}")
    return prepare(Model(s.model({"x": ["b", WIDTH]}, {x: ["b", WIDTH]}), "planted"))


@dataclass(frozen=True)
class Verdict:
    used: float

    @property
    def holds(self) -> bool:
        return self.used <= 1


class Bench:
    """Engines by min-max of one network, run and held against FP32: a gate of 4 % of flips."""

    gate = 0.04

    def __init__(self, guilty: Collection[str]) -> None:
        self._model = float_net(guilty)
        self._backend = OnnxruntimeBackend(threads=1)
        rng = np.random.default_rng(1)
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
