"""Engines that time themselves: beside the device, with memory and streams that `run` doesn't show.

What an engine may offer beyond `calaudit.backends.base.Engine`. One that doesn't is timed by its
`run`, from this process.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from calaudit.results.bench import EngineMemory, LayerTime
from calaudit.runtime.errors import Notice
from calaudit.runtime.interrupts import stop_if_asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What is timed at a stretch, of one engine and one batch."""

    seconds: float
    """New runs begin until these have passed."""
    least: int = 1
    """Runs that are made whatever they take."""
    streams: int = 1
    """Batches that are under way at a time, each with memory of its own."""
    watch: bool = False
    """Whether the device's power, clocks and use are read meanwhile, where they can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What a GPU's driver said at one moment; None where it doesn't tell."""

    at: float
    """Seconds of the clock of its machine: differences count."""
    energy_joules: float | None = None
    """Taken since the driver was loaded; the driver renews it some ten times a second."""
    power_watts: float | None = None
    """The board's: since Ampere a mean of the second before, but on A100 of a moment."""
    utilisation: float | None = None
    """Share of the driver's own last period (1/6 to 1 s) in which a kernel ran."""
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_celsius: float | None = None
    throttled: tuple[str, ...] = ()
    """What holds its clocks down, as the driver names it."""
    process_bytes: int | None = None
    """Of its memory, taken by the process that runs the engine."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Times:
    """What one block took."""

    host_ms: NDArray[np.float64]
    """(n,), milliseconds of each run, from feeds in host memory to outputs in host memory."""
    device_ms: NDArray[np.float64] | None = None
    """(n,), of these the milliseconds that the device computed, by its own events; None where it
    doesn't tell."""
    seconds: float
    """From the beginning of the first run to the end of the last."""
    readings: tuple[GpuReading, ...] = ()
    """Of the GPU, in order, where the block was watched and it could be asked."""
    notices: tuple[Notice, ...] = ()
    """What keeps the numbers from saying more."""


@runtime_checkable
class Timed(Protocol):
    """An engine that times itself. One thread at a time uses it, as its `run`."""

    def measure(self, feeds: Mapping[str, NDArray[Any]], block: Block) -> Times:
        """Run the same feeds again and again.

        Parameters
        ----------
        feeds : mapping
            As for `Engine.run`: one batch, (batch, …) each.
        block : Block

        Raises
        ------
        BackendError
            The engine takes no such batch, or has no room for so many streams.
        """
        ...

    def memory(self) -> EngineMemory:
        """What it takes of the device's memory. Raises `BackendError`."""
        ...

    def layers(self, feeds: Mapping[str, NDArray[Any]], runs: int) -> tuple[LayerTime, ...]:
        """Mean time of each layer over some runs, in their order; empty where it doesn't tell.

        Timing layers slows them down: what they take together is more than a run takes.

        Raises
        ------
        BackendError
            As for `measure`.
        """
        ...


def time_calls(call: Callable[[], object], block: Block) -> Times:
    """Time calls from this process, in as many threads as the block has streams.

    Parameters
    ----------
    call : callable
        One run; what it returns is dropped within its time.
    block : Block
        Of `least` calls each stream makes its part.
    """
    start = perf_counter()
    least = -(-block.least // block.streams)

    def stream() -> tuple[list[float], float]:
        taken: list[float] = []
        before = perf_counter()
        while len(taken) < least or before - start < block.seconds:
            call()
            after = perf_counter()
            taken.append(after - before)
            before = after
            stop_if_asked()
        return taken, before

    if block.streams == 1:
        found = [stream()]
    else:
        with ThreadPoolExecutor(block.streams, thread_name_prefix="stream") as threads:
            asked = [threads.submit(stream) for _ in range(block.streams)]
            found = [each.result() for each in asked]
    taken = np.concatenate([each for each, _ in found])
    return Times(host_ms=1e3 * taken, seconds=max(end for _, end in found) - start)
