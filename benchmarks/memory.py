"""What is bound by memory, beside how fast memory is: histograms of activations, sums over slices.

The peer reads the same arrays once, as numpy's maximum does; all on one core. For histograms those
are the activations; for sums over slices the scores of all units and, for each column of slices,
in which one a unit is.

    python benchmarks/memory.py [--repeats 5]
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import Figure, by_turns
from resampling import make_slices

from calaudit.calibration.accumulate import Accumulator
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from calaudit.statistics.tally import describe_units, sums_of

VALUES, UNITS = 16_000_000, 1_000_000


def histograms(repeats: int) -> Figure:
    """Activations after a ReLU, 80 samples in 16 parts."""
    random = np.random.default_rng(0)
    values = np.maximum(random.standard_normal(VALUES, np.float32), 0).reshape(80, -1)
    parts = np.arange(len(values)) % 16

    def ours() -> None:
        Accumulator(["tap"], 16).add(0, values, parts)

    found, peer = by_turns(ours, values.max, repeats)
    size = values.nbytes / 2**20
    return Figure(f"histograms of {size:.0f} MiB of activations", found, "reading them once", peer)


def sums(repeats: int) -> Figure:
    """Right or wrong under FP32 and INT8, which changes 8 %."""
    random = np.random.default_rng(0)
    slices = make_slices(random, UNITS)
    right = random.random(UNITS) < 0.9
    scores = [
        UnitScores(parse_metric("top1"), each)
        for each in (right, right ^ (random.random(UNITS) < 0.08))
    ]
    units = describe_units(UNITS)

    def ours() -> None:
        for _ in sums_of(scores[0], scores[1:], slices, units):
            pass

    def theirs() -> None:
        for column in slices.dimensions:
            column.codes.max()
            for each in scores:
                each.values.max()

    found, peer = by_turns(ours, theirs, repeats)
    what = f"sums over {len(slices.names):,} slices, {UNITS:,} rows"
    return Figure(what, found, "reading codes and scores", peer)


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Both, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    yield histograms(repeats)
    yield sums(repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    with tempfile.TemporaryDirectory() as folder:
        for figure in figures(parser.parse_args().repeats, Path(folder)):
            print(*figure.cells(), sep="  ", flush=True)


if __name__ == "__main__":
    main()
