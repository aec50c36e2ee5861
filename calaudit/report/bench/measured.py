"""A report's bench, its numbers found by engine, and what engines are compared with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from calaudit.report.index import Index, predicts, source_of, way_of
from calaudit.report.wording import quoted
from calaudit.results.audited import CellRecord
from calaudit.results.bench import BenchedEngine, BenchRecord, Latency, Quantity, Ratio
from calaudit.results.values import Estimate
from calaudit.runtime.words import visible

Key = tuple[str, str]
"""Engine and variant."""
ITSELF = Estimate(1.0, 1.0, 1.0)


class Measure(NamedTuple):
    """What speed is compared by."""

    quantity: Quantity
    batch: int | None
    streams: int | None

    @property
    def title(self) -> str:
        """``"latency at batch 1"``, ``"throughput at batch 64, 4 streams"``."""
        text = f"{self.quantity} at batch {self.batch:,}" if self.batch else self.quantity
        many = self.streams is not None and self.streams > 1
        return f"{text}, {self.streams:,} streams" if many else text


_SPEED: tuple[Quantity, ...] = ("latency", "device latency", "throughput")


@dataclass(frozen=True)
class Bench:
    """The bench of a report."""

    index: Index
    record: BenchRecord

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What engines ran on; the reference's first."""
        return tuple(dict.fromkeys(each.backend for each in self.record.engines))

    def on(self, target: str) -> list[BenchedEngine]:
        """The engines of a target: float ones, then candidates, then controls."""
        own = [each for each in self.record.engines if each.backend == target]
        return sorted(own, key=lambda e: (e.precision not in {"fp32", "fp16"}, self.is_control(e)))

    @cached_property
    def batches(self) -> tuple[int, ...]:
        """Those that latency was measured at, ascending."""
        return tuple(sorted({one.batch for each in self.record.engines for one in each.latencies}))

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """What speed was compared by: latency first, small batches first."""
        found = {
            Measure(one.quantity, one.batch, one.streams)
            for one in self.record.ratios
            if one.quantity in _SPEED
        }
        return tuple(
            sorted(found, key=lambda m: (_SPEED.index(m.quantity), m.batch or 0, m.streams or 0))
        )

    def cell(self, engine: BenchedEngine) -> CellRecord | None:
        """Its cell; None for the FP32 reference."""
        return self.index.cells.get(engine.engine)

    def is_control(self, engine: BenchedEngine) -> bool:
        """Whether it is of a control."""
        return engine.engine in self.index.controls

    def latency(self, engine: BenchedEngine, batch: int) -> Latency | None:
        """What its runs of a batch took."""
        return next((one for one in engine.latencies if one.batch == batch), None)

    def name(self, engine: BenchedEngine) -> str:
        """``"INT8 equal with mse"``, ``"FP16"``; with its knobs, and that it is a control."""
        cell = self.cell(engine)
        parts = [] if engine.precision == "unknown" else [engine.precision.upper()]
        if cell is not None and (source := source_of(cell)):
            way = "" if cell.foreign is not None else f" with {quoted(way_of(cell))}"
            parts.append(f"{quoted(source)}{way}")
        elif cell is not None and cell.precision == "int8":
            parts.append(quoted(way_of(cell)))
        parts += ["predicted"] if cell is not None and predicts(cell) else []
        name = " ".join(parts) or visible(engine.engine)
        name += f", {visible(engine.variant)}" if engine.variant else ""
        return f"{name} (control)" if self.is_control(engine) else name

    def baseline(self, target: str, measure: Measure) -> BenchedEngine | None:
        """The float engine that one would ship without INT8.

        FP16, where it is surely faster than FP32, judged as a candidate; else FP32. None where
        neither was benched there.
        """
        single, half = (self._float(target, precision) for precision in ("fp32", "fp16"))
        if single is None or half is None:
            return single or half
        speed = self._ratio(half, single, measure)
        surely = speed is not None and speed.low is not None and speed.low > 1
        return half if surely and not self.is_control(half) else single

    def _float(self, target: str, precision: str) -> BenchedEngine | None:
        """The audit's own, with its own knobs."""
        for each in self.on(target):
            cell = self.cell(each)
            own = cell is None or cell.foreign is None
            if each.precision == precision and not each.variant and own:
                return each
        return None

    def speed(
        self, engine: BenchedEngine, baseline: BenchedEngine, measure: Measure
    ) -> Estimate | None:
        """How many times as fast as a baseline; None where that wasn't measured.

        Of FP32 against FP16 it is what was measured of FP16 against FP32, turned round.
        """
        if engine.key == baseline.key:
            return ITSELF
        found = self._ratio(engine, baseline, measure)
        if found is None:
            found = _turned(self._ratio(baseline, engine, measure))
        return found if found is not None and found.value is not None else None

    def _ratio(
        self, engine: BenchedEngine, baseline: BenchedEngine, measure: Measure
    ) -> Estimate | None:
        named = self._ratios.get((engine.key, baseline.engine, measure), [])
        # of a variant both with the baseline's own knobs and with the variant's may be told
        named = sorted(named, key=lambda one: one.baseline_variant != baseline.variant)
        return named[0].ratio if named else None

    @cached_property
    def _ratios(self) -> dict[tuple[Key, str, Measure], list[Ratio]]:
        found: dict[tuple[Key, str, Measure], list[Ratio]] = {}
        for one in self.record.ratios:
            measure = Measure(one.quantity, one.batch, one.streams)
            key = ((one.engine, one.variant), one.baseline, measure)
            found.setdefault(key, []).append(one)
        return found


def bench_of(index: Index) -> Bench | None:
    """The report's bench; None where none was made, or nothing is in it."""
    record = index.report.bench
    return None if record is None or not record.engines else Bench(index, record)


def _turned(ratio: Estimate | None) -> Estimate | None:
    if ratio is None:
        return None
    return Estimate(_inverse(ratio.value), _inverse(ratio.high), _inverse(ratio.low))


def _inverse(value: float | None) -> float | None:
    return None if value is None or value <= 0 else 1 / value


def quotient(first: Estimate, second: Estimate) -> Estimate:
    """How many times as fast the first is as the second, of speeds against one baseline.

    The interval holds whenever both do: it is wider than one that was measured would be.
    """
    turned = _turned(second)
    assert turned is not None
    return Estimate(
        _product(first.value, turned.value),
        _product(first.low, turned.low),
        _product(first.high, turned.high),
    )


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def known(values: Iterable[float | None]) -> Iterator[float]:
    """Those that aren't None."""
    return (each for each in values if each is not None)
