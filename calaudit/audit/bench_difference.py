"""Two benches compared: how much faster engines of both reports are, where that can be said."""

from collections.abc import Iterator
from typing import Final, Literal

from calaudit.results.bench import BenchedEngine, BenchRecord
from calaudit.results.difference import BenchChange, BenchDifference
from calaudit.results.report import Report
from calaudit.results.values import Estimate

_MACHINE: Final = ("platform", "cpu", "cores", "gpu", "driver")
"""What of a bench's environment must be the same on both sides: the machine, as far as it tells."""
Speed = tuple[Literal["latency", "throughput"], int, int | None]


def bench_difference(a: Report, b: Report) -> BenchDifference | None:
    """What changed between two reports' benches; None where one of them has none."""
    if a.bench is None or b.bench is None:
        return None
    apart = _apart(a.bench, b.bench)
    before = {each.key: each for each in a.bench.engines}
    changes = (
        change
        for each in b.bench.engines
        if each.key in before
        for change in _changes(before[each.key], each, apart is None)
    )
    return BenchDifference(apart, tuple(changes))


def _apart(a: BenchRecord, b: BenchRecord) -> str | None:
    """Why speeds of the two can't be compared."""
    if any(not each.environment.get("cpu") for each in (a, b)):
        return "one of them doesn't tell its machine"
    for key in _MACHINE:
        mine, theirs = a.environment.get(key), b.environment.get(key)
        if mine != theirs:
            return f"{key} is {mine or 'none'} in A and {theirs or 'none'} in B"
    return None


def _changes(a: BenchedEngine, b: BenchedEngine, comparable: bool) -> Iterator[BenchChange]:
    before = dict(_speeds(a))
    for key, found in _speeds(b):
        earlier = before.get(key)
        if earlier is None or earlier.value is None or found.value is None:
            continue
        quantity, batch, streams = key
        pair = (earlier, found) if quantity == "latency" else (found, earlier)
        speed = _over(*pair) if comparable and a.source == b.source else None
        yield BenchChange(b.engine, b.variant, quantity, batch, streams, earlier, found, speed)


def _speeds(engine: BenchedEngine) -> Iterator[tuple[Speed, Estimate]]:
    for one in engine.latencies:
        yield ("latency", one.batch, None), one.p50
    for each in engine.throughput:
        yield ("throughput", each.batch, each.streams), each.per_second


def _over(one: Estimate, other: Estimate) -> Estimate | None:
    """Their ratio; lowest over highest, highest over lowest."""
    value = _ratio(one.value, other.value)
    low, high = _ratio(one.low, other.high), _ratio(one.high, other.low)
    return None if value is None else Estimate(value, low, high)


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None or other <= 0 else one / other
