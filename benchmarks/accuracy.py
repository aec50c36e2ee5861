"""INT8 accuracy of the demo's and the speech models, by calibration set and method. Prints tables.

The sets of each model's audit are drawn and observed in one FP32 pass, and in a second one for
entropy-trt; every scale table then comes from the one ranges file that they wrote. In brackets:
the lowest accuracy over the slices of the audit's first dimension (sensor noise; signal-to-noise
ratio).

    python benchmarks/accuracy.py [--speech data/speech] [--calibration-batch 64]
                                  [--calibration-order mixed]

examples/speech/README.md says how to get that folder; without it, only the demo is shown.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.config import AuditConfig, read_audit
from calaudit.backends.base import Engine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.batching import Batching
from calaudit.calibration.methods import ALL_METHODS
from calaudit.demo.digits import write_demo
from calaudit.formats.calibset import Calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.ranges import open_ranges
from calaudit.graph.load import load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.runtime.pool import Pool, batches
from calaudit.sampling.recipe import Recipe
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.calibrate import calibrate, scales_from_ranges
from calaudit.steps.sample import draw_calibset

ROOT = Path(__file__).parents[1]
Hits = NDArray[np.bool_]


def draw_sets(config: AuditConfig, pool: Pool, folder: Path) -> dict[str, Calibset]:
    """The audit's own sets, drawn with its seed."""
    return {
        name: draw_calibset(
            pool,
            recipe,
            folder / f"set-{number}.h5",
            seed=config.audit.seed,
            evaluate=config.audit.evaluate,
            candidates=config.audit.calibrate,
        )
        for number, (name, recipe) in enumerate(config.calibsets.items())
        if isinstance(recipe, Recipe)
    }


def hits(engine: Engine, output: str, pool: Pool, rows: NDArray[np.int64]) -> Hits:
    """Whether each sample's largest logit is its label's."""
    found = [engine.run(pool.read_inputs(piece))[output].argmax(1) for piece in batches(rows, 64)]
    right: Hits = np.concatenate(found) == pool.read_target("label", rows)
    return right


def cell(right: Hits, slices: SliceSet) -> str:
    """Accuracy over all samples, and over the worst slice."""
    worst = min(right[mask].mean() for _, mask in slices.masks() if mask.any())
    return f"{right.mean():.1%} ({worst:.1%})"


def print_model(
    title: str, audit: Path, model_path: Path, pool_path: Path, batching: Batching
) -> None:
    """One table: a row per set, a column per method."""
    config = read_audit(audit)
    model = prepare(load_model(model_path))
    plan, backend = plan_qdq(model), OnnxruntimeBackend()
    with tempfile.TemporaryDirectory() as temporary, open_pool(pool_path) as pool:
        folder = Path(temporary)
        sets = draw_sets(config, pool, folder)
        rows = select_rows(config.audit.evaluate, pool)
        slices = evaluate_slices(config.dimensions[:1], pool).take(rows)
        output = model.outputs[0].name
        started = time.perf_counter()
        ranges = folder / "ranges.h5"
        calibrate(model, plan, sets, backend, ranges, batch_size=64, batching=batching)
        passed = time.perf_counter() - started
        observed = open_ranges(ranges).samples
        assert observed is not None  # sets were observed just now
        n = len(observed.ids)
        started = time.perf_counter()
        tables = scales_from_ranges(ranges, groups=list(sets), methods=ALL_METHODS)
        estimated = time.perf_counter() - started
        print(f"\n{title}: {len(rows):,} samples evaluated, FP32 ", end="")
        print(cell(hits(backend.load(model), output, pool, rows), slices))
        print(
            f"two passes over {n} samples {passed:.1f} s, {len(tables)} tables of {len(plan.taps)} "
            f"taps {estimated:.1f} s"
        )
        print(f"{'set':22}" + "".join(f"{method:>17}" for method in ALL_METHODS))
        for name in sets:
            print(f"{name:22}", end="", flush=True)
            for table in tables:
                if table.calibset == name:
                    engine = backend.load(apply_qdq(model, plan, table.scales))
                    right = hits(engine, output, pool, rows)
                    print(f"{cell(right, slices):>17}", end="", flush=True)
            print()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speech", type=Path, default=ROOT / "data" / "speech")
    parser.add_argument("--calibration-batch", type=int, default=64)
    parser.add_argument("--calibration-order", choices=("mixed", "stored"), default="mixed")
    options = parser.parse_args()
    speech = options.speech
    batching = Batching(options.calibration_batch, order=options.calibration_order)
    print(f"entropy-trt in {batching}")
    with tempfile.TemporaryDirectory() as temporary:
        audit = write_demo(Path(temporary))
        model, pool = audit.with_suffix(".onnx"), audit.with_suffix(".h5")
        print_model("digits", audit, model, pool, batching)
    for kind in ("power", "log"):
        model, pool = speech / kind / "model.onnx", speech / kind / "pool.h5"
        if model.exists() and pool.exists():
            audit = ROOT / "audits" / f"speech-{kind}.toml"
            print_model(f"speech, {kind}", audit, model, pool, batching)
        else:
            print(f"\nspeech, {kind}: left out, {model.parent} doesn't hold its model and pool")


if __name__ == "__main__":
    main()
