"""Engines whose times are drawn, not measured: a machine that drifts and is disturbed, by a clock
of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calaudit.audit.bench_entry import Variant
from calaudit.audit.plan import PlannedCell
from calaudit.backends.base import BuiltEngine, Order
from calaudit.backends.timed import Block, GpuReading, Times
from calaudit.bench.contestants import Contestant, Field
from calaudit.results.audited import EngineRecord
from calaudit.results.bench import EngineMemory
from calaudit.runtime.errors import BackendError


@dataclass
class Machine:
    """What all engines of one run share: how slow it is just now."""

    rng: np.random.Generator
    drift: float = 0.03
    disturbed: float = 0.2
    level: float = 0.0
    loads: list[str] = field(default_factory=list)
    engines: list["Simulated"] = field(default_factory=list)

    def times(self, ms: float, n: int) -> np.ndarray:
        """(n,) milliseconds of one block: its level wanders, and some blocks are disturbed."""
        self.level = 0.9 * self.level + self.rng.normal(0, self.drift)
        slow = self.rng.exponential(0.3) if self.rng.random() < self.disturbed else 0.0
        return ms * np.exp(self.level + slow + self.rng.normal(0, 0.02, n))


class Simulated:
    """An engine that times itself by the machine's clock."""

    inputs = outputs = ()

    def __init__(
        self,
        machine: Machine,
        ms: float,
        only: int | None = None,
        streams: int | None = None,
        powered: bool = False,
    ) -> None:
        self.machine, self.ms, self.only, self.streams = machine, ms, only, streams
        self.powered = powered
        self.record: Mapping[str, str] = {}
        self.closed = False
        self.layer_runs = 0
        machine.engines.append(self)

    def run(self, feeds: Any) -> dict[str, Any]:
        raise AssertionError("engines that time themselves aren't timed from outside")

    def measure(self, feeds: Mapping[str, Any], block: Block) -> Times:
        n = len(feeds["x"])
        if self.only not in {None, n}:
            raise BackendError(f"takes batches of {self.only} alone (got {n})", where="engine")
        if self.streams is not None and block.streams > self.streams:
            raise BackendError(f"no room for {block.streams} contexts", where="engine")
        host = self.machine.times(self.ms * n, 30)
        # as much power as its load
        watts = float(n * block.streams)
        read = [GpuReading(at=at, power_watts=watts) for at in (0.0, 2.0, 4.0)]
        return Times(
            host_ms=host,
            seconds=float(host.sum()) / 1e3 / block.streams,
            readings=tuple(read) if block.watch and self.powered else (),
        )

    def memory(self) -> EngineMemory:
        return EngineMemory(1000, peak_bytes=2000, how="said")

    def layers(self, feeds: Any, runs: int) -> tuple[()]:
        self.layer_runs = runs
        return ()

    def close(self) -> None:
        self.closed = True


class Maker:
    """A backend that makes one simulated engine, or fails."""

    name = "simulated"

    def __init__(self, engine: Simulated | None, title: str) -> None:
        self.engine, self.title = engine, title

    def make(self, order: Order) -> BuiltEngine:
        if self.engine is None:
            raise BackendError("no kernel for it", where=self.title)
        self.engine.machine.loads.append(self.title)
        return BuiltEngine(engine=self.engine, kernels="float")


def contestant(
    name: str,
    engine: Simulated | None,
    *,
    precision: Any = "int8",
    copy: bool = False,
    variant: str = "",
) -> Contestant:
    planned = PlannedCell(
        name, "simulated", precision, None, None, None, None, Path("a.engine"), Path("a.h5")
    )
    order: Any = None
    backend: Any = Maker(engine, name)
    record = EngineRecord(f"fingerprint of {name}", "fused")
    return Contestant(planned, Variant(variant), backend, order, record, None, copy)


def contest(machine: Machine, speeds: Mapping[str, float]) -> Field:
    """FP32 that takes 1 ms a sample, a copy of it, and engines that are so many times faster."""
    made = [contestant("fp32", Simulated(machine, 1.0), precision="fp32")]
    made += [contestant(name, Simulated(machine, 1 / s)) for name, s in speeds.items()]
    made.append(contestant("fp32", Simulated(machine, 1.0), precision="fp32", copy=True))
    return Field(made)
