"""What ranges cost beside the forward pass they need, and beside onnxruntime's own calibration.

Builds a model of ResNet-50's size with seeded weights and a pool of random images in a temporary
folder, then runs every task in a process of its own. Loading the model and making the session isn't
counted, for calaudit and for the plain forward pass; onnxruntime's quantize_static is one call and
counts whole. 32 sets are drawn at random, each half of the images.

The plain forward pass runs again before and after every task, and a task is compared with the mean
of its two neighbours: on a machine that does other work the seconds mean little, their ratio more.
Where the neighbours differ by more than a quarter, the ratio is marked with ~. CPU seconds depend
less on what else runs.

    python benchmarks/ranges.py [--images 16,32,64] [--no-peers]
    python benchmarks/ranges.py --fill        filling rates and the cost of each method, per tap
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from figures import Figure
from worlds.resnet import N_SETS, prepare_resnet50, set_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
GOALS = {"calaudit, 1 set": 1.3, "calaudit, 32 sets": 2.0}
MEMORY_GOAL = 2.0
N_IMAGES = 32
"""Of `figures`."""
FEW_SETS, FEW_REPEATS = 2, 2
"""What onnxruntime's quantizer is run over in `figures`, which takes it many times as long."""


def images_of(
    folder: Path, count: int, rows: "NDArray[np.int64] | None" = None
) -> "Iterator[NDArray[np.float32]]":
    """Some images, the first `count` where no rows are given, one by one."""
    import numpy as np

    images = np.load(folder / "images.npy", mmap_mode="r")
    for number in range(count) if rows is None else rows.tolist():
        yield np.ascontiguousarray(images[number : number + 1])


class Watch:
    """Wall-clock and CPU seconds since it was made, without those of what `leave_out` calls."""

    def __init__(self) -> None:
        self._started = self._now()
        self._left_out = [0.0, 0.0]

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def leave_out(self, work: Callable[[], T]) -> T:
        before = self._now()
        done = work()
        for place, (start, end) in enumerate(zip(before, self._now(), strict=True)):
            self._left_out[place] += end - start
        return done

    def read(self) -> "Seconds":
        ends = zip(self._now(), self._started, self._left_out, strict=True)
        wall, cpu = (end - start - out for end, start, out in ends)
        return wall, cpu


def plain(folder: Path, count: int) -> "Seconds":
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    watch = Watch()
    for image in images_of(folder, count):
        session.run(None, {"image": image})
    return watch.read()


def calaudit(folder: Path, count: int, numbers: list[int], *, trt: bool = False) -> "Seconds":
    """All four methods' tables of every set, from the sets' files to the ranges file.

    With `trt` those of ``entropy-trt`` too, which takes a second pass.
    """
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
    from calaudit.calibration.batching import Batching
    from calaudit.calibration.methods import ALL_METHODS, DEFAULT_METHODS, ENTROPY_TRT
    from calaudit.calibration.scales import estimate_tables
    from calaudit.formats.calibset import open_calibset
    from calaudit.graph.load import load_model
    from calaudit.graph.placement import plan_qdq
    from calaudit.graph.prepare import prepare
    from calaudit.steps.calibrate import observe_sets
    from calaudit.steps.observe import load_to_observe
    from calaudit.steps.tapped import TappedEngine

    def load() -> TappedEngine:
        model = prepare(load_model(folder / "model.onnx"))
        return load_to_observe(model, plan_qdq(model).taps, OnnxruntimeBackend())

    watch = Watch()
    paths = [set_path(folder, count, number) for number in numbers]
    sets = {drawn.name: drawn for drawn in map(open_calibset, paths)}
    engine = watch.leave_out(load)
    observation = observe_sets(
        engine, sets, folder / "ranges.h5", batch_size=64, batching=Batching() if trt else None
    )
    for name in sets:
        histograms = observation.of(name)
        methods: dict[str, dict[str, Any]] = {
            method: {} for method in (ALL_METHODS if trt else DEFAULT_METHODS)
        }
        equal = observation.equal_for(ENTROPY_TRT, name) if trt else None
        estimate_tables(histograms, 0, methods, calibset=name, equal=equal)
    return watch.read()


