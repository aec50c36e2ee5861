"""How time and memory grow with rows, slices, engines, taps, classes; and a large audit's peak.

Each point is a process of its own, which tells what each stage took in CPU time (wall time hangs
on what else the machine does) and its peak resident memory. Slopes are those of log cost against
log n, both without what the smallest point has: 1 is linear, whatever the fixed part; what is above
1.15 is named. Models are chains of products of eight numbers, so that calaudit's own cost shows.

    python benchmarks/growth.py [--most 1000000] [--only rows,slices,engines,taps,classes,audit]
                                [--out FOLDER]

``--most 10000000`` goes to ten million rows: 3 GiB of disk, and half an hour. With ``--out`` plots
are written there, as SVG and PNG.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from figures import Figure, quantity
from slopes import Axis, Cost, Costs, draw, show
from worlds.growing import Growing, write_audit

LIMIT = 2.0 * 2**30
"""Bytes that an audit of 1 M rows and 16 engines may take at its peak."""
LARGE = Growing(rows=1_000_000, engines=16, methods=4)
ROWS = (1_000, 10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SLICES = (10, 100, 1_000, 9_999)
ENGINES = (1, 4, 16, 64)
TAPS = (10, 50, 100, 250, 500)
CLASSES = (2, 10, 30, 100, 300)
_BASE = Growing(rows=3_000)
_MOST_TURNS = 2
"""Of `figures`: more take longer than their share of the table's ten minutes."""
AXES: dict[str, tuple[Growing, ...]] = {
    "slices": tuple(replace(_BASE, rows=20_000, slices=n) for n in SLICES),
    "engines": tuple(replace(_BASE, engines=n) for n in ENGINES),
    "taps": tuple(replace(_BASE, taps=n) for n in TAPS),
    "classes": tuple(replace(_BASE, rows=20_000, classes=n) for n in CLASSES),
}


def peak() -> int:
    """Most bytes that were resident since `forget_peak`, or since this process began."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def forget_peak() -> None:
    """Count `peak` from here, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return


@dataclass
class Meter:
    """Costs by stage."""

    found: Costs

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        forget_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        before = self.found.get(name, Cost(0.0, 0))
        self.found[name] = Cost(
            before.seconds + time.process_time() - cpu,
            max(before.peak, peak()),
            before.wall + time.perf_counter() - wall,
        )

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The work, measured."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self(name):
                return work(*args, **kwargs)

        return measured


def audit_stages(path: Path) -> Costs:
    """A whole audit, stage by stage, with every form of its report."""
    from calaudit.audit import prepare, run, stages
    from calaudit.runtime.progress import stage as plain

    found: Costs = {}
    meter = Meter(found)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        # statistics are told in two: what units score, and what is said of it
        with plain(name), meter(name) if name != "statistics" else _nothing():
            yield

    def patched(module: Any, name: str, told: str) -> Any:
        return mock.patch.object(module, name, meter.around(told, getattr(module, name)))

    started = time.perf_counter(), time.process_time()
    with (
        mock.patch.object(stages, "stage", stage),
        mock.patch.object(prepare, "stage", stage),
        patched(stages, "score_eval_sets", "scores"),
        patched(stages, "judge_cells", "comparisons"),
        patched(run, "_write", "forms of the report"),
    ):
        run.run_audit(path)
    cpu, wall = time.process_time() - started[1], time.perf_counter() - started[0]
    found["whole"] = Cost(cpu, max(each.peak for each in found.values()), wall)
    return found


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def row_stages(path: Path) -> Costs:
    """What touches every row of a pool, each by itself."""
    from calaudit.formats.pool import open_pool
    from calaudit.runtime.pool import batches
    from calaudit.sampling.kinds import make_recipe
    from calaudit.slices.dimension import Dimension
    from calaudit.slices.objects import slice_pool
    from calaudit.steps.sample import draw_set

    found: Costs = {}
    meter = Meter(found)
    strata = [{"by": "level"}, {"by": "loss", "quantiles": [0.5, 0.9]}]
    recipes: dict[str, dict[str, Any]] = {
        "uniform": {},
        "stratified": {"strata": strata, "allocation": "equal"},
        "skewed": {"strata": strata[:1], "only": ["level = 1"]},
        "coverage": {"embedding": {"column": ["level", "loss"]}},
        "coverage, pca": {"embedding": {"pca": 4}},
        "ids": {"ids": [str(place) for place in range(0, 1000, 10)]},
    }
    dimensions = [
        Dimension(by="left"),
        Dimension(by="right"),
        Dimension(by="level", edges=(0.5, 2.0)),
        Dimension(by="loss", quantiles=(0.5, 0.9)),
        Dimension(by="label", tail=(0.5, 0.8)),
        Dimension(name="loud", where="level > 1 AND left LIKE 'v%'"),
        Dimension(cross=("left", "right")),
    ]
    with open_pool(path.with_name("pool.h5")) as pool:
        everything = np.arange(len(pool), dtype=np.int64)
        with meter("columns read"):
            pool.columns(pool.column_names())
        with meter("inputs read"):
            for piece in batches(everything, 1024):
                pool.read_inputs(piece)
        with meter("fingerprint"):
            pool.fingerprint()
        with meter("slices"):
            slice_pool(dimensions, pool, where="growth")
        for kind, settings in recipes.items():
            own = {"size": 100} | settings
            recipe = make_recipe(name=kind, kind=kind.split(",")[0], **own)
            with meter(f"draw: {kind}"):
                draw_set(pool, recipe, seed=1)
    return found


