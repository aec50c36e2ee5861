"""What a bench found in sentences that say no more than its intervals do."""

import math
from collections.abc import Iterator
from typing import Any

from calaudit.report.bench.gains import Gains, Point, first_gains
from calaudit.report.bench.loss_words import loss_sentence
from calaudit.report.bench.measured import Bench, Measure, bench_of, quotient
from calaudit.report.bench.wording import speed_told
from calaudit.report.groups import Standing
from calaudit.report.index import Index
from calaudit.report.wording import engine_name, percent
from calaudit.results.comparison import ALL, Verdict
from calaudit.runtime.words import counted, first_of, visible

_NAMED = 3
"""Engines that are named one by one."""


def bench_sentences(bench: Bench) -> Iterator[str]:
    """One for each target: the engine to ship and what it gains and loses, beside one that loses.

    The first engine is the recommended one; else, of the candidates that keep every gate and
    aren't shown slower than the fastest, that with the lowest bound on its worst slice; where none
    keeps them, the closest to it (`_standing`), which is said. The second is the control that
    loses most, or a candidate that regressed. Where no INT8 engine is faster than FP32, that comes
    before all else.
    """
    for target in bench.targets:
        found = first_gains(bench, target)
        if found is not None:
            yield f"{_on(bench, target)}{_sentence(bench, found)}"


def slower_sentences(index: Index) -> Iterator[str]:
    """For each target on which every INT8 engine is surely slower than FP32, that it is."""
    bench = bench_of(index)
    if bench is None:
        return
    for target in bench.targets:
        found = first_gains(bench, target)
        text = "" if found is None else _slower(bench, found)
        if text:
            yield f"{_on(bench, target)}{text}."


def _on(bench: Bench, target: str) -> str:
    return f"On {visible(target)}: " if len(bench.targets) > 1 else ""


def _sentence(bench: Bench, gains: Gains) -> str:
    first = point_to_ship(bench, gains)
    if first is None:
        return "No candidate was both timed and judged."
    slower, why = _slower(bench, gains), _why(bench, gains, first)
    before = f"{slower}{'. ' if why else ': '}" if slower else ""
    text = f"{before}{why}{_told(bench, gains, first)}"
    second = _second(bench, gains, first)
    return f"{text}." if second is None else f"{text}; {_beside(bench, gains, first, second)}."


def point_to_ship(bench: Bench, gains: Gains) -> Point | None:
    """The engine to ship, as far as gates and speeds tell."""
    told = bench.index.report.recommendation
    own = _candidates(gains)
    if not own:
        return None
    chosen = [p for p in own if told is not None and p.engine.engine == told.winner]
    if chosen:
        return chosen[0]
    kept = [p for p in own if bench.index.verdict_of(p.engine.engine) == Verdict.PASS]
    if kept:
        fastest = max(p.speed.low or 0.0 for p in kept)
        kept = [p for p in kept if p.speed.high is None or p.speed.high >= fastest]
    return min(kept or own, key=lambda p: _standing(bench, p))


def _candidates(gains: Gains) -> list[Point]:
    """What may ship, but for FP16 that isn't surely faster: it is no reason to leave FP32."""
    own = [p for p in gains.points if not p.control and p.cell is not None]
    own = [p for p in own if p.engine.precision != "fp32"]
    return [p for p in own if p.engine.precision != "fp16" or _is_baseline(gains, p)] or own


def _standing(bench: Bench, point: Point) -> tuple[Any, ...]:
    """Sorts the closest to keeping every gate first: nothing is better in all that is shown."""
    index, cell = bench.index, point.engine.engine
    metric = index.report.metrics[0].name if index.report.metrics else ""
    overall = index.results.get((cell, ALL, metric))
    drop = None if overall is None else overall.drop
    found = _gated(bench, point)
    return (
        found.regressed,
        found.undecided,
        math.inf if point.loss.high is None else point.loss.high,
        math.inf if drop is None or overall is None else index.per_gate(overall, drop),
        -(point.speed.value or 0.0),
        point.engine.key,
    )


def _gated(bench: Bench, point: Point) -> Standing:
    """How one engine's gated comparisons came out."""
    cell = point.engine.engine
    return Standing.of(
        [r for r in bench.index.report.results if r.cell == cell and r.gate is not None]
    )


