"""From measured times to a report's bench: percentiles, throughput, ratios, the noise floor."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.gpu_use import gpu_use
from calaudit.backends.timed import Times
from calaudit.bench.contestants import Field
from calaudit.bench.measuring import Load, Measured
from calaudit.results.bench import (
    BenchedEngine,
    BenchSettings,
    Latency,
    Quantity,
    Ratio,
    Throughput,
)
from calaudit.results.values import Estimate
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted
from calaudit.statistics.timing import mean, middle, percentile, ratio

Floats = NDArray[np.float64]
Key = tuple[str, str]

PERCENTILES: Final = (0.5, 0.95, 0.99)


def benched_engine(one: Measured, settings: BenchSettings) -> BenchedEngine:
    """What was measured of one engine, for the report."""
    contestant, level = one.contestant, settings.level
    file = contestant.file
    heaviest = max(one.rounds)
    return BenchedEngine(
        engine=contestant.planned.id,
        backend=contestant.planned.backend,
        precision=contestant.planned.precision,
        fingerprint=contestant.record.fingerprint,
        kernels=one.kernels or "float",
        variant=contestant.variant.name,
        knobs={**contestant.knobs},
        file_bytes=file.stat().st_size if file is not None and file.is_file() else None,
        memory=one.memory,
        latencies=tuple(
            _latency(batch, list(rounds.values()), level)
            for (batch, streams), rounds in sorted(one.rounds.items())
            if streams == 1
        ),
        throughput=tuple(
            Throughput(batch, streams, middle(_rates(rounds, batch), level))
            for (batch, streams), rounds in sorted(one.rounds.items())
        ),
        gpu=gpu_use(
            list(one.rounds[heaviest].values()),
            batch=heaviest[0],
            streams=heaviest[1],
            level=level,
        ),
        layers=one.layers,
        layers_batch=one.layers_batch,
        warm_up=round(one.warm_up, 3),
    )


def _latency(batch: int, rounds: Sequence[Times], level: float) -> Latency:
    host = [each.host_ms for each in rounds]
    device = [each.device_ms for each in rounds if each.device_ms is not None]
    p50, p95, p99 = (percentile(host, q, level) for q in PERCENTILES)
    on_device = [percentile(device, q, level) if device else None for q in PERCENTILES]
    return Latency(batch, sum(map(len, host)), p50, p95, p99, mean(host, level), *on_device)


def _rates(rounds: Mapping[int, Times], batch: int) -> Floats:
    """Samples per second, round by round."""
    return np.array([batch * len(each.host_ms) / each.seconds for each in rounds.values()])


def ratios(measured: Sequence[Measured], field: Field, level: float) -> Iterator[Ratio]:
    """Every engine against FP32 and FP16 of its target, under the same variant."""
    by_key = {one.contestant.key: one for one in measured if not one.contestant.copy}
    for one in by_key.values():
        for baseline in field.baselines(one.contestant):
            if baseline.key in by_key:
                yield from _compared(one, by_key[baseline.key], level)


def noise(measured: Sequence[Measured], level: float) -> Iterator[Ratio]:
    """Every second copy of a baseline against the first."""
    first = {one.contestant.key: one for one in measured if not one.contestant.copy}
    for one in measured:
        if one.contestant.copy and one.contestant.key in first:
            yield from _by_time(one, first[one.contestant.key], level)


def _compared(one: Measured, baseline: Measured, level: float) -> Iterator[Ratio]:
    yield from _by_time(one, baseline, level)
    named = (*one.contestant.key, *baseline.contestant.key)
    sizes = [
        file.stat().st_size if file is not None and file.is_file() else None
        for file in (baseline.contestant.file, one.contestant.file)
    ]
    peaks = [each.memory.peak_bytes if each.memory else None for each in (baseline, one)]
    quantities: dict[Quantity, list[int | None]] = {"file": sizes, "memory": peaks}
    for quantity, (theirs, own) in quantities.items():
        if theirs and own:
            batch = one.memory.batch if quantity == "memory" and one.memory else None
            yield Ratio(*named, quantity, Estimate(theirs / own), batch)


def _by_time(one: Measured, baseline: Measured, level: float) -> Iterator[Ratio]:
    """Ratios of what was timed, load by load."""
    named = (*one.contestant.key, *baseline.contestant.key)
    for load in sorted(one.rounds.keys() & baseline.rounds.keys()):
        batch, streams = load
        if streams == 1:
            for quantity, number in _LATENCIES.items():
                found = _paired(baseline, one, load, number, level)
                if found.value is not None:
                    yield Ratio(*named, quantity, found, batch)
        own = _paired(one, baseline, load, lambda times: len(times.host_ms) / times.seconds, level)
        yield Ratio(*named, "throughput", own, batch, streams)
        saved = _paired(baseline, one, load, partial(_energy, load=load), level)
        if saved.value is not None:
            yield Ratio(*named, "energy", saved, batch, streams)


def _host(times: Times) -> float:
    return float(np.median(times.host_ms))


def _device(times: Times) -> float:
    return float("nan") if times.device_ms is None else float(np.median(times.device_ms))


def _energy(times: Times, load: Load) -> float:
    """Joules per sample; NaN where no GPU was read."""
    used = gpu_use([times], batch=load[0], streams=load[1])
    value = None if used is None or used.energy_joules is None else used.energy_joules.value
    return float("nan") if value is None else value


_LATENCIES: Final[Mapping[Quantity, Callable[[Times], float]]] = {
    "latency": _host,
    "device latency": _device,
}


def _paired(
    first: Measured, second: Measured, load: Load, number: Callable[[Times], float], level: float
) -> Estimate:
    """Ratio of one number, of those rounds that measured both."""
    both = sorted(first.rounds[load].keys() & second.rounds[load].keys())
    one, other = (
        np.array([number(each.rounds[load][n]) for n in both]) for each in (first, second)
    )
    return ratio(one, other, level)


def noise_notices(found: Iterable[Ratio]) -> Iterator[Notice]:
    """Where a second copy of a baseline differs from the first by more than its interval."""
    for each in found:
        low, high = each.ratio.low, each.ratio.high
        if each.quantity == "latency" and low is not None and high is not None:
            if low <= 1 <= high:
                continue
            message = (
                f"a second copy of {each.engine} takes {1 / high:.3f} to {1 / low:.3f} of the "
                f"first's time at batch {each.batch}: ratios as near to 1 as that say nothing"
            )
            yield Notice("bench_noise", message, "bench")


def kernel_notices(measured: Iterable[Measured], products: Iterable[str]) -> Iterator[Notice]:
    """How many of the products that are asked for in INT8 ran in kernels that compute in integers.

    Parameters
    ----------
    measured : iterable of Measured
    products : iterable of str
        The model's products.
    """
    known = set(products)
    told: dict[tuple[str, int, int], int] = {}
    for one in measured:
        record, layers = one.contestant.record, one.layers
        asked = sum(record.quantized_ops.values())
        if one.contestant.copy or not asked or record.proof is not None or not layers:
            continue
        integer = {
            node for each in layers if each.precision == "int8" for node in each.nodes
        } & known
        if len(integer) < asked:
            key = one.contestant.planned.backend, len(integer), asked
            told[key] = told.get(key, 0) + 1
    for (backend, n, asked), engines in told.items():
        message = (
            f"of the {counted(asked, 'product')} that {counted(engines, 'engine')} "
            f"{'has' if engines == 1 else 'have'} in INT8, {n} {'runs' if n == 1 else 'run'} in "
            "integer kernels, the others in float on dequantized values: Q/DQ is placed as "
            "TensorRT wants it, and these times say little of an engine that runs elsewhere"
        )
        yield Notice("bench_float_kernels", message, f"target {backend}")
