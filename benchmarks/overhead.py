"""What calaudit adds to the inference that an audit needs, each beside its peer in the same run.

The demo's audit, stage by stage, beside the bare inference of its engines (of which each is also
built, sealed and described); the report's check, its page, and what a command takes to start.
Prints a table; ratios are medians, with the smallest and the largest of the repeats.

    python benchmarks/overhead.py [--repeats 5]
"""

import argparse
import contextlib
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from figures import Figure, by_turns, seconds, within
from jsonschema import Draft202012Validator

from calaudit.audit.run import run_audit
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.demo.digits import DEMO_MODEL, write_demo
from calaudit.formats.pool import open_pool
from calaudit.formats.ranges import open_ranges
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.report.files import read_report, write_report
from calaudit.report.forms import Evidence, write_forms
from calaudit.results.schema import report_schema, schema_problems
from calaudit.runtime.pool import batches

COMMANDS = {
    "import calaudit": "import calaudit",
    "calaudit --help": "from calaudit.cli.app import app; app(['--help'])",
}


def row(what: str, found: list[float], beside: str, peer: list[float]) -> None:
    """One line: the medians, and the ratio with its spread."""
    ratios = sorted(one / other for one, other in zip(found, peer, strict=True))
    ours, theirs = statistics.median(found), statistics.median(peer)
    spread = f"{statistics.median(ratios):7.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"{what:34} {ours:8.3f} s   {beside:16} {theirs:8.3f} s   {spread}", flush=True)


def audits(repeats: int) -> Path:
    """The demo's audit from nothing; the last one's folder."""
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
    return folder


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


def whole_demo(repeats: int, folder: Path) -> Iterator[Figure]:
    """`calaudit demo` as a command, from its start to its exit; its last files stay in `folder`.

    Of the same runs, what its engines took: each made, sealed, run over its samples and described.
    """
    command = [sys.executable, "-m", "calaudit", "demo", "--out", str(folder)]

    def run() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run()  # compiles what is kept in the user's cache folder
    walls, made, bare = [], [], []
    for _ in range(repeats):
        walls.append(seconds(run))
        report = read_report(folder / "digits" / "report.json")
        made.append(report.timings["predictions"])
        files = [folder / "digits" / str(cell.file) for cell in report.cells]
        bare.append(_bare(folder, [load_model(file, quantized=True) for file in files]))
    yield within("calaudit demo", tuple(walls), 4.0)
    what = f"its {len(report.cells) + 1} engines, made and run"
    yield Figure(what, tuple(made), "bare inference by turns", tuple(bare), goal=1.3)


def reports(path: Path, repeats: int) -> Iterator[Figure]:
    """The check of a report beside jsonschema's, its forms beside the JSON text alone."""
    report, document = read_report(path), json.loads(path.read_text(encoding="utf-8"))
    again = path.with_name("again.json")
    validator = Draft202012Validator(dict(report_schema()))

    def check() -> None:
        assert not schema_problems(document, where=path)

    turns = by_turns(check, lambda: list(validator.iter_errors(document)), min(repeats, 2))
    yield Figure("is the report valid?", turns[0], "jsonschema", turns[1])
    turns = by_turns(
        lambda: write_report(report, again), lambda: json.dumps(document, indent=1), repeats
    )
    yield Figure("report.json, checked and written", turns[0], "json.dumps", turns[1])
    text = again.read_text(encoding="utf-8")
    evidence = Evidence(open_ranges(next(path.parent.glob("ranges/*.h5"))), text=text)

    def page() -> None:
        write_forms(report, path.parent, ["html"], evidence=evidence)

    page()
    found = tuple(seconds(page) for _ in range(repeats))
    yield within(f"the page of {len(report.results):,} comparisons", found, 0.5)


def starts(repeats: int) -> Iterator[Figure]:
    """Processes that end at once, beside one that imports numpy alone."""

    def started(code: str) -> Callable[[], object]:
        command = [sys.executable, "-c", f"try:\n    {code}\nexcept SystemExit:\n    pass"]
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    for what, code in COMMANDS.items():
        ours, theirs = by_turns(started(code), started("import numpy"), repeats)
        yield Figure(what, ours, "import numpy", theirs)


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """The whole demo, the forms of its report, and what a command takes to start."""
    yield from whole_demo(min(repeats, 3), folder / "demo")
    yield from reports(folder / "demo" / "digits" / "report.json", repeats)
    yield from starts(repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with contextlib.redirect_stderr(io.StringIO()):
        folder = audits(repeats)
    for figure in figures(repeats, folder):
        print("   ".join(figure.cells()), flush=True)


if __name__ == "__main__":
    main()
