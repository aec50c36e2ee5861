"""How long intervals take for a million samples, a thousand overlapping slices, 1,000 replicates.

Ours, a plain numpy loop over resampled rows, and Fairlearn's MetricFrame with its bootstrap (where
it is installed: pip install fairlearn), each in a process of its own, at growing sizes as long as
one takes less than the limit:

    python benchmarks/resampling.py [--rows 1000000] [--limit 60]
"""

import argparse
import importlib.util
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from figures import Figure, by_turns, within

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics.estimate import Levels
from calaudit.statistics.measure import Method, measure
from calaudit.statistics.tally import describe_units

GOAL_SECONDS, GOAL_SECONDS_WITHOUT, GOAL_GIB = 5.0, 1.0, 1.0
REPLICATES = 1000
SIZES = (5, 6, 10, 4, 8, 20, 190)
CROSSES = ((0, 1), (0, 2), (1, 2), (2, 4), (3, 4), (0, 5), (2, 5), (1, 4), (4, 5))


class Took(NamedTuple):
    """What a task took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all threads, which what else the machine does hardly changes."""
    gib: float = 0.0
    """At the peak of a process of its own."""


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        wall, cpu = self._started
        return Took(time.perf_counter() - wall, time.process_time() - cpu)


Task = Callable[[int, int], Took]
"""Rows, replicates → seconds."""


def make_slices(generator: np.random.Generator, n_rows: int) -> SliceSet:
    """1,001 overlapping slices: seven columns, nine crosses of two, and everything."""
    codes = [generator.integers(0, size, n_rows).astype(np.int32) for size in SIZES]
    made = [
        CodedDimension(f"c{i}", tuple(f"c{i} = {j}" for j in range(size)), codes[i])
        for i, size in enumerate(SIZES)
    ]
    for a, b in CROSSES:
        joint = codes[a] * np.int32(SIZES[b]) + codes[b]
        labels = tuple(f"c{a}×c{b} = {j}" for j in range(SIZES[a] * SIZES[b]))
        made.append(CodedDimension(f"c{a}×c{b}", labels, joint))
    return SliceSet(n_rows, tuple(made))


def make_scores(generator: np.random.Generator, n_rows: int) -> tuple[Any, Any]:
    """nDCG per query under FP32 and INT8, which changes 8 % of them."""
    fp32 = generator.random(n_rows)
    changed = generator.random(n_rows) < 0.08
    int8 = np.clip(fp32 + generator.normal(-0.01, 0.1, n_rows) * changed, 0, 1)
    return fp32, int8


def no_margin(_: str, before: Any) -> Any:
    return np.zeros_like(before)


