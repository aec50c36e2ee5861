"""A bench as Prometheus metrics: seconds, bytes, watts, joules, in base units."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from calaudit.report.bench.measured import Bench
from calaudit.results.bench import BenchedEngine, Latency
from calaudit.results.values import Estimate
from calaudit.runtime.words import visible

_MS: Final = 1e-3
_ENDS: Final = (("", ""), ("_low", "Lower end: "), ("_high", "Upper end: "))
"""Behind a metric's name, and before what it is: the value, and the ends of its interval."""
Sample = tuple[str, tuple[str, ...], float | None]
"""A family's name, the labels behind the engine's, the value."""

FAMILIES: Final = {
    ("latency", "seconds"): ("Latency from host to host.", ("batch", "quantile")),
    ("device_latency", "seconds"): ("Latency on the device.", ("batch", "quantile")),
    ("throughput", "samples_per_second"): ("Samples per second.", ("batch", "streams")),
    ("file", "bytes"): ("Size of the engine's file.", ()),
    ("memory", "bytes"): ("Memory that the engine takes.", ("kind",)),
    ("power", "watts"): ("Mean power at full throughput.", ("batch", "streams")),
    ("energy", "joules"): ("Energy per sample at full throughput.", ("batch", "streams")),
    ("gpu_utilisation", "ratio"): ("Share of time in which a kernel runs.", ("batch", "streams")),
    ("gain", "ratio"): (
        "Times better than the baseline: above 1 is faster, smaller, takes less energy.",
        ("baseline", "baseline_variant", "quantity", "batch", "streams"),
    ),
}
"""Name behind ``calaudit_bench_`` and unit → what it is, and its labels behind the engine's."""
_PLAIN: Final = {"file", "memory", "gpu_utilisation"}
"""Families without an interval."""


def add_bench(
    registry: CollectorRegistry, bench: Bench, names: Sequence[str], engines: dict[str, list[str]]
) -> None:
    """Add the numbers of a bench.

    Parameters
    ----------
    registry : CollectorRegistry
    bench : Bench
    names : sequence of str
        The labels of an engine.
    engines : dict of str to list of str
        Engine → their values.
    """
    gauges = {
        f"{name}{end}": Gauge(
            f"calaudit_bench_{name}{end}_{unit}",
            f"{told}{what}",
            (*names, "variant", *labels),
            registry=registry,
        )
        for (name, unit), (what, labels) in FAMILIES.items()
        for end, told in (_ENDS if name not in _PLAIN else _ENDS[:1])
    }
    variants = {each.key: visible(each.variant) for each in bench.record.engines}
    for engine in bench.record.engines:
        for name, labels, value in _samples(bench, engine):
            if value is not None:
                own = (*engines[engine.engine], variants[engine.key], *labels)
                gauges[name].labels(*own).set(value)
    measured = Gauge(
        "calaudit_bench_measured_timestamp_seconds",
        "When the bench was measured.",
        ("audit",),
        registry=registry,
    )
    when = _timestamp(bench.record.measured)
    if when is not None:
        measured.labels(visible(bench.index.report.audit.name)).set(when)


def _samples(bench: Bench, engine: BenchedEngine) -> Iterator[Sample]:
    for one in engine.latencies:
        yield from _of_latency(one)
    for each in engine.throughput:
        labels = (str(each.batch), str(each.streams))
        yield from _estimate("throughput", labels, each.per_second)
    yield "file", (), engine.file_bytes
    if engine.memory is not None:
        yield "memory", ("weights",), engine.memory.weights_bytes
        yield "memory", ("activations",), engine.memory.activations_bytes
        yield "memory", ("peak",), engine.memory.peak_bytes
    if engine.gpu is not None:
        gpu, labels = engine.gpu, (str(engine.gpu.batch), str(engine.gpu.streams))
        yield "gpu_utilisation", labels, gpu.utilisation
        for name, found in (("power", gpu.power_watts), ("energy", gpu.energy_joules)):
            if found is not None:
                yield from _estimate(name, labels, found)
    for ratio in bench.record.ratios:
        if (ratio.engine, ratio.variant) == engine.key:
            told = (ratio.baseline, ratio.baseline_variant, ratio.quantity)
            counts = (str(each) if each else "" for each in (ratio.batch, ratio.streams))
            yield from _estimate("gain", (*map(visible, told), *counts), ratio.ratio)


def _of_latency(one: Latency) -> Iterator[Sample]:
    kinds = {
        "latency": (one.p50, one.p95, one.p99),
        "device_latency": (one.device_p50, one.device_p95, one.device_p99),
    }
    for name, found in kinds.items():
        for quantile, each in zip(("0.5", "0.95", "0.99"), found, strict=True):
            if each is not None:
                yield from _estimate(name, (str(one.batch), quantile), each, _MS)


def _estimate(
    name: str, labels: tuple[str, ...], found: Estimate, scale: float = 1.0
) -> Iterator[Sample]:
    for (end, _), value in zip(_ENDS, (found.value, found.low, found.high), strict=True):
        yield f"{name}{end}", labels, None if value is None else scale * value


def _timestamp(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
