"""Do a bench's intervals hold? An engine against itself, and a bench beside a second one.

    python benchmarks/bench_repeat.py [--runs 24] [--rounds 10] [--seconds 0.03]
                                      [--simulated 400]

Simulated: engines whose true speed is known, on machines that are calm, that drift, that are
disturbed in a fifth of the blocks, or both. Told is how often the 95 % interval holds the true
ratio, by the estimate that benches use, and beside it by Student's t and by a bootstrap over
rounds.

Measured: a convolutional network in onnxruntime, benched again and again by the functions that
`calaudit bench` calls, on whatever this machine does meanwhile. FP32 is measured against a second
and a third session of itself, whose true ratio is 1, and against an engine of half its channels. Of
the latter the truth isn't known: told is in how many pairs of benches the intervals overlap, and
how often one's ratio lies within the other's interval.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from calaudit.audit.bench_entry import Variant
from calaudit.audit.plan import PlannedCell
from calaudit.backends.base import Order
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.bench.contestants import Contestant, Field
from calaudit.bench.machine import look, others_share
from calaudit.bench.measuring import measure
from calaudit.bench.records import noise, ratios
from calaudit.graph.model import Model
from calaudit.results.audited import EngineRecord
from calaudit.results.bench import BenchSettings
from calaudit.results.values import Estimate
from calaudit.statistics.timing import orders, ratio

Floats = NDArray[np.float64]
BATCHES = (1, 16)
SPEED = 1.5
"""Of the simulated engine."""


@dataclass(frozen=True)
class World:
    title: str
    drift: float
    """SD of a step of the machine's level, from block to block."""
    disturbed: float
    """Share of blocks that other programs slow down, by 30 % on average."""


WORLDS = (
    World("calm", 0.0, 0.0),
    World("drifts", 0.03, 0.0),
    World("disturbed", 0.0, 0.2),
    World("drifts, disturbed", 0.03, 0.2),
)


