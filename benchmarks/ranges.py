"""What ranges cost: filling histograms, and each method per tap. Prints a table.

Run: ``python benchmarks/ranges.py``
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calaudit.ranges import METHODS, Accumulator, estimate_amax, observe

N = 16_000_000
N_FOR_METHODS = 1_000_000
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """Shortest of several runs."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def distributions(n: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    gaussian = random.standard_normal(n, dtype=np.float32)
    outlier = gaussian.copy()
    outlier[n // 2] = 1e6
    return {
        "gaussian": gaussian,
        "relu": np.maximum(gaussian, np.float32(0)),
        "laplace": random.laplace(size=n).astype(np.float32),
        "one outlier": outlier,
    }


def fill(values: NDArray[np.float32]) -> None:
    batch = values.reshape(16, -1)
    collected = Accumulator(["tap"], 1)
    collected.add(0, batch, np.zeros(16, np.int64))


def numpy_histogram(values: NDArray[np.float32]) -> None:
    magnitudes = np.abs(values)
    np.histogram(magnitudes, bins=2048, range=(0.0, float(magnitudes.max())))


def print_fill_rates() -> None:
    print(f"Filling with {N:,} float32 values, one thread")
    print(f"{'values':<14}{'calaudit':>12}{'np.histogram':>14}{'max only':>12}{'ratio':>8}")
    for name, values in distributions(N).items():
        rates = [
            values.nbytes / 1e9 / seconds(lambda work=work, values=values: work(values))
            for work in (fill, numpy_histogram, np.max)
        ]
        ours, theirs, reading = (f"{rate:.2f} GB/s" for rate in rates)
        print(f"{name:<14}{ours:>12}{theirs:>14}{reading:>12}{rates[0] / rates[1]:>7.1f}×")


def print_method_costs() -> None:
    print(f"\nMethods on one tap's histogram of {N_FOR_METHODS:,} values: amax (milliseconds)")
    print(f"{'values':<14}" + "".join(f"{method:>20}" for method in METHODS))
    for name, values in distributions(N_FOR_METHODS).items():
        histogram = observe(values)
        cells = []
        for method in METHODS:
            amax = estimate_amax(histogram, method)
            cost = seconds(lambda m=method, h=histogram: estimate_amax(h, m))
            cells.append(f"{amax:>11.4g} ({cost * 1e3:5.2f})")
        print(f"{name:<14}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    print_fill_rates()
    print_method_costs()


if __name__ == "__main__":
    main()