def peer(
    folder: Path, count: int, method: str, rows: "NDArray[np.int64] | None" = None
) -> "Seconds":
    from onnxruntime import quantization as quant

    class Reader(quant.CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self._images = images_of(folder, count, rows)

        def get_next(self) -> "dict[str, NDArray[np.float32]] | None":
            image = next(self._images, None)
            return None if image is None else {"image": image}

    watch = Watch()
    quant.quantize_static(
        str(folder / "model.onnx"),
        str(folder / "quantized.onnx"),
        Reader(),
        quant_format=quant.QuantFormat.QDQ,
        calibrate_method=quant.CalibrationMethod[method],
    )
    return watch.read()


def peer_in_a_loop(folder: Path, count: int, method: str, n_sets: int) -> "Seconds":
    """onnxruntime's quantize_static over one set after another."""
    from calaudit.formats.calibset import open_calibset

    drawn = [open_calibset(set_path(folder, count, number)).rows for number in range(n_sets)]
    spent = [peer(folder, count, method, rows) for rows in drawn]
    return sum(wall for wall, _ in spent), sum(cpu for _, cpu in spent)


Seconds = tuple[float, float]
"""By the clock, and of all cores."""
PLAIN = "plain forward"
TASKS: dict[str, Callable[[Path, int], Seconds]] = {
    PLAIN: plain,
    "calaudit, 1 set": lambda folder, count: calaudit(folder, count, [N_SETS]),
    "calaudit, 32 sets": lambda folder, count: calaudit(folder, count, list(range(N_SETS))),
    "with entropy-trt, 1 set": lambda folder, count: calaudit(folder, count, [N_SETS], trt=True),
    "with entropy-trt, 32 sets": lambda folder, count: calaudit(
        folder, count, list(range(N_SETS)), trt=True
    ),
    "calaudit, few sets": lambda folder, count: calaudit(folder, count, list(range(FEW_SETS))),
    "onnxruntime Entropy, few sets": lambda folder, count: peer_in_a_loop(
        folder, count, "Entropy", FEW_SETS
    ),
    "onnxruntime MinMax": lambda folder, count: peer(folder, count, "MinMax"),
    "onnxruntime Entropy": lambda folder, count: peer(folder, count, "Entropy"),
    "onnxruntime Percentile": lambda folder, count: peer(folder, count, "Percentile"),
}


class Ran(NamedTuple):
    wall: float
    cpu: float
    peak: float
    """MiB."""


def run_task(folder: Path, task: str, count: int) -> Ran:
    """One task in a fresh process."""
    command = [sys.executable, __file__, "--folder", str(folder), "--task", task, "--count"]
    done = subprocess.run([*command, str(count)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Ran(*json.loads(done.stdout.splitlines()[-1]))


def child(folder: Path, task: str, count: int) -> None:
    import resource

    wall, cpu = TASKS[task](folder, count)
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(json.dumps([wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit]))


def print_costs(folder: Path, counts: list[int], *, peers: bool) -> None:
    shown = [task for task in TASKS if not task.endswith("few sets")]
    tasks = [task for task in shown if peers or not task.startswith("onnxruntime")]
    heading = f"{'images':>6}  {'task':26}{'time':>10}{'÷ plain':>10}{'CPU':>11}{'÷ plain':>9}"
    print(f"{heading}{'peak':>11}{'÷ plain':>9}  goals")
    for count in counts:
        # compile, and warm the disk's cache
        run_task(folder, "with entropy-trt, 1 set", min(counts))
        before = run_task(folder, PLAIN, count)
        print(_row(count, PLAIN, before, before, before), flush=True)
        for task in tasks[1:]:
            ran = run_task(folder, task, count)
            after = run_task(folder, PLAIN, count)
            print(_row(count, task, ran, before, after), flush=True)
            before = after


def figures(repeats: int, folder: Path) -> Iterator[Figure]:
    """Time and memory of one set and of 32, beside the plain pass right before and after.

    Beside onnxruntime's own quantizer in a loop over sets, of which few are run, few times.
    """
    count, megabyte = N_IMAGES, 2.0**20
    command = [sys.executable, __file__, "--prepare", "--folder", str(folder)]
    subprocess.run([*command, "--images", str(count)], check=True)
    run_task(folder, "with entropy-trt, 1 set", count)  # compile, and warm the disk's cache
    tasks = ("calaudit, 1 set", "calaudit, 32 sets", "with entropy-trt, 1 set")
    ran: dict[str, list[Ran]] = {task: [] for task in tasks}
    plains: dict[str, list[Ran]] = {task: [] for task in tasks}
    before = run_task(folder, PLAIN, count)
    for _ in range(repeats):
        for task in tasks:
            ran[task].append(run_task(folder, task, count))
            after = run_task(folder, PLAIN, count)
            means = ((one + other) / 2 for one, other in zip(before, after, strict=True))
            plains[task].append(Ran(*means))
            before = after
    for task, label in zip(
        tasks, ("one set", f"{N_SETS} sets × 4 methods", "one set with entropy-trt"), strict=True
    ):
        what, own, plain_ones = (
            f"ranges of ResNet-50, {count} images, {label}",
            ran[task],
            plains[task],
        )
        walls = tuple(each.wall for each in own), tuple(each.wall for each in plain_ones)
        peaks = [tuple(each.peak * megabyte for each in some) for some in (own, plain_ones)]
        goal = GOALS.get(task)
        yield Figure(what, walls[0], "the plain pass", walls[1], goal=goal)
        if goal is not None:
            name = f"{what}: peak memory"
            yield Figure(name, peaks[0], "the plain pass", peaks[1], "B", MEMORY_GOAL)
    pairs = [
        [
            run_task(folder, f"{who}, few sets", count).wall
            for who in ("calaudit", "onnxruntime Entropy")
        ]
        for _ in range(min(repeats, FEW_REPEATS))
    ]
    ours, theirs = zip(*pairs, strict=True)
    what = f"ranges of ResNet-50, {FEW_SETS} sets of {count // 2} images, 4 methods"
    yield Figure(what, ours, f"onnxruntime's Entropy, in a loop over these {FEW_SETS}", theirs)


def _row(count: int, task: str, ran: Ran, before: Ran, after: Ran) -> str:
    wall, cpu, peak = (
        own / ((one + other) / 2) for own, one, other in zip(ran, before, after, strict=True)
    )
    busy = max(before.wall, after.wall) > 1.25 * min(before.wall, after.wall)
    goal = GOALS.get(task)
    met = goal and wall <= goal and peak <= MEMORY_GOAL
    verdict = f"≤ {goal}×, ≤ {MEMORY_GOAL}×: {'met' if met else 'missed'}" if goal else ""
    seconds = f"{ran.wall:>8.2f} s{'~' if busy else ' '}{wall:>8.2f}×{ran.cpu:>9.2f} s{cpu:>8.2f}×"
    return f"{count:>6}  {task:26}{seconds}{ran.peak:>7.0f} MiB{peak:>8.2f}×  {verdict}"


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Shortest of several runs, in seconds."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def print_fill() -> None:
    """Filling rates on one core, and what each method costs per tap."""
    import numpy as np

    from calaudit.calibration.accumulate import Accumulator, observe
    from calaudit.calibration.entropy_trt import choose_amax
    from calaudit.calibration.equal_bins import GrowingBins
    from calaudit.calibration.methods import ALL_METHODS, METHODS, estimate_amax

    n = 16_000_000
    random = np.random.default_rng(0)
    gaussian = random.standard_normal(n, np.float32)
    distributions = {
        "gaussian": gaussian,
        "relu": np.maximum(gaussian, np.float32(0)),
        "laplace": random.laplace(size=n).astype(np.float32),
        "one outlier": np.append(gaussian[1:], np.float32(1e6)),
    }
    print(f"{n:,} float32 values, nanoseconds per value on one core")
    print(
        f"{'values':<14}{'calaudit':>10}{'16 groups':>11}{'entropy-trt':>13}"
        f"{'np.histogram':>14}{'max alone':>11}"
    )
    for name, values in distributions.items():
        rows = values.reshape(80, -1)
        groups = np.tile(np.arange(16), (len(rows), 1))
        work: list[Callable[[], object]] = [
            partial(Accumulator(["t"], 1).add, 0, rows, groups[:, 0]),
            partial(Accumulator(["t"], 16).add, 0, rows, groups),
            partial(GrowingBins().add, values),
            partial(np.histogram, np.abs(values), bins=2048),
            values.max,
        ]
        costs = [best(each, 3) / n * 1e9 for each in work]
        columns = zip(costs, (10, 11, 13, 14, 11), strict=True)
        print(f"{name:<14}" + "".join(f"{cost:>{width}.2f}" for cost, width in columns))
    print("\nMethods on one tap's histogram of 1,000,000 values: amax (milliseconds)")
    print(f"{'values':<14}" + "".join(f"{method:>20}" for method in ALL_METHODS))
    for name, values in distributions.items():
        histogram = observe(values[-1_000_000:])
        cells = []
        for method in METHODS:
            amax = estimate_amax(histogram, method)
            cost = best(partial(estimate_amax, histogram, method))
            cells.append(f"{amax:>11.4g} ({cost * 1e3:5.2f})")
        bins = GrowingBins()
        bins.add(values[-1_000_000:])
        choose = partial(choose_amax, bins.counts, bins.width)
        cells.append(f"{choose():>11.4g} ({best(choose) * 1e3:5.2f})")
        print(f"{name:<14}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", default="16,32,64")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = [int(count) for count in options.images.split(",")]
    if options.task:
        child(options.folder, options.task, options.count)
    elif options.prepare:
        prepare_resnet50(options.folder, counts)
    elif options.fill:
        print_fill()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            # In a process of its own, so that this one stays small.
            command = [sys.executable, __file__, "--prepare", "--folder", temporary]
            subprocess.run([*command, "--images", options.images], check=True)
            print_costs(Path(temporary), counts, peers=not options.no_peers)


if __name__ == "__main__":
    main()