KINDS: Mapping[str, Callable[[Path], Costs]] = {"audit": audit_stages, "rows": row_stages}


def point(kind: str, world: Growing) -> Costs:
    """Measure one point, in a process of its own; what it needs is made in another."""
    with tempfile.TemporaryDirectory(prefix="calaudit-growth-") as folder:
        _child("make", world, Path(folder))
        told = _child(kind, world, Path(folder))
    return {name: Cost(**each) for name, each in json.loads(told).items()}


def _child(kind: str, world: Growing, folder: Path) -> str:
    command = [sys.executable, __file__, "--point", kind, json.dumps(asdict(world)), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"{kind} of {world} failed")
    return done.stdout.strip().rpartition("\n")[2]


def child(kind: str, world: Growing, folder: Path) -> None:
    """What a process of `point` does: costs go to its output, as JSON."""
    if kind == "make":
        write_audit(folder, world)
        return
    found = KINDS[kind](folder / "growing.toml")
    print("\n" + json.dumps({name: asdict(each) for name, each in found.items()}))


def measured(name: str, kind: str, worlds: Iterable[Growing]) -> Axis:
    """Measure an axis, and say each point as it is known."""
    axis = Axis(name, [], [])
    field = name.split(" ", maxsplit=1)[0]
    for world in worlds:
        n = getattr(world, field)
        axis.n.append(n)
        axis.costs.append(point(kind, world))
        whole = axis.costs[-1]
        cpu = sum(each.seconds for stage, each in whole.items() if stage != "whole")
        most = max(each.peak for each in whole.values())
        print(f"  {n:>11,} {name}: {cpu:8.2f} s of CPU, peak {quantity(most, 'B')}", flush=True)
    return axis


def large(world: Growing = LARGE) -> Costs:
    """The large audit's costs, printed."""
    costs = point("audit", world)
    print(f"\nan audit of {world.rows:,} rows, {world.classes} classes, {world.engines} engines")
    for stage, cost in costs.items():
        told = f"{cost.wall:>9.1f} s{cost.seconds:>9.1f} s of CPU"
        print(f"{stage:22}{told}, peak {quantity(cost.peak, 'B')}")
    verdict = "met" if costs["whole"].peak <= LIMIT else "missed"
    print(f"limit of {quantity(LIMIT, 'B')}: {verdict}", flush=True)
    return costs


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Costs of larger audits beside those that would be linear from a smaller one, by turns.

    Of few points and small ones, of which the fixed part is the larger. `main` measures it all,
    with slopes, and the peak of 1 M rows, of which smaller audits tell too little.
    """
    del folder  # each point has one of its own
    base = Growing(rows=10_000, slices=24, engines=2, taps=20)
    larger = {"rows": 100_000, "slices": 120, "engines": 12, "taps": 120}
    linear: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in larger}
    for _ in range(max(1, min(repeats, _MOST_TURNS))):
        linear.append(point("audit", base)["whole"].seconds)
        for name, n in larger.items():
            ours[name].append(point("audit", replace(base, **{name: n}))["whole"].seconds)
    for name, n in larger.items():
        few = getattr(base, name)
        what, peer = f"CPU of an audit of {n:,} {name}", f"{n / few:g} × that of {few:,}"
        theirs = tuple(n / few * each for each in linear)
        yield Figure(what, tuple(ours[name]), peer, theirs, goal=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="rows")
    parser.add_argument("--only", default="rows,slices,engines,taps,classes,audit")
    parser.add_argument("--out", type=Path, help="folder of plots")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        kind, world, folder = options.point
        child(kind, Growing(**json.loads(world)), Path(folder))
        return
    wanted = options.only.split(",")
    axes = []
    if "rows" in wanted:
        worlds = [Growing(rows=n) for n in ROWS if n <= options.most]
        axes.append(measured("rows of a pool", "rows", worlds))
        axes.append(measured("rows of an audit", "audit", worlds))
    axes += [measured(name, "audit", worlds) for name, worlds in AXES.items() if name in wanted]
    above = [line for axis in axes for line in show(axis)]
    if options.out:
        for axis in axes:
            draw(axis, options.out)
    if "audit" in wanted:
        large()
    print("\nabove linear: " + ("; ".join(above) or "nothing"))


if __name__ == "__main__":
    main()
