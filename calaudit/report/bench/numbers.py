"""Every number of a bench with its interval, a row each."""

from collections.abc import Iterator
from typing import Final

from calaudit.report.bench.measured import Bench
from calaudit.report.bench.wording import bytes_text, reach, three_digits
from calaudit.results.bench import BenchedEngine, EngineMemory, GpuUse, Latency
from calaudit.results.values import Estimate
from calaudit.runtime.words import visible

NUMBERS: Final = ("engine", "what", "batch", "streams", "n", "value", "interval")
"""Headings of the rows."""
Row = tuple[str, ...]


def number_rows(bench: Bench, engine: BenchedEngine) -> Iterator[Row]:
    """What was measured of one engine."""
    name = bench.name(engine)
    for one in engine.latencies:
        for what, found in _of_latency(one):
            yield _row(name, what, found, one.batch, n=f"{one.n:,}")
    for each in engine.throughput:
        yield _row(name, "samples per second", each.per_second, each.batch, each.streams)
    if engine.memory is not None:
        yield from _of_memory(name, engine.memory)
    if engine.gpu is not None:
        yield from _of_gpu(name, engine.gpu)


def _row(name: str, what: str, found: Estimate, *counts: int | None, n: str = "") -> Row:
    """Of a batch and streams, as far as they are given."""
    batch, streams = (*counts, None, None)[:2]
    places = [f"{each:,}" if each else "" for each in (batch, streams)]
    return (name, what, *places, n, three_digits(found.value), reach(found, three_digits))


def _of_latency(one: Latency) -> Iterator[tuple[str, Estimate]]:
    yield from (("ms, P50", one.p50), ("ms, P95", one.p95), ("ms, P99", one.p99))
    yield "ms, mean", one.mean
    device = {"P50": one.device_p50, "P95": one.device_p95, "P99": one.device_p99}
    for name, found in device.items():
        if found is not None:
            yield f"ms on the device, {name}", found


def _of_memory(name: str, memory: EngineMemory) -> Iterator[Row]:
    sizes = {
        "weights": memory.weights_bytes,
        "activations": memory.activations_bytes,
        "peak": memory.peak_bytes,
    }
    batch = f"{memory.batch:,}" if memory.batch else ""
    for what, size in sizes.items():
        if size is not None:
            yield name, f"memory, {what}", batch, "", "", bytes_text(size), ""


def _of_gpu(name: str, gpu: GpuUse) -> Iterator[Row]:
    for what, found in (("power, W", gpu.power_watts), ("energy, J", gpu.energy_joules)):
        if found is not None:
            yield _row(name, what, found, gpu.batch, gpu.streams)
    told = {
        "GPU in use": "" if gpu.utilisation is None else f"{100 * gpu.utilisation:.0f} %",
        "clock of its multiprocessors": _unit(gpu.sm_clock_mhz, "MHz"),
        "clock of its memory": _unit(gpu.memory_clock_mhz, "MHz"),
        "highest temperature": _unit(gpu.temperature_celsius, "°C"),
        "clocks held down by": visible(", ".join(gpu.throttled)),
    }
    for what, text in told.items():
        if text:
            yield name, what, f"{gpu.batch:,}", f"{gpu.streams:,}", "", text, ""


def _unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}"
