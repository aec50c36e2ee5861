"""What engines cost on a GPU, all of it in one run: shows that each part of the measuring works.

python benchmarks/bench_gpu.py                                        # TensorRT-RTX
python benchmarks/bench_gpu.py --library tensorrt --python ~/tensorrt8/python

The ranking model (`../shared/data`, or random weights of its shape) and a small transformer
encoder, in FP32, FP16 and INT8, interleaved with a second copy of FP32: latency from host to host
and on the device, throughput under one and several streams, memory, the GPU's power and clocks,
layers with their nodes, what leaving the slowest product in float would cost; then the encoder
under each of the compiler's knobs. Parts that `--budget` seconds don't reach are named and left
out. Where TensorRT can't run it says why and does nothing.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engines import DATA, encoder, ranker, variants

from calaudit.backends.gpu_use import gpu_use
from calaudit.backends.health import examine
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.build import TimingCache
from calaudit.backends.tensorrt.engine import TensorrtEngine
from calaudit.backends.tensorrt.knobs import Knobs
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.session import session_of
from calaudit.backends.timed import Block, Times
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.report.bench.wording import bytes_text, three_digits, times
from calaudit.results.bench import BenchedEngine, LayerTime
from calaudit.runtime.errors import BackendError
from calaudit.statistics.float_cost import float_cost
from calaudit.statistics.timing import middle, orders, percentile, ratio

LARGEST = 64
BATCHES = (1, LARGEST)
STREAMS = (1, 4)
RUNS = 20
"""Runs that layers are timed over."""
KNOBS = {
    "level 0": Knobs(optimization_level=0),
    "level 5": Knobs(optimization_level=5),
    "sparsity": Knobs(sparsity=True),
    "fixed shapes": Knobs(fixed_shapes=True),
    "no timing cache": Knobs(timing_cache=False),
    "tf32": Knobs(tf32=True),
}


@dataclass
class Budget:
    """Seconds that are left."""

    end: float

    def left(self, what: str) -> bool:
        """Whether something may begin; says so where it may not."""
        over = time.monotonic() > self.end
        if over:
            print(f"{what}: left out, the time is up")
        return not over


@contextmanager
def told(what: str) -> Iterator[None]:
    """A part that may fail without ending the others."""
    start = time.perf_counter()
    try:
        yield
    except BackendError as error:
        print(f"{what}: {' '.join(str(error).split())[:300]}")
    print(f"({what}: {time.perf_counter() - start:.1f} s)")


def backend(given: argparse.Namespace, knobs: Knobs) -> TensorrtBackend:
    """TensorRT under some knobs."""
    session = session_of(Location(given.library, python=given.python, tf32=knobs.tf32))
    timing = TimingCache(given.out) if knobs.timing_cache else None
    return TensorrtBackend(session, max_batch=LARGEST, timing=timing, knobs=knobs)


def measured(
    engines: Mapping[str, TensorrtEngine], rows: Any, blocks: Mapping[Any, Block], rounds: int
) -> dict[tuple[str, Any], list[Times]]:
    """Blocks of each engine by (name, batch and streams), in orders shuffled and turned."""
    names = list(engines)
    found: dict[tuple[str, Any], list[Times]] = {}
    for order in orders(len(names), rounds, np.random.default_rng(0)):
        for place in order:
            name = names[place]
            for what, block in blocks.items():
                feeds = {key: values[: what[0]] for key, values in rows.items()}
                found.setdefault((name, what), []).append(engines[name].measure(feeds, block))
    return found


def show_times(found: Mapping[tuple[str, Any], list[Times]]) -> None:
    """Latency, throughput, GPU, and ratios over FP32, its own copy's among them."""
    for (name, (batch, streams)), blocks in found.items():
        host = [each.host_ms for each in blocks]
        rates = np.array([batch * len(each.host_ms) / each.seconds for each in blocks])
        line = f"{name:12} batch {batch:4} × {streams}: "
        line += "host P50/95/99 " + "/".join(
            three_digits(percentile(host, q).value) for q in (0.5, 0.95, 0.99)
        )
        if blocks[0].device_ms is not None:
            device = [each.device_ms for each in blocks if each.device_ms is not None]
            line += f" ms, device P50 {three_digits(percentile(device, 0.5).value)}"
        line += f" ms; {three_digits(middle(rates).value)} samples/s"
        print(line)
        show_gpu(blocks, batch, streams)
        for notice in dict.fromkeys(n.message for b in blocks for n in b.notices):
            print(f"{'':14}{notice}")
    for what in dict.fromkeys(what for _, what in found):
        single = _medians(found["fp32", what])
        for name in dict.fromkeys(name for name, _ in found if name != "fp32"):
            speed = times(ratio(single, _medians(found[name, what])))
            same = " (the same engine: 1 has to be inside)" if name == "fp32 again" else ""
            print(f"batch {what[0]} × {what[1]}: {name} is {speed} as fast as fp32{same}")


