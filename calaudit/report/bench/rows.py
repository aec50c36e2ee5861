"""The table of a bench: one row per engine, those of one recipe folded where there are many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from calaudit.report.bench.gains import Gains, first_gains
from calaudit.report.bench.loss_words import loss_entry
from calaudit.report.bench.losses import WorstLoss, worst_loss
from calaudit.report.bench.measured import Bench, known
from calaudit.report.bench.wording import (
    TIMES,
    bytes_text,
    factor,
    percentiles,
    reach,
    span,
    three_digits,
    times,
)
from calaudit.report.groups import engine_groups
from calaudit.report.index import Index
from calaudit.report.precision import caveat
from calaudit.report.tables import MARK
from calaudit.report.wording import MISSING, between, difference, score
from calaudit.results.bench import BenchedEngine, Latency
from calaudit.results.comparison import ALL, Result, Verdict
from calaudit.results.values import Estimate
from calaudit.runtime.words import visible

TITLE: Final = "What engines gain, and what they lose"
TAKEN: Final = "What engines take"
"""Title of the first part of the table, where it is told in two."""
PARETO: Final = "◆"
"""Marks engines of the Pareto set."""
PER_SECOND: Final = "samples/s"
"""Heading of the last column on what engines take; those on gains and losses follow."""
FEW_ENGINES = 12
"""Engines of a target that have a row each without being asked for."""
NOT_JUDGED, BASELINE = "not judged", "baseline"
_WORDS = {"PASS": "passed", "REGRESSED": "regressed", "INCONCLUSIVE": "inconclusive"}
_ORDER = ("REGRESSED", "INCONCLUSIVE", "PASS")


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One engine, or several of one recipe; its texts are to be shown as they are."""

    target: str
    name: str
    engines: int
    """How many it stands for."""
    control: bool
    precision: str
    """``"INT8"``; with its kernels where they are emulated."""
    file: str
    memory: str
    """At its peak; else of weights and activations."""
    latencies: tuple[tuple[str, str, str], ...]
    """P50, P95, P99 in ms, of each of the bench's batches."""
    per_second: str
    """Samples per second, at the batch and streams with the most."""
    at: str
    """Batch and streams of it: ``"64 × 4"``."""
    speed: str
    """Over the baseline, with its interval."""
    quality: str
    """The headline metric over all samples."""
    drop: str
    """What of it is lost, with the interval."""
    worst: str
    """Drop on the worst slice, with its interval, and where; what none exceeds where none surely
    loses."""
    verdict: str
    """``REGRESSED``, …; empty where nothing is gated."""
    told: str
    """The verdict in words, and of how many comparisons or engines."""
    pareto: bool
    """Whether it is, or one of them is, in the Pareto set."""


@dataclass(frozen=True, slots=True)
class TargetRows:
    """The rows of one target."""

    target: str
    baseline: str
    """What speeds are over; empty where none was compared."""
    measure: str
    """By what: ``"latency at batch 1"``."""
    rows: tuple[BenchRow, ...]
    """One per engine."""
    folded: tuple[BenchRow, ...]
    """One per recipe, its methods and draws folded in."""

    def shown(self, *, every: bool = False) -> tuple[BenchRow, ...]:
        """One row per engine where there are few or all are asked for, else those folded."""
        return self.rows if every or len(self.rows) <= FEW_ENGINES else self.folded


def bench_rows(bench: Bench) -> list[TargetRows]:
    """The tables of all targets, the reference's first."""
    return [_on(bench, target) for target in bench.targets]


def bench_headings(bench: Bench, target: TargetRows) -> list[str]:
    """Of a table in text: the engine first, the worst slice and the verdict last."""
    batches = [f"ms, batch {batch:,}" for batch in bench.batches]
    over = [f"{TIMES} {target.baseline}"] if target.baseline else []
    metrics = bench.index.report.metrics
    quality = visible(metrics[0].title) if metrics else "quality"
    return ["engine", "file", "memory", *batches, PER_SECOND, *over, quality, "drop",
            "worst slice", "verdict"]  # fmt: skip


