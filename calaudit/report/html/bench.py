"""The page's part on a bench: its sentence, a picture of gains and losses, the table, every number.

The picture is the scripts'; what they draw is in :func:`bench_document`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from calaudit.report.bench.gains import RULE, Gains, Point, gains_on
from calaudit.report.bench.layers import layer_rows
from calaudit.report.bench.loss_words import loss_entry
from calaudit.report.bench.losses import LossScale, loss_scale
from calaudit.report.bench.measured import Bench, bench_of
from calaudit.report.bench.numbers import number_rows
from calaudit.report.bench.remarks import bench_legend, bench_remarks
from calaudit.report.bench.rows import FEW_ENGINES, TargetRows, bench_rows
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.bench.wording import times
from calaudit.report.groups import engine_groups
from calaudit.report.html.view import WORDS
from calaudit.report.index import Index
from calaudit.results.values import finite
from calaudit.runtime.words import first_of, visible

SHOWN_DOMINATORS: Final = 2
SHOWN_NUMBERS: Final = 200
"""Rows of the table of every number."""


@dataclass(frozen=True, slots=True)
class BenchPart:
    """The page's part on a bench."""

    sentences: tuple[str, ...]
    remarks: tuple[str, ...]
    legend: str
    rule: str
    """Who dominates whom."""
    batches: tuple[str, ...]
    metric: str
    """The headline metric's title; empty without one."""
    tables: tuple[TargetRows, ...]
    folds: bool
    """Whether some table has a row per recipe beside those per engine."""
    measures: tuple[str, ...]
    """What speed was compared by."""
    charts: tuple[dict[str, Any], ...]
    """One for each target with anything to compare."""
    numbers: tuple[tuple[str, ...], ...]
    """As `NUMBERS` of `calaudit.report.bench.numbers` has them."""
    left: int
    """How many more there are."""
    layers: tuple[tuple[str, ...], ...]
    """As `LAYERS` of `calaudit.report.bench.layers` has them."""


def make_bench(index: Index) -> BenchPart | None:
    """The part on a bench; None where the report has none."""
    bench = bench_of(index)
    if bench is None:
        return None
    tables = tuple(bench_rows(bench))
    numbers = [row for engine in bench.record.engines for row in number_rows(bench, engine)]
    metrics = index.report.metrics
    return BenchPart(
        sentences=tuple(bench_sentences(bench)),
        remarks=tuple(bench_remarks(bench)),
        legend=bench_legend(bench),
        rule=RULE,
        batches=tuple(f"{batch:,}" for batch in bench.batches),
        metric=visible(metrics[0].title) if metrics else "",
        tables=tables,
        folds=any(len(each.rows) > FEW_ENGINES for each in tables),
        measures=tuple(measure.title for measure in bench.measures),
        charts=tuple(_charts(bench)),
        numbers=tuple(numbers[:SHOWN_NUMBERS]),
        left=max(0, len(numbers) - SHOWN_NUMBERS),
        layers=tuple(layer_rows(bench)),
    )


def bench_document(part: BenchPart) -> dict[str, Any]:
    """What the scripts draw."""
    return {"measures": list(part.measures), "charts": list(part.charts)}


def _charts(bench: Bench) -> Iterator[dict[str, Any]]:
    scale = loss_scale(bench.index)
    places = {
        cell.id: place
        for place, group in enumerate(engine_groups(bench.index))
        for cell in group.cells
    }
    for target in bench.targets:
        gains = [gains_on(bench, target, measure) for measure in bench.measures]
        if any(gains):
            yield {
                "target": visible(target),
                "y": scale.title,
                "gate": scale.gate,
                "measures": [_measure(bench, each, scale, places) for each in gains],
            }


def _measure(
    bench: Bench, gains: Gains | None, scale: LossScale, places: dict[str, int]
) -> dict[str, Any] | None:
    if gains is None:
        return None
    return {
        "x": f"times as fast as {gains.baseline_name}, {gains.measure.title}",
        "points": [_point(bench, each, gains, scale, places) for each in gains.points],
        "left": list(gains.left),
    }


def _point(
    bench: Bench, point: Point, gains: Gains, scale: LossScale, places: dict[str, int]
) -> dict[str, Any]:
    def scaled(value: float | None) -> float | None:
        return None if value is None else finite(float(f"{scale.factor * value:.5g}"))

    verdict = bench.index.verdict_of(point.engine.engine)
    return {
        "group": places.get(point.engine.engine, -1),
        "label": point.name if point.engine.precision in {"fp32", "fp16"} else "",
        "control": point.control,
        "pareto": point.pareto,
        "beaten": bool(point.dominated_by),
        "verdict": "FP32" if point.cell is None else WORDS.get(verdict or "", "not gated"),
        "speed": finite(point.speed.value or 0.0),
        "slow": point.speed.low,
        "fast": point.speed.high,
        "loss": scaled(point.loss.value),
        "low": scaled(point.loss.low),
        "high": scaled(point.loss.high),
        "tip": dict(_tip(bench, point, gains)),
    }


def _tip(bench: Bench, point: Point, gains: Gains) -> Iterator[tuple[str, str]]:
    """What is told where the pointer is."""
    yield "engine", point.name
    yield "speed", f"{times(point.speed)} {gains.baseline_name}"
    yield "loss", loss_entry(bench.index, point.loss) or "none, by definition"
    verdict = bench.index.verdict_of(point.engine.engine)
    if verdict is not None:
        yield "verdict", WORDS[verdict]
    if point.pareto:
        yield "Pareto set", "yes"
    if point.dominated_by:
        shown = point.dominated_by[:SHOWN_DOMINATORS]
        yield "dominated by", first_of(shown, len(point.dominated_by))