def show_gpu(blocks: list[Times], batch: int, streams: int) -> None:
    """What the GPU did meanwhile, where it was read."""
    use = gpu_use(blocks, batch=batch, streams=streams)
    if use is None:
        return
    power = use.power_watts.value if use.power_watts else None
    joules = use.energy_joules.value if use.energy_joules else None
    micro = None if joules is None else 1e6 * joules
    readings = [each for block in blocks for each in block.readings]
    held = [each.process_bytes for each in readings if each.process_bytes is not None]
    print(
        f"{'':14}{three_digits(use.utilisation)} used, {three_digits(power)} W, "
        f"{three_digits(micro)} µJ/sample, SM {use.sm_clock_mhz} "
        f"MHz, memory {use.memory_clock_mhz} MHz, {use.temperature_celsius} °C, throttled "
        f"{use.throttled}, {len(readings)} readings, process {bytes_text(max(held, default=None))}"
    )


def _medians(blocks: list[Times]) -> Any:
    return np.array([float(np.median(each.host_ms)) for each in blocks])


def show_memory(name: str, engine: TensorrtEngine) -> None:
    """An engine's memory."""
    found = engine.memory()
    weights, activations, peak = map(
        bytes_text, (found.weights_bytes, found.activations_bytes, found.peak_bytes)
    )
    print(
        f"{name:12} plan {bytes_text(len(engine.plan))}, weights {weights}, activations "
        f"{activations}, peak {peak} at batch {found.batch} ({found.how[:40]} …)"
    )


def show_layers(layers: Mapping[str, tuple[LayerTime, ...]]) -> None:
    """The slowest layers with their nodes, and what float would cost the slowest product."""
    made = {}
    for name, found in layers.items():
        known = sum(each.ms for each in found if each.nodes)
        whole = sum(each.ms for each in found)
        share = known / whole if whole else 0.0
        print(f"{name:12} {len(found)} layers, {three_digits(whole)} ms, {share:.0%} of it by "
              "layers whose nodes are known")  # fmt: skip
        for each in sorted(found, key=lambda one: -one.ms)[:4]:
            print(f"{'':14}{three_digits(each.ms)} ms {each.kind} {each.precision} "
                  f"{each.name[:50]!r} of {each.nodes[:4]}")  # fmt: skip
        made[name] = BenchedEngine(name, "tensorrt", "unknown", "x", "fused", layers=found,
                                   layers_batch=LARGEST)  # fmt: skip
    if "int8" in made and "fp32" in made:
        ops = [each.nodes[0] for each in sorted(made["int8"].layers, key=lambda one: -one.ms)
               if each.nodes and each.precision == "int8"][:1]  # fmt: skip
        print("left in float:", float_cost(ops, made["int8"], made["fp32"]))