def bench_entries(bench: Bench, target: TargetRows, row: BenchRow) -> list[str]:
    """Texts of a row under :func:`bench_headings`."""
    mark = MARK.get(row.verdict, "")
    verdict = f"{mark} {row.told}".strip() or MISSING
    apart = " / " if row.engines == 1 else "/"  # ranges are wide
    return [
        f"{row.name} {PARETO}" if row.pareto else row.name,
        row.file,
        row.memory,
        *(MISSING if each[0] == MISSING else apart.join(each) for each in row.latencies),
        f"{row.per_second} at {row.at}" if row.at else row.per_second,
        *([row.speed] if target.baseline else []),
        row.quality,
        row.drop,
        row.worst,
        f"({verdict})" if row.control else verdict,
    ]


def _on(bench: Bench, target: str) -> TargetRows:
    gains = first_gains(bench, target)
    groups: dict[tuple[str, str, str], list[BenchedEngine]] = {}
    labels = _labels(bench.index)
    for engine in bench.on(target):
        # what is folded has its recipe's name, the same knobs and clock
        label = labels.get(engine.engine, "")
        own = "" if engine.precision in {"fp32", "fp16"} else label
        groups.setdefault((own or engine.engine, engine.variant, engine.source), []).append(engine)
    return TargetRows(
        visible(target),
        "" if gains is None else gains.baseline_name,
        "" if gains is None else gains.measure.title,
        tuple(_row(bench, gains, [engine]) for engine in bench.on(target)),
        tuple(
            _row(bench, gains, members, visible(label) if len(members) > 1 else "")
            for (label, *_), members in groups.items()
        ),
    )


def _labels(index: Index) -> dict[str, str]:
    return {cell.id: group.label for group in engine_groups(index) for cell in group.cells}


def _row(
    bench: Bench, gains: Gains | None, members: Sequence[BenchedEngine], label: str = ""
) -> BenchRow:
    first, index = members[0], bench.index
    name = bench.name(first)
    if label:
        knobs = f", {visible(first.variant)}" if first.variant else ""
        name = f"{first.precision.upper()} {label}{knobs}"
    name += " (by trtexec)" if first.source == "trtexec" else ""
    judged = [e.engine for e in members if bench.cell(e) is not None and not e.variant]
    speeds = [] if gains is None else _speeds(bench, gains, members)
    alone = gains is not None and first.key == gains.baseline.key and len(members) == 1
    pareto = set() if gains is None else {p.engine.key for p in gains.points if p.pareto}
    verdict, told = _verdict(index, judged)
    reference = bench.cell(first) is None and not first.variant
    quality, drop = _quality(index, judged) if not reference else _reference(index)
    per_second, at = _throughput(members)
    return BenchRow(
        target=visible(first.backend),
        name=name,
        engines=len(members),
        control=bench.is_control(first),
        precision=_precision(first),
        file=span(known(e.file_bytes for e in members), bytes_text),
        memory=span(known(map(_memory, members)), bytes_text),
        latencies=tuple(_latency(bench, members, batch) for batch in bench.batches),
        per_second=per_second,
        at=at,
        speed=BASELINE if alone else _speed(speeds),
        quality=quality,
        drop=drop,
        worst=MISSING if reference else _worst(index, judged),
        verdict=verdict,
        told=NOT_JUDGED if first.variant else told,
        pareto=any(e.key in pareto for e in members),
    )


def _precision(engine: BenchedEngine) -> str:
    text = engine.precision.upper() if engine.precision != "unknown" else engine.precision
    if engine.precision == "int8" and engine.kernels == "emulated":
        text += ", emulated"
    return text


def _memory(engine: BenchedEngine) -> float | None:
    found = engine.memory
    if found is None or found.peak_bytes is not None:
        return None if found is None else found.peak_bytes
    parts = list(known((found.weights_bytes, found.activations_bytes)))
    return sum(parts) if parts else None


def _latency(bench: Bench, members: Sequence[BenchedEngine], batch: int) -> tuple[str, str, str]:
    found = [one for e in members if (one := bench.latency(e, batch)) is not None]
    if len(found) == 1:
        return percentiles(found[0])

    def of(pick: Callable[[Latency], Estimate]) -> str:
        return span(known(pick(one).value for one in found), three_digits)

    return of(lambda one: one.p50), of(lambda one: one.p95), of(lambda one: one.p99)


