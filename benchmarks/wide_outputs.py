"""Bytes on disk and peak memory of an audit of a wide classifier, and of its outputs kept whole.

A classifier of a thousand classes, fifty thousand evaluated samples, eight INT8 engines: synthetic
(a linear model whose labels are its own answers under noise), since only sizes matter here. Each
audit runs in a process of its own, whose highest resident size is told beside that of a process
that imports the same and runs nothing::

    python benchmarks/wide_outputs.py --rows 50000 --classes 1000
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from calaudit.audit.run import run_audit
from calaudit.formats.pool_writer import write_pool

FEATURES, CALIBRATION, BATCH = 64, 512, 250
AUDIT = """
[audit]
name = "wide"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
batch_size = {batch}
keep_outputs = {keep}

[[slices]]
by = "light"

[[calibsets]]
name = "any"
size = 256

[[calibsets]]
name = "bright"
size = 128
candidates = "split = 'calibration' and light = 'bright'"

[[tasks]]
kind = "classification"

[[gates]]
metric = "top1"
max_drop = 0.02
"""


def write_world(folder: Path, rows: int, classes: int) -> None:
    """A pool and a linear classifier."""
    rng = np.random.default_rng(0)
    n = rows + CALIBRATION
    weights = rng.normal(size=(FEATURES, classes)).astype(np.float32)
    bright = rng.random(n) < 0.5
    x = rng.normal(size=(n, FEATURES)).astype(np.float32) * np.where(bright, 3, 1)[:, None]
    label = np.empty(n, np.int64)
    for start in range(0, n, 1000):
        piece = x[start : start + 1000] @ weights
        noise = rng.normal(size=piece.shape).astype(np.float32) * piece.std(axis=1)[:, None] / 2
        label[start : start + 1000] = (piece + noise).argmax(axis=1)
    write_pool(
        folder / "pool.h5",
        inputs={"x": x.astype(np.float32)},
        targets={"label": label},
        meta={
            "split": np.where(np.arange(n) < rows, "evaluation", "calibration"),
            "light": np.where(bright, "bright", "dark"),
        },
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"], name="classify")],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))


def measured(folder: Path, keep: bool) -> dict[str, float]:
    """Run one audit here, and say what it took."""
    name = "kept" if keep else "answers"
    audit = folder / f"{name}.toml"
    audit.write_text(AUDIT.format(batch=BATCH, keep=str(keep).lower()), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    report, _ = run_audit(audit, formats="none")
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = {p.name: p.stat().st_size for p in (folder / name / "predictions").glob("*.h5")}
    fp32 = sum(size for file, size in files.items() if file.startswith("fp32"))
    return {
        "engines": len(report.cells),
        "fp32": fp32,
        "each": (sum(files.values()) - fp32) / len(report.cells),
        "all": sum(files.values()),
        "idle": before * 1024,
        "peak": after * 1024,
        "seconds": seconds,
        "drop": max(r.drop or 0 for r in report.results if r.metric == "top1"),
    }


def main() -> None:
    """Print a table, a row per number of samples and what is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[12_500, 50_000])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(measured(asked.one, asked.keep)))
        return
    heads = "samples", "kept", "engines", "FP32", "an engine", "all", "peak", "over idle", "seconds"
    table = Table(*heads, title=f"{asked.classes:,} classes; megabytes")
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            write_world(Path(folder), rows, asked.classes)
            for keep in (False, True):
                command = [sys.executable, __file__, "--one", folder, *(["--keep"] * keep)]
                ended = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(ended.stdout.splitlines()[-1])
                sizes = [found[key] for key in ("fp32", "each", "all", "peak")]
                sizes.append(found["peak"] - found["idle"])
                table.add_row(
                    f"{rows:,}",
                    "outputs" if keep else "answers",
                    str(found["engines"]),
                    *(f"{size / 1e6:,.1f}" for size in sizes),
                    f"{found['seconds']:.0f}",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