def block_medians(world: World, rounds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(rounds,) each: times of a baseline and of an engine, in the order of a bench."""
    level, found = 0.0, np.empty((2, rounds))
    for number, order in enumerate(orders(2, rounds, rng)):
        for which in order:
            level = 0.95 * level + rng.normal(0, world.drift)
            slow = rng.exponential(0.3) if rng.random() < world.disturbed else 0.0
            speed = np.log(SPEED) if which else 0.0
            found[which, number] = np.exp(level + slow + rng.normal(0, 0.01) - speed)
    return found[0], found[1]


def student(first: Floats, second: Floats) -> Estimate:
    logs = np.log(first / second)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Estimate(np.exp(logs.mean()), np.exp(logs.mean() - half), np.exp(logs.mean() + half))


def bootstrap(first: Floats, second: Floats) -> Estimate:
    logs, rng = np.log(first / second), np.random.default_rng(0)
    means = logs[rng.integers(0, len(logs), (400, len(logs)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(np.exp(logs.mean()), np.exp(low), np.exp(high))


HOW: dict[str, Callable[[Floats, Floats], Estimate]] = {
    "signed rank": ratio,
    "t": student,
    "bootstrap": bootstrap,
}


def holds(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def simulate(runs: int) -> None:
    print(f"Simulated, {runs} benches a row: share of 95 % intervals that hold the truth (width)")
    print(f"{'machine':20} {'rounds':>6}  " + "  ".join(f"{name:>16}" for name in HOW))
    for world in WORLDS:
        for rounds in (6, 12, 20):
            rng = np.random.default_rng(rounds)
            pairs = [block_medians(world, rounds, rng) for _ in range(runs)]
            cells = []
            for how in HOW.values():
                found = [how(*pair) for pair in pairs]
                held = np.mean([holds(each, SPEED) for each in found])
                width = np.median([(e.high or 0.0) - (e.low or 0.0) for e in found])
                cells.append(f"{held:8.3f} ({width:.3f})")
            print(f"{world.title:20} {rounds:6}  " + "  ".join(f"{each:>16}" for each in cells))


def network(channels: int) -> Model:
    """x (b, 3, 32, 32) → four convolutions → y (b, 10)."""
    rng = np.random.default_rng(channels)
    nodes, weights, before, width = [], [], "x", 3
    for i in range(4):
        kernel = rng.normal(0, 0.1, (channels, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes += [
            helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"),
        ]
        before, width = f"r{i}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["p"], "pool"))
    nodes.append(helper.make_node("Flatten", ["p"], ["y"], "flat"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", channels])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    return Model(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), "net")


def contestant(name: str, model: Model, *, copy: bool = False) -> Contestant:
    nowhere = Path("nowhere")
    precision: Any = "fp32" if name == "fp32" else "unknown"
    planned = PlannedCell(name, "onnxruntime", precision, None, None, None, None, nowhere, nowhere)
    backend = OnnxruntimeBackend(kernels="fused", spinning=True)
    order = Order(model=model, precision="fp32", what=name, path=nowhere)
    record = EngineRecord(name, "float")
    return Contestant(planned, Variant(""), backend, order, record, None, copy)


def bench(settings: BenchSettings) -> dict[tuple[str, int], Estimate]:
    """(engine, batch) → ratio of its latency to FP32's: another session, a copy, a narrower net."""
    whole, narrow = network(32), network(16)
    field = Field(
        [
            contestant("fp32", whole),
            contestant("itself", whole),
            contestant("narrow", narrow),
            contestant("fp32", whole, copy=True),
        ]
    )
    rng = np.random.default_rng(0)
    feeds = {n: {"x": rng.normal(size=(n, 3, 32, 32)).astype(np.float32)} for n in BATCHES}
    measured = measure(field.contestants, feeds, settings, layers=False, notices=[])
    found = [*ratios(measured, field, settings.level), *noise(measured, settings.level)]
    return {(e.engine, e.batch or 0): e.ratio for e in found if e.quantity == "latency"}


def repeat(runs: int, rounds: int, seconds: float) -> None:
    before = look()
    found = []
    for run in range(runs):
        settings = BenchSettings(BATCHES, (1,), rounds, seconds, 0.2, run, 0.95)
        found.append(bench(settings))
    share = others_share(before, look())
    busy = "unknown" if share is None else f"{share:.0%}"
    print(
        f"\nMeasured, {runs} benches of {rounds} rounds of {seconds:g} s; other programs took "
        f"{busy} of the processors meanwhile"
    )
    print(f"{'engine':28} {'batch':>5}  {'ratio, median':>13}  {'width':>6}  held")
    for name, title in (("itself", "FP32 against itself"), ("fp32", "FP32's copy (noise floor)")):
        for batch in BATCHES:
            each = [one[name, batch] for one in found]
            held = sum(holds(one, 1.0) for one in each)
            print(row(title, batch, each) + f"  1 in {held} of {runs}")
    for batch in BATCHES:
        each = [one["narrow", batch] for one in found]
        pairs = [(a, b) for i, a in enumerate(each) for b in each[:i]]
        overlap = sum(overlaps(a, b) for a, b in pairs)
        within = sum(holds(a, b.value or 0.0) for a, b in [*pairs, *((b, a) for a, b in pairs)])
        middle = float(np.median([one.value or 0.0 for one in each]))
        held = sum(holds(one, middle) for one in each)
        print(
            row("half its channels", batch, each)
            + f"  intervals overlap in {overlap} of {len(pairs)} pairs of benches; one's ratio in "
            f"the other's interval in {within} of {2 * len(pairs)}; all benches' median in {held} "
            f"of {runs}"
        )


def overlaps(one: Estimate, other: Estimate) -> bool:
    low = max(one.low or 0.0, other.low or 0.0)
    return low <= min(one.high or 0.0, other.high or 0.0)


def row(title: str, batch: int, found: list[Estimate]) -> str:
    middle = np.median([one.value or 0.0 for one in found])
    width = np.median([(one.high or 0.0) - (one.low or 0.0) for one in found])
    return f"{title:28} {batch:5}  {middle:13.3f}  {width:6.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.03)
    parser.add_argument("--simulated", type=int, default=400)
    given = parser.parse_args()
    simulate(given.simulated)
    repeat(given.runs, given.rounds, given.seconds)