def _throughput(members: Sequence[BenchedEngine]) -> tuple[str, str]:
    """The most of each engine, and where its first has it."""
    best = [
        max(found, key=lambda one: one.per_second.value or 0.0)
        for each in members
        if (found := [t for t in each.throughput if t.per_second.value is not None])
    ]
    if not best:
        return MISSING, ""
    text = span(known(one.per_second.value for one in best), three_digits)
    streams = f" {TIMES} {best[0].streams:,}" if best[0].streams > 1 else ""
    return text, f"{best[0].batch:,}{streams}"


def _speeds(bench: Bench, gains: Gains, members: Sequence[BenchedEngine]) -> list[Estimate]:
    found = (bench.speed(each, gains.baseline, gains.measure) for each in members)
    return [each for each in found if each is not None]


def _speed(speeds: Sequence[Estimate]) -> str:
    """Of several engines from the lowest end to the highest."""
    if len(speeds) == 1:
        return times(speeds[0])
    lows, highs = list(known(s.low for s in speeds)), list(known(s.high for s in speeds))
    text = span(known(each.value for each in speeds), factor)
    if not speeds or len(lows) < len(speeds) or len(highs) < len(speeds):
        return text if text == MISSING else f"{text} {TIMES}"
    return f"{text} {TIMES} ({reach(Estimate(None, min(lows), max(highs)), factor)})"


def _reference(index: Index) -> tuple[str, str]:
    """What FP32 scores; it loses nothing, by definition."""
    metric = index.report.metrics[0].name if index.report.metrics else ""
    overall = (r for r in index.report.results if r.slice == ALL and r.metric == metric)
    result = next(overall, None)
    return MISSING if result is None else score(index.metrics[metric], result.reference), MISSING


def _quality(index: Index, cells: Sequence[str]) -> tuple[str, str]:
    """The headline metric over all samples, and the largest drop of the engines."""
    metric = index.report.metrics[0] if index.report.metrics else None
    if metric is None:
        return MISSING, MISSING
    found = [r for c in cells if (r := index.results.get((c, ALL, metric.name))) is not None]
    if not found:
        return MISSING, MISSING
    values = known(r.candidate for r in found)
    worst = max(found, key=lambda r: index.per_gate(r, r.drop))
    return span(values, lambda value: score(metric, value)), _drop(index, worst, worst.low)


def _drop(index: Index, result: Result, low: float | None) -> str:
    metric = index.metrics[result.metric]
    text = difference(metric, result.drop)
    if low is None or result.high is None:
        return text
    return f"{text} ({between(metric, low, result.high)})"


def _worst(index: Index, cells: Sequence[str]) -> str:
    """Of the engine that surely loses most; where none does, of that which may lose most."""
    losses = [loss for cell in cells if (loss := worst_loss(index, cell)) is not None]
    if not losses:
        return MISSING
    return loss_entry(index, max(losses, key=_badness)) or MISSING


def _badness(loss: WorstLoss) -> tuple[bool, float]:
    if loss.sure:
        return True, loss.value if loss.low is None else loss.low
    return False, math.inf if loss.high is None else loss.high


def _verdict(index: Index, cells: Sequence[str]) -> tuple[str, str]:
    """The worst verdict of the engines, and of how many comparisons or engines it is."""
    verdicts = {cell: index.verdict_of(cell) for cell in cells}
    given: list[str] = [each for each in verdicts.values() if each is not None]
    worst = next((each for each in _ORDER if each in given), "")
    if not worst:
        return "", "not gated" if cells else ""
    word = _WORDS[worst]
    if len(cells) > 1:
        alike = given.count(worst)
        return worst, f"{'all ' if alike == len(cells) else f'{alike} of '}{len(cells)} {word}"
    (cell,) = cells
    gated = [r for r in index.report.results if r.cell == cell and r.gate is not None]
    alike = sum(r.verdict == worst for r in gated)
    count = f"{'all ' if alike == len(gated) else f'{alike:,} of '}{len(gated):,}"
    told = caveat(index.cells[cell]) if worst == Verdict.PASS else ""
    return worst, f"{word} in {count}{f', but {told}' if told else ''}"
