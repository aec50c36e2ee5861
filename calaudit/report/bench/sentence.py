"""What a bench found in sentences that say no more than its intervals do."""

from collections.abc import Iterator

from calaudit.report.bench.gains import Gains, Point, first_gains
from calaudit.report.bench.loss_words import loss_sentence
from calaudit.report.bench.measured import Bench, Measure, quotient
from calaudit.report.bench.wording import speed_told
from calaudit.report.wording import percent
from calaudit.results.comparison import Verdict
from calaudit.runtime.words import visible

_RANK = {Verdict.PASS: 0, None: 1, Verdict.INCONCLUSIVE: 1, Verdict.REGRESSED: 2}


def bench_sentences(bench: Bench) -> Iterator[str]:
    """One for each target: the engine to ship and what it gains and loses, beside one that loses.

    The first engine is the recommended one; else, of the candidates that keep every gate, that
    which loses least among those that aren't shown slower than the fastest; else the one with the
    least loss. The second is the control that loses most, or a candidate that regressed.
    """
    several = len(bench.targets) > 1
    for target in bench.targets:
        found = first_gains(bench, target)
        where = f"On {visible(target)}: " if several else ""
        if found is not None:
            yield f"{where}{_sentence(bench, found)}"


def _sentence(bench: Bench, gains: Gains) -> str:
    first = point_to_ship(bench, gains)
    if first is None:
        return "No candidate was both timed and judged."
    text = _told(bench, gains, first)
    second = _second(bench, gains, first)
    return f"{text}." if second is None else f"{text}; {_beside(bench, gains, first, second)}."


def point_to_ship(bench: Bench, gains: Gains) -> Point | None:
    """The engine to ship, as far as gates and speeds tell."""
    told = bench.index.report.recommendation
    own = [p for p in gains.points if not p.control and p.cell is not None]
    own = [p for p in own if p.engine.precision != "fp32"]
    if not own:
        return None
    # FP16 that isn't surely faster than FP32 is no reason to leave FP32
    own = [p for p in own if p.engine.precision != "fp16" or _is_baseline(gains, p)] or own
    chosen = [p for p in own if told is not None and p.engine.engine == told.winner]
    if chosen:
        return chosen[0]
    verdicts = {p.engine.key: bench.index.verdict_of(p.engine.engine) for p in own}
    best = min(_RANK[each] for each in verdicts.values())
    kept = [p for p in own if _RANK[verdicts[p.engine.key]] == best]
    if best == _RANK[Verdict.PASS]:
        fastest = max(p.speed.low or 0.0 for p in kept)
        kept = [p for p in kept if p.speed.high is None or p.speed.high >= fastest]
    return min(kept, key=lambda p: (p.loss.value, -(p.speed.value or 0.0)))


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
