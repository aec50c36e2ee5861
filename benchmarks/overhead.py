"""What calaudit adds to the inference that an audit needs, each beside its peer in the same run.

The demo's audit, stage by stage, beside the bare inference of its engines (of which each is also
built, sealed and described); one engine's predictions at growing batches; the report's check, its
page, and what a command takes to start. Prints a table; ratios are medians, with the smallest and
the largest of the repeats.

    python benchmarks/overhead.py [--repeats 5]
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from calaudit.audit.run import run_audit
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.demo.digits import DEMO_MODEL, write_demo
from calaudit.formats.pool import open_pool
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.report.files import read_report, write_report
from calaudit.report.html.page import html_page
from calaudit.results.report import Report
from calaudit.results.schema import report_schema, schema_problems
from calaudit.runtime.pool import batches
from calaudit.steps.predict import predict

BATCHES = (64, 256, 1024)
COMMANDS = {
    "import calaudit": "import calaudit",
    "calaudit --help": "from calaudit.cli.app import app; app(['--help'])",
}


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def row(what: str, found: list[float], beside: str, peer: list[float]) -> None:
    """One line: the medians, and the ratio with its spread."""
    ratios = sorted(one / other for one, other in zip(found, peer, strict=True))
    ours, theirs = statistics.median(found), statistics.median(peer)
    spread = f"{statistics.median(ratios):7.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"{what:34} {ours:8.3f} s   {beside:16} {theirs:8.3f} s   {spread}", flush=True)


def predictions(folder: Path, repeats: int) -> None:
    """FP32 over all rows of the pool: read, run, reduced to nothing, written."""
    engine = OnnxruntimeBackend().load(load_model(DEMO_MODEL))
    with open_pool(folder / "digits.h5") as pool:
        rows = np.arange(len(pool))
        inputs = pool.read_inputs(rows)
        for size in BATCHES:
            pieces = [
                {name: values[piece] for name, values in inputs.items()}
                for piece in batches(rows, size)
            ]

            def bare(pieces: list[dict[str, Any]] = pieces) -> None:
                for piece in pieces:
                    engine.run(piece)

            def ours(size: int = size) -> None:
                predict(engine, pool, rows, folder / "p.h5", batch_size=size, what="fp32")

            bare(), ours()
            peer = [seconds(bare) for _ in range(repeats)]
            found = [seconds(ours) for _ in range(repeats)]
            row(f"predictions, batches of {size}", found, "bare inference", peer)


def audits(repeats: int) -> tuple[Report, Path]:
    """The demo's audit from nothing; the last one's report, and its folder."""
    walls, bares, stages = [], [], []
    for _ in range(repeats):
        folder = Path(tempfile.mkdtemp(prefix="calaudit-overhead-"))
        audit = write_demo(folder)
        started = time.perf_counter()
        report, written = run_audit(audit)
        walls.append(time.perf_counter() - started)
        stages.append(report.timings)
        files = [written.parent / str(cell.file) for cell in report.cells]
        bares.append(_bare(folder, [load_model(file, quantized=True) for file in files]))
    for name in ("predictions", "statistics"):
        row(f"the demo's {name}", [each[name] for each in stages], "bare inference", bares)
    row("the demo's audit", walls, "bare inference", bares)
    judged = len(report.results)
    each = statistics.median(one["statistics"] for one in stages) / judged * 1e6
    print(f"{'statistics of one comparison':34} {each:8.0f} µs   of {judged:,}")
    return report, folder


def _bare(folder: Path, quantized: list[Model]) -> float:
    """The inference of FP32 and of every engine alone, over samples that are in memory."""
    backend = OnnxruntimeBackend()
    engines = [backend.load(model) for model in (load_model(DEMO_MODEL), *quantized)]
    with open_pool(folder / "digits.h5") as pool:
        split = pool.columns(["split"])["split"].to_numpy()
        inputs = pool.read_inputs(np.flatnonzero(split == "evaluation"))
    rows = np.arange(len(next(iter(inputs.values()))))
    pieces = [{n: v[piece] for n, v in inputs.items()} for piece in batches(rows, 64)]
    return seconds(lambda: [engine.run(piece) for engine in engines for piece in pieces])


def reports(report: Report, folder: Path, repeats: int) -> None:
    """The check of a report beside jsonschema's, its files beside the JSON text alone."""
    path = folder / "again.json"
    write_report(report, path)
    document = json.loads(path.read_text(encoding="utf-8"))
    validator = Draft202012Validator(dict(report_schema()))
    peer = [seconds(lambda: list(validator.iter_errors(document))) for _ in range(repeats)]
    found = [seconds(lambda: schema_problems(document, where=path)) for _ in range(repeats)]
    row("is the report valid?", found, "jsonschema", peer)
    peer = [seconds(lambda: json.dumps(document, indent=1)) for _ in range(repeats)]
    found = [seconds(lambda: write_report(report, path)) for _ in range(repeats)]
    row("report.json, checked and written", found, "json.dumps", peer)
    again = read_report(path)
    found = [seconds(lambda: html_page(again)) for _ in range(repeats)]
    row("the page", found, "json.dumps", peer)


def starts(repeats: int) -> None:
    """Processes that end at once."""

    def start(code: str) -> list[float]:
        command = [sys.executable, "-c", f"try:\n    {code}\nexcept SystemExit:\n    pass"]
        ran = (lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),) * repeats
        return [seconds(each) for each in ran]

    peer = start("import numpy")
    for what, code in COMMANDS.items():
        row(what, start(code), "import numpy", peer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with contextlib.redirect_stderr(io.StringIO()):
        report, folder = audits(repeats)
    predictions(folder, repeats)
    reports(report, folder, repeats)
    starts(repeats)


if __name__ == "__main__":
    main()
