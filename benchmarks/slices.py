"""How long slicing and drawing take on a pool of ten million rows, and at what peak memory.

Builds the pool in a temporary folder, runs the commands as a user would, each in a process of its
own, and prints wall and CPU time and peak resident memory:

    python benchmarks/slices.py [--rows 10000000] [--keep FOLDER]
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from figures import Figure, within

from calaudit.formats.pool_writer import PoolWriter

GOAL_SECONDS = 10.0
GOAL_GIB = 2.0
CHUNK = 1_000_000
COMMAND = [sys.executable, "-c", "from calaudit.cli import main; main()"]

BINS = ["--by", "snr_db:edges=-5,0,5,10,20,inf"]
TASKS = {
    "slices: 1 binned column": ["slices", "{pool}", *BINS],
    "slices: bins, 200 speakers, their cross": [
        "slices", "{pool}", *BINS, "--by", "speaker", "--cross", "snr_db,speaker",
    ],
    "slices: all kinds, within a split": [
        "slices", "{pool}", *BINS, "--by", "speaker", "--by", "rms:quantiles=4",
        "--by", "item:tail=0.5,0.8", "--where", "loud=rms > 1 AND speaker LIKE 'speaker 1%'",
        "--cross", "snr_db,speaker", "--cross", "item,snr_db", "--within", "split = 'evaluation'",
    ],
    "sample: 10,000, equal over 6 bins": [
        "sample", "{pool}", "--stratify", "snr_db:edges=-5,0,5,10,20,inf:missing=drop",
        "--allocation", "equal", "--size", "10000", "--seed", "1", "--out", "{folder}/equal.h5",
    ],
}  # fmt: skip

PLAIN = """
import sys

import h5py
import polars as pl

with h5py.File(sys.argv[1]) as file:
    columns = {name: file["meta"][name][:] for name in ("snr_db", "speaker")}
columns["speaker"] = columns["speaker"].astype(str)
frame = pl.DataFrame(columns).with_columns(pl.col("snr_db").cut([-5, 0, 5, 10, 20]))
print(frame.group_by("snr_db", "speaker").len())
"""
"""The second of these, by who knows the columns."""


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_gib: float
    status: int


def build_pool(path: Path, n_rows: int) -> None:
    """Metadata as a recording campaign would have it, and inputs of four numbers."""
    generator = np.random.default_rng(0)
    speakers = pl.Series([f"speaker {number}" for number in range(200)])
    splits = pl.Series(["calibration", "evaluation"])
    levels = np.array([-5, 0, 5, 10, 20, np.inf, np.nan], np.float32)
    with PoolWriter(path) as writer:
        for start in range(0, n_rows, CHUNK):
            n = min(CHUNK, n_rows - start)
            level = levels[generator.choice(7, n, p=[0.1, 0.1, 0.2, 0.2, 0.2, 0.15, 0.05])]
            writer.append(
                {"x": generator.random((n, 4), np.float32)},
                {"label": generator.integers(0, 10, n)},
                {
                    "snr_db": level + generator.integers(0, 5, n).astype(np.float32),
                    "speaker": speakers.gather(generator.integers(0, 200, n)),
                    "rms": generator.lognormal(size=n).astype(np.float32),
                    "item": np.minimum(generator.zipf(1.3, n), 50_000),
                    "split": splits.gather(generator.integers(0, 2, n)),
                },
            )


def run(command: list[str]) -> Cost:
    """Run a command to its end; what it prints is shown only when it fails."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.stderr.write(errors.decode())
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Cost(seconds, cpu_seconds, usage.ru_maxrss * unit / 2**30, process.returncode)


def build(path: Path, n_rows: int) -> None:
    """In a process of its own: a child's peak memory starts from its parent's."""
    builder = multiprocessing.get_context("spawn").Process(target=build_pool, args=(path, n_rows))
    builder.start()
    builder.join()


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Commands on two million rows, beside h5py and polars alone, each a process of its own."""
    pool = folder / "pool.h5"
    build(pool, 2_000_000)
    plain = [sys.executable, "-c", PLAIN, str(pool)]
    peaks: list[float] = []
    for name, arguments in TASKS.items():
        if name == "slices: 1 binned column":
            continue
        command = [*COMMAND, *(each.format(pool=pool, folder=folder) for each in arguments)]
        ours, theirs = [], []
        for repeat in range(-1, repeats):  # the first compiles, and warms the disk's cache
            costs = finished(command), finished(plain)
            if repeat >= 0:
                ours.append(costs[0].seconds)
                theirs.append(costs[1].seconds)
                peaks.append(costs[0].peak_gib * 2**30)
        peer = "h5py and polars: bins × speakers"
        yield Figure(f"{name}, 2 M rows", tuple(ours), peer, tuple(theirs))
    yield within("peaks of these", tuple(peaks), GOAL_GIB * 2**30, unit="B")


def finished(command: list[str]) -> Cost:
    """What a command costs that doesn't fail."""
    cost = run(command)
    if cost.status:
        raise RuntimeError(f"exit status {cost.status}: {' '.join(command)}")
    return cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="build the pool here, or use the one that is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        pool = folder / f"pool-{options.rows}.h5"
        if not pool.exists():
            build(pool, options.rows)
        print(f"{options.rows:,} rows, {pool.stat().st_size / 2**30:.2f} GiB on disk")
        print(f"{'command':42}{'time':>9}{'CPU time':>11}{'peak memory':>14}  goal")
        for name, arguments in TASKS.items():
            own = [each.format(pool=pool, folder=temporary) for each in arguments]
            cost = run([*COMMAND, *own])
            met = cost.seconds <= GOAL_SECONDS and cost.peak_gib <= GOAL_GIB
            verdict = f"failed ({cost.status})" if cost.status else "met" if met else "missed"
            times = f"{cost.seconds:>7.1f} s{cost.cpu_seconds:>9.1f} s"
            print(f"{name:42}{times}{cost.peak_gib:>10.2f} GiB  {verdict}", flush=True)


if __name__ == "__main__":
    main()
