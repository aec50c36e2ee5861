"""What leaving a product in float costs in time: predicted by two engines' layers, and built.

For each of a model's products, the most expensive first: what the layers of the INT8 and of the
FP32 engine predict, and the difference of INT8 engines with and without that product in float,
whose runs alternate; in CPU time, so that other programs don't count. On onnxruntime, in integer
kernels, on one thread, with ranges of noise, on which times don't depend.

    python benchmarks/float_cost.py [--model MODEL.onnx] [--batch 64] [--products 8] [--rounds 12]
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, TimedOnnxruntimeEngine
from calaudit.demo.digits import DEMO_MODEL
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.products import products
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.taps import with_taps
from calaudit.results.bench import BenchedEngine
from calaudit.statistics.float_cost import float_cost
from calaudit.statistics.timing import middle, orders

SECONDS = 0.1
"""Of a block."""
RUNS = 60
"""Runs that layers are timed over."""


def benched(name: str, engine: TimedOnnxruntimeEngine, feeds: Any, batch: int) -> BenchedEngine:
    """An engine's layers."""
    return BenchedEngine(
        engine=name, backend="onnxruntime", precision="unknown", fingerprint=name,
        kernels="fused", layers=engine.layers(feeds, RUNS), layers_batch=batch,
    )  # fmt: skip


def differences(
    plain: TimedOnnxruntimeEngine, other: TimedOnnxruntimeEngine, feeds: Any, rounds: int
) -> np.ndarray:
    """CPU milliseconds per run of the other engine less those of the first, round by round."""
    spent = np.empty((rounds, 2))
    for number, order in enumerate(orders(2, rounds, np.random.default_rng(0))):
        for place in order:
            engine, runs = (plain, other)[place], 0
            engine.run(feeds)
            start = time.process_time()
            while runs < 5 or time.process_time() - start < SECONDS:
                engine.run(feeds)
                runs += 1
            spent[number, place] = 1e3 * (time.process_time() - start) / runs
    return spent[:, 1] - spent[:, 0]


def quantized(model: Model, scales: dict[str, float], left: tuple[str, ...] = ()) -> Model:
    """INT8 with some products in float."""
    return apply_qdq(model, plan_qdq(model, float_ops=left), scales)


def main() -> None:
    """One line per product."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--products", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    model, rng = prepare(load_model(given.model)), np.random.default_rng(0)
    feeds = {
        each.name: rng.random((given.batch, *(size or 1 for size in each.shape))).astype(each.dtype)
        for each in model.inputs
    }
    backend = OnnxruntimeBackend(threads=1, kernels="fused")
    taps = plan_qdq(model).taps
    observed = backend.load(with_taps(model, taps)).run(feeds)
    scales = {tap: float(np.abs(observed[tap]).max() or 1) / 127 for tap in taps}
    plain = backend.load(quantized(model, scales))
    int8 = benched("int8", plain, feeds, given.batch)
    single = benched("fp32", backend.load(model), feeds, given.batch)
    asked = [each.name for each in products(quantized(model, scales)) if each.asked == "int8"]
    costs = {name: float_cost([name], int8, single) for name in asked}
    known = {name: cost for name, cost in costs.items() if cost is not None}
    chosen = sorted(known, key=lambda name: -known[name].float_ms)[: given.products]
    whole = sum(each.ms for each in int8.layers)
    print(f"{given.model.name}, batch {given.batch}: {len(known)} of {len(asked)} products have "
          f"layers in both; INT8's layers take {whole:.3g} ms")  # fmt: skip
    print(f"{'product':40} {'INT8':>8} {'FP32':>8} {'beside':>6} {'predicted':>10} {'built':>22}")
    pairs = []
    for name in chosen:
        cost = known[name]
        other = backend.load(quantized(model, scales, (name,)))
        found = middle(differences(plain, other, feeds, given.rounds))
        pairs.append((cost.added_ms, found.value))
        built = f"{found.value:+8.3f} ({found.low:+.3f} … {found.high:+.3f})"
        print(f"{name[-40:]:40} {cost.int8_ms:8.3f} {cost.float_ms:8.3f} {len(cost.beside):6} "
              f"{cost.added_ms:+10.3f} {built}")  # fmt: skip
    if len(pairs) > 2:
        predicted, built = np.array(pairs).T
        print(f"rank correlation of predicted and built: {spearmanr(predicted, built)[0]:.2f}")


if __name__ == "__main__":
    main()