def ours(n_rows: int, replicates: int, *, clustered: bool = False) -> Took:
    """Bootstrap-t of every slice's mean drop."""
    generator = np.random.default_rng(0)
    slices = make_slices(generator, n_rows)
    metric = parse_metric("ndcg@10")
    fp32, int8 = (UnitScores(metric, values) for values in make_scores(generator, n_rows))
    clusters = generator.integers(0, max(1, n_rows // 20), n_rows) if clustered else None
    method = Method(Levels(), 0, replicates)
    clock = Clock()
    units = describe_units(n_rows, clusters)
    found = list(measure(fp32, [int8], slices, units, margins=no_margin, method=method))
    took = clock.took()
    assert sum(len(part.slices) for part in found) == len(slices.names)
    return took


def ours_clustered(n_rows: int, replicates: int) -> Took:
    return ours(n_rows, replicates, clustered=True)


def ours_binary(n_rows: int, _: int) -> Took:
    """Tango's interval and McNemar's test of every slice: no replicates."""
    generator = np.random.default_rng(0)
    slices = make_slices(generator, n_rows)
    metric = parse_metric("top1")
    right = generator.random(n_rows) < 0.9
    fp32, int8 = (
        UnitScores(metric, each) for each in (right, right ^ (generator.random(n_rows) < 0.08))
    )
    clock = Clock()
    list(
        measure(
            fp32,
            [int8],
            slices,
            describe_units(n_rows),
            margins=no_margin,
            method=Method(Levels(), 0),
        )
    )
    return clock.took()


def plain_numpy(n_rows: int, replicates: int) -> Took:
    """Percentile bootstrap as one would write it: rows drawn again, means by `bincount`."""
    generator = np.random.default_rng(0)
    slices = make_slices(generator, n_rows)
    fp32, int8 = make_scores(generator, n_rows)
    drop = fp32 - int8
    clock = Clock()
    means = np.empty((replicates, len(slices.names)))
    for row in means:
        drawn = generator.integers(0, n_rows, n_rows)
        value = drop[drawn]
        row[0] = value.mean()
        place = 1
        for dimension in slices.dimensions:
            codes, size = dimension.codes[drawn], len(dimension.labels)
            count = np.bincount(codes, minlength=size)
            total = np.bincount(codes, value, minlength=size)
            row[place : place + size] = total / np.maximum(count, 1)
            place += size
    np.quantile(means, (0.025, 0.975), axis=0)
    return clock.took()


def fairlearn(n_rows: int, replicates: int) -> Took:
    """MetricFrame per column of slices, with its bootstrap."""
    import pandas as pd
    from fairlearn.metrics import MetricFrame

    generator = np.random.default_rng(0)
    slices = make_slices(generator, n_rows)
    fp32, int8 = make_scores(generator, n_rows)

    def mean_drop(before: Any, after: Any) -> float:
        return float(np.mean(before - after))

    clock = Clock()
    for dimension in slices.dimensions:
        MetricFrame(
            metrics=mean_drop,
            y_true=fp32,
            y_pred=int8,
            sensitive_features=pd.Series(dimension.codes, name=dimension.name),
            n_boot=replicates,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
    return clock.took()


def measured(task: Task, n_rows: int, replicates: int) -> Took:
    """A task in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (task, n_rows, replicates))


def _run(task: Task, n_rows: int, replicates: int) -> Took:
    took = task(n_rows, replicates)
    unit = 1 if sys.platform == "darwin" else 1024
    return took._replace(gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30)


def show(name: str, n_rows: int, replicates: int, cost: Took, note: str) -> None:
    size = f"{n_rows:>9,}{replicates:>12,}"
    told = f"{cost.wall:>10.2f} s{cost.cpu:>10.2f} s{cost.gib:>8.2f} GiB"
    print(f"{name:34}{size}{told}  {note}", flush=True)


def show_goals(n_rows: int) -> None:
    """Ours at full size."""
    for name, task, replicates, goal in (
        ("ours, means, bootstrap-t", ours, REPLICATES, GOAL_SECONDS),
        ("ours, means, 50,000 clusters", ours_clustered, REPLICATES, GOAL_SECONDS),
        ("ours, right/wrong, Tango", ours_binary, 0, GOAL_SECONDS_WITHOUT),
    ):
        cost = measured(task, n_rows, replicates)
        met = cost.wall <= goal and cost.gib <= GOAL_GIB
        show(name, n_rows, replicates, cost, f"goal {goal:g} s, {'met' if met else 'missed'}")


def show_peers(n_rows: int, limit: float) -> None:
    """Others at the largest size that stays below the limit, and ours at the same size."""
    peers: list[tuple[str, Task]] = [("plain numpy, rows drawn again", plain_numpy)]
    if importlib.util.find_spec("fairlearn") is None:
        print("fairlearn isn't installed: MetricFrame is left out")
    else:
        peers.append(("fairlearn MetricFrame", fairlearn))
    for name, task in peers:
        # What it takes grows with rows × replicates: small runs tell which sizes are affordable.
        done: tuple[int, int, Took] | None = None
        for rows, replicates in ((1_000, 10), (10_000, 10), (10_000, 100), (100_000, 100),
                                 (100_000, 1_000), (1_000_000, 1_000)):  # fmt: skip
            if rows > n_rows or (done and done[2].wall * 10 > limit):
                break
            done = rows, replicates, measured(task, rows, replicates)
        assert done is not None
        rows, replicates, theirs = done
        own = measured(ours, rows, replicates)
        show(name, rows, replicates, theirs, "largest size within the limit")
        faster = f"{theirs.cpu / own.cpu:,.0f} × as fast, by CPU time"
        show("ours at that size", rows, replicates, own, faster)


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Ours at full size within the goals, and peers at sizes that take them a second or so."""
    rows = 1_000_000
    peaks: list[float] = []
    for what, task, replicates, limit in (
        ("bootstrap-t", ours, REPLICATES, GOAL_SECONDS),
        ("bootstrap-t, 50,000 clusters", ours_clustered, REPLICATES, GOAL_SECONDS),
        ("Tango's, of right or wrong", ours_binary, 0, GOAL_SECONDS_WITHOUT),
    ):
        costs = [measured(task, rows, replicates) for _ in range(repeats)]
        peaks = [
            max(each.gib, more) for each, more in zip(costs, peaks or [0.0] * repeats, strict=True)
        ]
        told = f"{what}: 1,004 slices of {rows:,} rows"
        yield within(told, tuple(each.wall for each in costs), limit)
    peak = tuple(gib * 2**30 for gib in peaks)
    yield within("the largest peak of these", peak, GOAL_GIB * 2**30, unit="B")
    for name, peer, rows, replicates in (
        ("plain numpy, rows drawn again", plain_numpy, 100_000, 100),
        ("Fairlearn's MetricFrame", fairlearn, 2_000, 10),
    ):
        found, theirs = by_turns(
            partial(ours, rows, replicates), partial(peer, rows, replicates), repeats, _told
        )
        what = f"bootstrap-t: {rows:,} rows, {replicates} replicates"
        yield Figure(what, found, name, theirs, goal=1.0)


def _told(work: Callable[[], Took]) -> float:
    """Seconds that a task tells itself, without what it made before."""
    return work().wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that one run may take")
    options = parser.parse_args()
    print(f"{1 + sum(SIZES) + sum(SIZES[a] * SIZES[b] for a, b in CROSSES):,} overlapping slices")
    print(f"{'':34}{'rows':>9}{'replicates':>12}{'time':>12}{'CPU':>12}{'peak':>12}")
    show_goals(options.rows)
    show_peers(options.rows, options.limit)


if __name__ == "__main__":
    main()