def bench(title: str, model: Model, rows: Any, given: argparse.Namespace, budget: Budget) -> None:
    """All parts, of one model."""
    print(f"\n## {title}")
    made = backend(given, Knobs())
    graphs = variants(model, {name: values[:16] for name, values in rows.items()})
    engines: dict[str, TensorrtEngine] = {}
    for name, graph in {**graphs, "fp32 again": graphs["fp32"]}.items():
        if budget.left(f"build {name}"):
            with told(f"build {name}"):
                engines[name] = made.load(graph)
    with told("memory"):
        for name, engine in engines.items():
            show_memory(name, engine)
    blocks = {(n, 1): Block(seconds=given.seconds, least=5, watch=True) for n in BATCHES}
    more = [each for each in STREAMS if each > 1]
    blocks |= {
        (LARGEST, k): Block(seconds=given.seconds, least=5 * k, streams=k, watch=True) for k in more
    }
    if budget.left("times"):
        with told("times"):
            show_times(measured(engines, rows, blocks, given.rounds))
    if budget.left("layers"):
        with told("layers"):
            feeds = {name: values[:LARGEST] for name, values in rows.items()}
            show_layers({name: engine.layers(feeds, RUNS) for name, engine in engines.items()})
    for engine in engines.values():
        engine.close()


def knobs(model: Model, rows: Any, given: argparse.Namespace, budget: Budget) -> None:
    """INT8 (FP32 for TF32) of a model under each knob, beside the same without."""
    print("\n## the compiler's knobs")
    graphs = variants(model, {name: values[:16] for name, values in rows.items()})
    feeds = {name: values[:LARGEST] for name, values in rows.items()}
    for name, turned in KNOBS.items():
        if not budget.left(name):
            continue
        with told(name):
            graph = graphs["fp32" if turned.tf32 else "int8"]
            pair = {"without": backend(given, Knobs()).load(graph)}
            pair[name] = backend(given, turned).load(graph)
            block = {(LARGEST, 1): Block(seconds=given.seconds, least=5)}
            found = measured(pair, feeds, block, given.rounds)
            plain, other = (_medians(found[each, (LARGEST, 1)]) for each in ("without", name))
            gap = max(
                float(np.abs(a - b).max())
                for a, b in zip(pair["without"].run(feeds).values(), pair[name].run(feeds).values(),
                                strict=True)
            )  # fmt: skip
            print(f"{name:16} {times(ratio(plain, other))} as fast as without; answers differ by "
                  f"{gap:.2g} at most; key {backend(given, turned).key}")  # fmt: skip
            for engine in pair.values():
                engine.close()


def main() -> None:
    """Each part, as long as there is time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", choices=["tensorrt", "tensorrt_rtx"], default="tensorrt_rtx")
    parser.add_argument("--python", help="command that starts the interpreter with TensorRT")
    parser.add_argument("--ranking-model", type=Path, default=DATA / "ranking" / "model.onnx")
    parser.add_argument("--out", type=Path, default=Path("engine-results"))
    parser.add_argument("--budget", type=float, default=180, help="seconds")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a block")
    given = parser.parse_args()
    budget = Budget(time.monotonic() + given.budget)
    given.out.mkdir(parents=True, exist_ok=True)
    health = examine(given.library, {"fp32": {"Gemm"}, "int8": {"Gemm"}}, python=given.python)
    if not health.usable:
        print("\n".join(f"{each}\n  → {each.next_step}" for each in health.missing))
        return
    print(json.dumps({"gpu": health.device, "library": health.library}))
    rng = np.random.default_rng(1)
    source = load_model(given.ranking_model) if given.ranking_model.exists() else ranker()
    baskets = {source.inputs[0].name: (rng.random((LARGEST, 1447)) < 0.05).astype(np.float32)}
    bench(f"ranking, {source.label}", source, baskets, given, budget)
    tokens = {"x": rng.normal(0, 1, (LARGEST, 32, 128)).astype(np.float32)}
    knobs(encoder(), tokens, given, budget)
    bench("transformer encoder, 2 layers", encoder(), tokens, given, budget)


if __name__ == "__main__":
    main()
