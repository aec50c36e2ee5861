"""Implicit engines of TensorRT 8.5.3.1, beside what a CPU predicts of them. Prints two tables.

The real engines were built on an NVIDIA H200 from calibration caches that NVIDIA's calibrators
wrote; what they answered to the 3,600 evaluated recordings of the speech model is among the tests'
data. The predictions are onnxruntime's runs of three Q/DQ graphs with the same scales: the one that
``int8 = "implicit"`` makes, one that rounds every tensor with a range, and one that rounds what
products read, as explicit quantization does.

    python benchmarks/implicit_engines.py [--data ../shared]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.graph.implicit import implicit_graph, plan_implicit
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan, QuantizedActivation, apply_qdq
from calaudit.graph.survey import survey

ROOT = Path(__file__).parents[1]
REAL = json.loads((ROOT / "tests/graph/real_engines.json").read_text(encoding="utf-8"))
Array = NDArray[Any]


def evaluated(data: Path) -> tuple[Array, Array, Array]:
    """Inputs, labels and SNR (dB) of the 3,600 evaluated rows, in the pool's order."""
    with tempfile.TemporaryDirectory() as folder:
        script = data / "data/speech/build"
        subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
        with h5py.File(Path(folder) / "power" / "pool.h5") as pool:
            chosen = pool["meta/split"].asstr()[:] == "evaluation"
            found = (pool["inputs/x"], pool["targets/label"], pool["meta/snr_db"])
            x, label, snr = (each[:][chosen] for each in found)
    return x, label, snr


def everywhere(model: Model, scales: dict[str, float]) -> QdqPlan:
    """Round every tensor with a range."""
    facts, plan = survey(model), plan_implicit(model, scales)
    slots = {name: tuple(facts.readers.get(name, ())) for name in (*facts.inputs, *facts.producers)}
    rounded = tuple(
        QuantizedActivation(name, at) for name, at in slots.items() if at and name in scales
    )
    return QdqPlan(plan.fingerprint, rounded, plan.weights, (), ())


def graphs(model: Model, scales: dict[str, float]) -> Iterator[tuple[str, Model]]:
    """The three predictions."""
    prepared = prepare(model)
    yield "implicit", implicit_graph(model, scales)[0]
    yield "every tensor", apply_qdq(prepared, everywhere(prepared, scales), scales)
    yield "Q/DQ", apply_qdq(prepared, plan_qdq(prepared), scales)


def classes(graph: Model, x: Array, size: int = 64) -> Array:
    """What a graph answers."""
    engine = OnnxruntimeBackend().load(graph)
    pieces = [engine.run({"x": x[at : at + size]})["y"] for at in range(0, len(x), size)]
    found: Array = np.concatenate(pieces).argmax(axis=1)
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    data = parser.parse_args().data
    x, label, snr = evaluated(data)
    model = load_model(data / "data/speech/power/model.onnx")
    reference = classes(model, x)
    levels = sorted(set(snr.tolist()), reverse=True)
    print("| cache | real top-1 | prediction | top-1 | same top-1 |\n|---|---:|---|---:|---:|")
    drops = []
    for name, answers in REAL["speech"].items():
        real = np.array(list(answers), np.int64)
        scales = open_trt_cache(data / f"trt/{name}.cache").scales
        for kind, graph in graphs(model, scales):
            found = classes(graph, x)
            top1, same = (found == label).mean(), (found == real).mean()
            print(f"| {name} | {(real == label).mean():.4f} | {kind} | {top1:.4f} | {same:.4f} |")
            if kind == "implicit":
                drops.append((name, real, found))
    print(f"\n| drop in points, real / predicted | {' | '.join(f'{s:g} dB' for s in levels)} |")
    print("|---|" + "---:|" * len(levels))
    for name, real, found in drops:
        cells = []
        for level in levels:
            here = snr == level
            base = (reference == label)[here].mean()
            lost = (100 * (base - (each == label)[here].mean()) for each in (real, found))
            cells.append(" / ".join(f"{each:.2f}" for each in lost))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
