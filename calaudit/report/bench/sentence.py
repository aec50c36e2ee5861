"""What a bench found in sentences that say no more than its intervals do."""

from collections.abc import Iterator

from calaudit.report.bench.gains import Gains, Point, first_gains
from calaudit.report.bench.measured import Bench, Measure, quotient
from calaudit.report.bench.wording import speed_told
from calaudit.report.wording import between, broken_units, change_of_metric, percent
from calaudit.results.comparison import ALL, Verdict
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
    first = _first(bench, gains)
    if first is None:
        return "No candidate was both timed and judged."
    text = _told(bench, gains, first)
    second = _second(bench, gains, first)
    return f"{text}." if second is None else f"{text}; {_beside(bench, gains, first, second)}."


def _first(bench: Bench, gains: Gains) -> Point | None:
    """The engine to ship, as far as gates and speeds tell."""
    told = bench.index.report.recommendation
    own = [p for p in gains.points if not p.control and p.cell is not None]
    own = [p for p in own if p.engine.precision != "fp32"]
    if not own:
        return None
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


def _second(bench: Bench, gains: Gains, first: Point) -> Point | None:
    """What shows the cost: the control that surely loses most; without any, a candidate."""
    others = [p for p in gains.points if p is not first and p.cell is not None]
    losing = [p for p in others if p.loss.low is not None and p.loss.low > 0]
    controls = [p for p in losing if p.control]
    regressed = [p for p in losing if bench.index.verdict_of(p.engine.engine) == Verdict.REGRESSED]
    return max(controls or regressed, key=lambda p: p.loss.low or 0.0, default=None)


def _told(bench: Bench, gains: Gains, point: Point) -> str:
    speed, baseline = point.speed, gains.baseline_name
    loss = _loss(bench, point)
    if point.engine.key == gains.baseline.key:  # of FP16 that is to ship, the gain is over FP32
        single = next((p for p in gains.points if p.engine.precision == "fp32"), None)
        if single is None:
            return f"{point.name}: {loss}"
        speed, baseline = quotient(point.speed, single.speed), single.name
    level = f"{percent(bench.record.settings.level)} CI "
    return f"{point.name}: {speed_told(speed, baseline, _where(gains.measure), level)}, {loss}"


def _beside(bench: Bench, gains: Gains, first: Point, second: Point) -> str:
    speed = quotient(second.speed, first.speed)
    return f"{second.name}: {speed_told(speed, first.name)}, {_loss(bench, second)}"


def _where(measure: Measure) -> str:
    batch = "" if measure.batch is None else f" at batch {measure.batch:,}"
    return batch if measure.quantity == "latency" else f" in {measure.title}"


def _loss(bench: Bench, point: Point) -> str:
    """``"at worst loses 18.2 points of top-1 accuracy, on noise ≥ 0.35 (15.1–21.0)"``."""
    result = point.loss.result
    if result is None:
        return "loses nothing, by definition"
    place = "overall" if result.slice == ALL else f"on {visible(result.slice)}"
    if result.n_broken:
        return f"gives {broken_units(bench.index, result)} {place}"
    metric = bench.index.metrics[result.metric]
    text = f"at worst {change_of_metric(metric, result.drop)}, {place}"
    low = result.low if result.joint_low is None else result.joint_low
    if low is None or result.high is None:
        return f"{text}, without an interval"
    doubt = "" if low > 0 else ", not significant"
    return f"{text} ({between(metric, low, result.high)}{doubt})"
