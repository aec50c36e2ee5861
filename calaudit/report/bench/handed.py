"""What was measured of one engine, for whoever is handed it."""

from collections.abc import Iterator
from dataclasses import dataclass

from calaudit.report.bench.measured import Bench, Measure, bench_of
from calaudit.report.bench.remarks import measured_where
from calaudit.report.bench.wording import percentiles, reach, three_digits, times
from calaudit.report.index import Index
from calaudit.report.wording import MISSING, percent
from calaudit.results.bench import BenchedEngine


@dataclass(frozen=True, slots=True)
class MeasuredLatency:
    """Latency of one engine by batch; its texts are to be shown as they are."""

    lines: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def measured_latency(index: Index, cell: str) -> MeasuredLatency | None:
    """What a bench measured of an engine as the audit built it; None where it didn't."""
    bench = bench_of(index)
    if bench is None:
        return None
    engine = next((e for e in bench.record.engines if e.key == (cell, "")), None)
    if engine is None or not engine.latencies:
        return None
    level = percent(bench.record.settings.level)
    baselines = {
        one.batch: bench.baseline(engine.backend, Measure("latency", one.batch, None))
        for one in engine.latencies
    }
    return MeasuredLatency(
        tuple(_lines(bench, engine)),
        ("batch", "P50 in ms", f"{level} CI", "P95", "P99", "samples/s", "speed"),
        tuple(
            (
                f"{one.batch:,}",
                percentiles(one)[0],
                reach(one.p50, three_digits) or MISSING,
                *percentiles(one)[1:],
                _per_second(engine, one.batch),
                _speed(bench, engine, baselines[one.batch], one.batch),
            )
            for one in engine.latencies
        ),
    )


def _lines(bench: Bench, engine: BenchedEngine) -> Iterator[str]:
    yield (
        f"{measured_where(bench)}. Latency is that of a batch from inputs in the host's memory to "
        "outputs there; another machine, or another load on this one, has other numbers."
    )
    cell = bench.cell(engine)
    judged = None if cell is None or cell.engine is None else cell.engine.kernels
    if engine.precision == "int8" and judged != engine.kernels:
        yield f"It was timed with {engine.kernels} kernels, and judged with {judged} ones."


def _per_second(engine: BenchedEngine, batch: int) -> str:
    """The most at this batch, over streams."""
    found = [t.per_second.value for t in engine.throughput if t.batch == batch]
    most = max((each for each in found if each is not None), default=None)
    return three_digits(most)


def _speed(bench: Bench, engine: BenchedEngine, baseline: BenchedEngine | None, batch: int) -> str:
    """Over the batch's baseline, which is named: FP16 may be it at one batch and not at another."""
    if baseline is None or baseline.key == engine.key:
        return MISSING
    speed = bench.speed(engine, baseline, Measure("latency", batch, None))
    return MISSING if speed is None else f"{times(speed)} {bench.name(baseline)}"
