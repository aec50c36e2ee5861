"""What engines cost: memory, latency, throughput, energy, time per layer; and how they compare.

A bench is measured on its own, after an audit, and stands beside the audit's verdicts. Times are
milliseconds, memory is bytes, power is watts, energy is joules, throughput is samples per second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt

from calaudit.results.values import Count, Estimate, Level, Name, Ordinal, Share, Size, settle
from calaudit.runtime.errors import Notice

Quantity = Literal["latency", "device latency", "throughput", "file", "memory", "energy"]
"""What engines are compared by: the median latency from host to host, that on the device, samples
per second, the file's size, peak memory, energy per sample."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one batch takes an engine, over all rounds."""

    batch: Ordinal
    """Samples of the batch."""
    n: Count
    """Runs that were timed."""
    p50: Estimate
    """Milliseconds from feeds in host memory to outputs in host memory: the median run. Intervals
    are those of order statistics, over blocks of runs."""
    p95: Estimate
    """95 of 100 runs take no longer."""
    p99: Estimate
    """99 of 100 runs take no longer."""
    mean: Estimate
    """The mean run."""
    device_p50: Estimate | None = None
    """The same on the device alone, by its own events, in milliseconds; None where it has none."""
    device_p95: Estimate | None = None
    """95 of 100 runs take the device no longer."""
    device_p99: Estimate | None = None
    """99 of 100 runs take the device no longer."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many samples per second an engine does when it is never left waiting."""

    batch: Ordinal
    """Samples of each batch."""
    streams: Ordinal
    """Batches that are under way at a time."""
    per_second: Estimate
    """Samples per second."""


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Memory that an engine takes, in bytes."""

    weights_bytes: Count | None = None
    """Of its weights; None where unknown."""
    activations_bytes: Count | None = None
    """Of what is computed in a run, at the largest batch; None where unknown."""
    peak_bytes: Count | None = None
    """Most that it adds to what was taken before it was loaded, at the largest batch; None where
    unknown."""
    batch: Ordinal | None = None
    """The largest batch."""
    how: str = ""
    """How it was measured, in words."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What a GPU does while an engine runs at full throughput."""

    batch: Ordinal
    """Samples of each batch."""
    streams: Ordinal
    """Batches that are under way at a time."""
    utilisation: Share | None = None
    """Share of time in which a kernel runs; None where unknown, as are all below."""
    power_watts: Estimate | None = None
    """Mean power."""
    energy_joules: Estimate | None = None
    """Energy per sample."""
    sm_clock_mhz: Size | None = None
    """Median clock of its multiprocessors, in MHz."""
    memory_clock_mhz: Size | None = None
    """Median clock of its memory, in MHz."""
    temperature_celsius: float | None = None
    """Highest temperature."""
    throttled: tuple[str, ...] = ()
    """Reasons for which its clocks were held down, as the driver names them."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer of an engine, as its library runs it."""

    name: Name
    """As the library calls it."""
    ms: Size
    """Milliseconds per run: the median of those that were profiled, or their mean where the library
    gives only that."""
    share: Share
    """Of all layers' time."""
    nodes: tuple[str, ...] = ()
    """Nodes of the FP32 model that it computes, or part of it; empty where none is known."""
    kind: str = ""
    """Operator or kernel, as the library names it."""
    precision: str | None = None
    """What it computes in, ``"int8"``, ``"fp16"``, ``"fp32"``; None where the library doesn't
    tell."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class BenchedEngine:
    """One engine, under one choice of compiler knobs."""

    engine: Name
    """The id of a cell, or that of the FP32 reference (``"fp32"``, with its target behind it)."""
    backend: Name
    """What built and ran it: a backend, or a target by its name."""
    precision: Literal["int8", "fp16", "fp32", "unknown"]
    """As its cell has it."""
    fingerprint: Name
    """Hash of the engine's content, as its cell has it: of another engine these numbers aren't."""
    kernels: Name
    """How INT8 was computed here: ``"fused"``, ``"emulated"`` or ``"float"``."""
    variant: str = ""
    """Name of the compiler knobs; empty for the audit's own."""
    knobs: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """The knobs of the variant, and settings that its numbers depend on."""
    source: Literal["measured", "trtexec"] = "measured"
    """Who measured: calaudit, or trtexec, whose files were given."""
    file_bytes: Count | None = None
    """Of the engine's file; None where it has none."""
    memory: EngineMemory | None = None
    """None where it wasn't measured."""
    latencies: tuple[Latency, ...] = ()
    """By batch, ascending."""
    throughput: tuple[Throughput, ...] = ()
    """By batch, then streams, ascending."""
    gpu: GpuUse | None = None
    """None where no GPU ran it, or it couldn't be asked."""
    layers: tuple[LayerTime, ...] = ()
    """In the order they run; empty where they weren't timed."""
    layers_batch: Ordinal | None = None
    """Batch at which they were timed."""
    warm_up: Size | None = None
    """Seconds of runs before times stopped falling; None where unknown."""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others: engine and variant."""
        return self.engine, self.variant


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better an engine is than a baseline, of one quantity.

    Above 1 is a gain: the engine is faster, smaller, takes less energy. Each round measured both,
    one after the other, and the ratio is of their numbers in the same round.
    """

    engine: Name
    """The id of a `BenchedEngine`."""
    variant: str
    """Its variant."""
    baseline: Name
    """The engine that it is compared with: FP32 or FP16 on the same backend."""
    baseline_variant: str
    """The baseline's variant."""
    quantity: Quantity
    """What is compared."""
    ratio: Estimate
    """The baseline's latency, bytes or energy over the engine's, or the engine's throughput over
    the baseline's."""
    batch: Ordinal | None = None
    """Samples of the batch; None for sizes of files."""
    streams: Ordinal | None = None
    """Batches under way at a time, of throughput; else None."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What was asked."""

    batches: tuple[Ordinal, ...]
    """Batches that latency was measured at."""
    streams: tuple[Ordinal, ...]
    """Batches under way at a time that throughput was measured at."""
    rounds: Ordinal
    """Rounds: in each, every engine runs once, in an order that is shuffled anew."""
    seconds: Annotated[float, Gt(0)]
    """How long one engine runs in one round, at one batch, at most."""
    warm_up: Size
    """Seconds that an engine may take to warm up, at most."""
    seed: Count
    """Of the orders and of what is fed."""
    level: Level
    """Of all intervals."""


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """What engines of an audit cost, as one bench measured it."""

    measured: Name
    """When it began: ISO 8601, UTC."""
    settings: BenchSettings
    """What was asked."""
    environment: Mapping[str, str | None]
    """What it ran on: ``cpu``, ``cores``, ``load``, versions, and of a GPU its name, driver and
    clocks."""
    engines: tuple[BenchedEngine, ...]
    """The reference first, then cells in the report's order; of one engine, the audit's own knobs
    first."""
    ratios: tuple[Ratio, ...] = ()
    """Every engine against its baselines."""
    noise: tuple[Ratio, ...] = ()
    """A baseline against a second copy of itself, measured as if it were another engine: how far
    from 1 ratios are where nothing differs."""
    notices: tuple[Notice, ...] = ()
    """What the numbers have to be read with."""
