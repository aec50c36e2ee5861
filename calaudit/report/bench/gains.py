"""Engines by how much faster they are and what they lose on their worst slice: who beats whom."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from calaudit.report.bench.losses import WorstLoss, worst_loss
from calaudit.report.bench.measured import Bench, Measure
from calaudit.results.audited import CellRecord
from calaudit.results.bench import BenchedEngine
from calaudit.results.values import Estimate
from calaudit.statistics.pareto import Bounds, dominators

AS_FAST: Final = 0.05
"""Engines whose speeds differ by less than this part of them are called as fast."""
RULE: Final = (
    "Dominated: another engine on the same target is surely faster and surely loses no more on "
    "its worst slice, or surely loses less and isn't slower by more than "
    f"{100 * AS_FAST:.0f} %. Surely: whatever is true within the intervals of both. All others are "
    "the Pareto set; controls are in neither. Gains in quality count as no loss"
)


@dataclass(frozen=True, slots=True)
class Point:
    """One engine, built with the audit's own knobs."""

    engine: BenchedEngine
    cell: CellRecord | None
    """None for the FP32 reference."""
    name: str
    control: bool
    speed: Estimate
    """How many times as fast as the baseline."""
    loss: WorstLoss
    dominated_by: tuple[str, ...] = ()
    """Names of engines that dominate it; always empty for a control."""

    @property
    def pareto(self) -> bool:
        """Whether it is in the Pareto set: an engine that might ship, and nothing dominates it."""
        return not self.control and not self.dominated_by


@dataclass(frozen=True, slots=True)
class Gains:
    """The engines of one target."""

    target: str
    baseline: BenchedEngine
    baseline_name: str
    measure: Measure
    points: tuple[Point, ...]
    left: tuple[str, ...]
    """Names of engines without a speed or a loss, which have no point."""


def first_gains(bench: Bench, target: str) -> Gains | None:
    """Those by the first measure that a target has: latency at the smallest batch."""
    found = (gains_on(bench, target, measure) for measure in bench.measures)
    return next(filter(None, found), None)


def gains_on(bench: Bench, target: str, measure: Measure) -> Gains | None:
    """The points of a target by one measure of speed; None where nothing was compared by it."""
    baseline = bench.baseline(target, measure)
    others = [each for each in bench.on(target) if baseline and each.key != baseline.key]
    if baseline is None or all(bench.speed(each, baseline, measure) is None for each in others):
        return None
    points, left = [], []
    for engine in bench.on(target):
        if engine.variant:  # its answers weren't judged: the audit's own build was
            continue
        cell = bench.cell(engine)
        speed = bench.speed(engine, baseline, measure)
        loss = worst_loss(bench.index, engine.engine if cell is not None else None)
        name = bench.name(engine)
        if speed is None or loss is None:
            left.append(name)
            continue
        points.append(Point(engine, cell, name, bench.is_control(engine), speed, loss))
    named = bench.name(baseline)
    return Gains(target, baseline, named, measure, tuple(_ranked(points)), tuple(left))


def _ranked(points: Sequence[Point]) -> Iterable[Point]:
    """With what dominates them; controls neither dominate nor are dominated."""
    own = [point for point in points if not point.control]
    found = dominators(
        _bounds([(p.speed.low, p.speed.high) for p in own]),
        _lost(_bounds([(p.loss.low, p.loss.high) for p in own])),
        margin=AS_FAST,
    )
    by = {
        point.engine.key: tuple(own[place].name for place in places)
        for point, places in zip(own, found, strict=True)
    }
    return (replace(point, dominated_by=by.get(point.engine.key, ())) for point in points)


def _bounds(ends: Sequence[tuple[float | None, float | None]]) -> Bounds:
    low = [-math.inf if low is None else low for low, _ in ends]
    high = [math.inf if high is None else high for _, high in ends]
    return Bounds(np.array(low, float), np.array(high, float))


def _lost(drops: Bounds) -> Bounds:
    """What is gained in quality is no loss, so that no engine is kept for a gain that it may have.

    Else an engine slower than FP32 would never be dominated by it.
    """
    return Bounds(np.maximum(drops.low, 0.0), np.maximum(drops.high, 0.0))