def _why(bench: Bench, gains: Gains, first: Point) -> str:
    """Why this engine is told of, where it isn't recommended or doesn't keep every gate."""
    index, told = bench.index, bench.index.report.recommendation
    winner = None if told is None else index.cells.get(told.winner)
    if winner is not None and winner.id == first.engine.engine:
        return ""
    parts = []
    if winner is not None and winner.backend == gains.target:
        parts.append(f"{engine_name(index, winner.id)}, which is recommended, wasn't timed")
    found = _gated(bench, first)
    if found.told:
        parts.append(_kept_elsewhere(bench, gains))
        own = f"of its {counted(found.n, 'comparison')}"
        parts.append(f"the closest that was timed, {found.told} {own}, is")
    elif parts:
        kept = "of those that were timed and keep every gate, told is"
        parts.append(kept if found.n else "told is")
    text = "; ".join(parts)
    return f"{text} " if text else ""


def _kept_elsewhere(bench: Bench, gains: Gains) -> str:
    """Which engines keep every gate, where none that was timed does."""
    index, timed = bench.index, {p.engine.engine for p in gains.points}
    kept = [
        engine_name(index, cell.id)
        for cell in index.report.cells
        if cell.backend == gains.target
        and cell.id not in timed
        and cell.id not in index.controls
        and cell.precision not in {"fp32", "fp16"}
        and index.verdict_of(cell.id) == Verdict.PASS
    ]
    if kept:
        one = len(kept) == 1
        verbs = "keeps every gate and wasn't" if one else "keep every gate and weren't"
        return f"{first_of(kept[:_NAMED], len(kept))} {verbs} timed"
    precisions = {p.engine.precision for p in _candidates(gains)}
    return f"No {'INT8 ' if precisions == {'int8'} else ''}engine keeps every gate"


def _slower(bench: Bench, gains: Gains) -> str:
    """That no INT8 engine is faster than FP32, where all are surely slower; else empty."""
    points = [p for p in gains.points if p.engine.precision == "int8"]
    single = next((p.engine for p in gains.points if p.engine.precision == "fp32"), None)
    if single is None or not points:
        return ""

    def surely(measure: Measure) -> bool:
        speeds = (bench.speed(p.engine, single, measure) for p in points)
        return all(s is not None and s.high is not None and s.high < 1 for s in speeds)

    if not surely(gains.measure):
        return ""
    here = " here" if all(map(surely, bench.measures)) else _where(gains.measure)
    return f"No INT8 engine is faster than FP32{here}"


def _is_baseline(gains: Gains, point: Point) -> bool:
    return point.engine.key == gains.baseline.key


def _second(bench: Bench, gains: Gains, first: Point) -> Point | None:
    """What shows the cost: the control that surely loses most; without any, a candidate."""
    others = [p for p in gains.points if p is not first and p.cell is not None]
    losing = [p for p in others if p.loss.sure]
    controls = [p for p in losing if p.control]
    regressed = [p for p in losing if bench.index.verdict_of(p.engine.engine) == Verdict.REGRESSED]
    return max(controls or regressed, key=lambda p: p.loss.low or 0.0, default=None)


def _told(bench: Bench, gains: Gains, point: Point) -> str:
    speed, baseline = point.speed, gains.baseline_name
    loss = loss_sentence(bench.index, point.loss)
    if _is_baseline(gains, point):  # of FP16 that is to ship, the gain is over FP32
        single = next((p for p in gains.points if p.engine.precision == "fp32"), None)
        if single is None:
            return f"{point.name}: {loss}"
        speed, baseline = quotient(point.speed, single.speed), single.name
    level = f"{percent(bench.record.settings.level)} CI "
    return f"{point.name}: {speed_told(speed, baseline, _where(gains.measure), level)}, {loss}"


def _beside(bench: Bench, gains: Gains, first: Point, second: Point) -> str:
    speed, loss = quotient(second.speed, first.speed), loss_sentence(bench.index, second.loss)
    return f"{second.name}: {speed_told(speed, first.name)}, {loss}"


def _where(measure: Measure) -> str:
    batch = "" if measure.batch is None else f" at batch {measure.batch:,}"
    return batch if measure.quantity == "latency" else f" in {measure.title}"
