"""Which clip each method chooses on the same data: calaudit beside the peers. Prints a table.

Clipped is the share of all values beyond amax; SQNR the signal-to-noise ratio, in dB, of symmetric
int8 with that amax, over all values, and over all but the largest one.

- onnxruntime: its own calibration code on 2048 bins, 128 quantized ones (its default for those);
  quantize_static itself uses 128 bins, which leaves it one candidate: no clipping.
- pytorch-quantization: its entropy scheme, written anew (the library needs torch): 2048 bins over
  [0, amax], the first bin made equal to the second, candidates of 128, 129, … bins, 128 levels,
  the last of equal candidates.

    python benchmarks/methods.py [--values 800000]
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from calaudit.calibration.accumulate import observe
from calaudit.calibration.entropy_trt import choose_amax
from calaudit.calibration.equal_bins import GrowingBins
from calaudit.calibration.methods import estimate_amax

Floats = NDArray[np.float32]
N_PEER_BINS = 2048
N_LEVELS = 128


def samples(n: int, seed: int = 0) -> dict[str, Floats]:
    """Values of the six distributions, n each."""
    random = np.random.default_rng(seed)
    gaussian = random.standard_normal(n)
    found = {
        "Gaussian": gaussian,
        "Laplace": random.laplace(size=n),
        "ReLU of Gaussian": np.maximum(gaussian, 0),
        "heavy tail (t, 3)": random.standard_t(3, n),
        "one outlier of 100": np.append(gaussian[1:], 100),
        "bimodal": np.append(random.normal(0, 0.1, n // 2), random.normal(10, 1, n - n // 2)),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def onnxruntime_entropy(values: Floats) -> float:
    """amax by onnxruntime's calibration code."""
    collector = HistogramCollector(
        method="entropy",
        symmetric=True,
        num_bins=N_PEER_BINS,
        num_quantized_bins=N_LEVELS,
        percentile=99.99,
        scenario="same",
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress there
        collector.collect({"values": [values]})
        low, high, *_ = collector.compute_collection_result()["values"]
    return float(max(-low, high))


def pytorch_quantization_entropy(values: Floats) -> float:
    """amax as pytorch-quantization's entropy calibration would choose it of one batch."""
    magnitudes = np.abs(values)
    counts, edges = np.histogram(magnitudes, N_PEER_BINS, range=(0, magnitudes.max()))
    counts = counts.astype(np.float64)
    counts[0] = counts[1]
    losses = [_divergence(counts, end) for end in range(N_LEVELS, N_PEER_BINS + 1)]
    last = len(losses) - 1 - int(np.argmin(losses[::-1]))
    return float(edges[N_LEVELS + last])


def _divergence(counts: NDArray[np.float64], end: int) -> float:
    """KL(P‖Q) of keeping `end` bins."""
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    filled = counts[:end] > 0
    level = np.digitize(np.flatnonzero(filled), np.linspace(0, end, N_LEVELS + 1)) - 1
    mass = np.bincount(level, counts[:end][filled], N_LEVELS)
    q = np.zeros(end)
    q[filled] = (mass / np.maximum(np.bincount(level, minlength=N_LEVELS), 1))[level]
    p, q = p / p.sum(), q / q.sum()
    held = p > 0
    with np.errstate(divide="ignore"):
        return float((p[held] * np.log(p[held] / q[held])).sum())


def trt_entropy(values: Floats) -> float:
    """amax as TensorRT's entropy calibrator chooses it of one batch."""
    bins = GrowingBins()
    bins.add(values)
    return choose_amax(bins.counts, bins.width)


def _ours(method: str) -> Callable[[Floats], float]:
    return lambda values: estimate_amax(observe(values), method)


METHODS: Mapping[str, Callable[[Floats], float]] = {
    "calaudit entropy": _ours("entropy"),
    "calaudit mse": _ours("mse"),
    "calaudit entropy-trt": trt_entropy,
    "pytorch-quantization": pytorch_quantization_entropy,
    "onnxruntime, 2048": onnxruntime_entropy,
    "minmax": _ours("minmax"),
}


@dataclass(frozen=True)
class Chosen:
    """What one method does to one distribution."""

    amax: float
    clipped: float
    """Share of all values."""
    sqnr: float
    """dB, over all values."""
    sqnr_of_rest: float
    """dB, without the largest magnitude: its square alone may outweigh all others."""
    seconds: float


def choose(method: str, values: Floats) -> Chosen:
    """Run a method and measure its clip on the values themselves."""
    started = time.perf_counter()
    amax = METHODS[method](values)
    seconds = time.perf_counter() - started
    magnitudes = np.abs(values)
    rest = np.delete(values, magnitudes.argmax())
    clipped = float((magnitudes > amax).mean())
    return Chosen(amax, clipped, sqnr(values, amax), sqnr(rest, amax), seconds)


def sqnr(values: Floats, amax: float) -> float:
    """Signal-to-noise ratio, in dB, of symmetric int8 with this amax."""
    exact = values.astype(np.float64)
    scale = amax / 127
    noise = exact - np.clip(np.rint(exact / scale), -128, 127) * scale
    return float(10 * np.log10((exact**2).sum() / (noise**2).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--values", type=int, default=800_000)
    n = parser.parse_args().values
    for method in METHODS:  # compile, so that the times are those of a second tap
        METHODS[method](samples(1000)["Gaussian"])
    print(f"{n:,} values each, float32")
    heading = f"{'values':20}{'method':22}{'amax':>9}{'clipped':>12}"
    print(f"{heading}{'SQNR':>10}{'of the rest':>14}{'time':>11}")
    for name, values in samples(n).items():
        for method in METHODS:
            found = choose(method, values)
            row = f"{name:20}{method:22}{found.amax:>9.4g}{found.clipped:>12.4%}"
            row += f"{found.sqnr:>7.1f} dB{found.sqnr_of_rest:>11.1f} dB"
            print(f"{row}{found.seconds * 1e3:>8.0f} ms", flush=True)


if __name__ == "__main__":
    main()
