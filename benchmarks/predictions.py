"""What an engine's predictions take beside its bare inference, over the rows of the demo's pool.

Ours: a session is made, inputs are read, run and checked, outputs are written and the file is read
back. The peer runs a session that is there over inputs that are in memory, and keeps nothing.

    python benchmarks/predictions.py [--repeats 5]
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, by_turns
from numpy.typing import NDArray

from calaudit.backends.base import Engine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.demo.digits import DEMO_MODEL, write_demo
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.runtime.pool import batches
from calaudit.steps.predict import predict

BATCHES = (64, 256, 1024)
GOAL = 1.3


def engines() -> Iterator[tuple[str, Model]]:
    """The demo's model, and its Q/DQ graph; what its scales are costs nothing."""
    model = load_model(DEMO_MODEL)
    yield "FP32", model
    prepared = prepare(model)
    plan = plan_qdq(prepared)
    yield "INT8", apply_qdq(prepared, plan, dict.fromkeys(plan.taps, 0.05))


@dataclass(frozen=True)
class Rows:
    """All rows of the demo's pool, at hand and in the file."""

    pool: PoolFile
    rows: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]]
    out: Path

    def bare(self, engine: Engine, size: int) -> None:
        """Run them, and keep nothing."""
        for piece in batches(self.rows, size):
            at = slice(int(piece[0]), int(piece[-1]) + 1)
            engine.run({name: values[at] for name, values in self.inputs.items()})

    def ours(self, backend: OnnxruntimeBackend, model: Model, size: int) -> None:
        """All of an engine's life but the making of its graph."""
        engine = backend.load(model)
        predict(engine, self.pool, self.rows, self.out, batch_size=size, what=model.label)
        engine.close()


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Both engines at growing batches."""
    write_demo(folder)
    backend = OnnxruntimeBackend()
    with open_pool(folder / "digits.h5") as pool:
        rows = np.arange(len(pool))
        all_of = Rows(pool, rows, pool.read_inputs(rows), folder / "p.h5")
        for name, model in engines():
            loaded = backend.load(model)
            for size in BATCHES:
                found, peer = by_turns(
                    partial(all_of.ours, backend, model, size),
                    partial(all_of.bare, loaded, size),
                    repeats,
                )
                what = f"an {name} engine's predictions, batches of {size:,}"
                yield Figure(what, found, "its bare inference", peer, goal=GOAL)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(prefix="calaudit-predictions-") as folder:
        for figure in figures(repeats, Path(folder)):
            what, ours, peer, theirs, ratio, verdict = figure.cells()
            print(f"{what:48} {ours:>9} {peer:20} {theirs:>9}  {ratio}  {verdict}", flush=True)


if __name__ == "__main__":
    main()
