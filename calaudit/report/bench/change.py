"""What changed between two reports' benches, in columns and a sentence."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.bench.wording import TIMES, factor, reach, three_digits, times
from calaudit.report.tables import Column, build_table
from calaudit.report.wording import MISSING
from calaudit.results.difference import BenchChange, BenchDifference
from calaudit.results.values import Estimate
from calaudit.runtime.words import counted, visible

TITLE = "What engines take"


def bench_changes(
    found: BenchDifference | None, *, limit: int | None, width: int
) -> Iterator[RenderableType]:
    """The speeds of both benches, and their ratio where it can be said; nothing without two."""
    if found is None or not found.changes:
        return
    shown = found.changes[:limit]
    columns = [
        Column("engine", [Text(_engine(each)) for each in shown], 40),
        Column("", [Text(_what(each)) for each in shown], 40),
        Column("A", [Text(_number(each.a)) for each in shown]),
        Column("B", [Text(_number(each.b)) for each in shown]),
    ]
    if found.apart is None:
        ratios = [Text(MISSING if each.speed is None else times(each.speed)) for each in shown]
        columns.append(Column(f"B, {TIMES} as fast", ratios))
    yield build_table(TITLE, columns, width=width)
    rest = len(found.changes) - len(shown)
    if rest:
        yield Text(f"… and {counted(rest, 'more number')} (--all)", "dim")
    yield Text(bench_summary(found))
    yield Text()


def bench_summary(found: BenchDifference) -> str:
    """How many speeds changed by more than their intervals, beside FP32's own change."""
    if found.apart is not None:
        return f"Speeds of A and B can't be compared: {visible(found.apart)}."
    told = [each.speed for each in found.changes if each.speed is not None]
    faster = sum(each.low is not None and each.low > 1 for each in told)
    slower = sum(each.high is not None and each.high < 1 for each in told)
    text = (
        f"Of {counted(len(told), 'speed')} in both, B is faster in {faster:,} and slower in "
        f"{slower:,}, by intervals that don't overlap"
    )
    return f"{text}{_drift(found.changes)}."


def _drift(changes: Sequence[BenchChange]) -> str:
    """What FP32 itself changed by: what all engines share is the machine's."""
    first = next((each for each in changes if each.engine.startswith("fp32")), None)
    if first is None or first.speed is None:
        return ""
    return (
        f"; FP32 itself is {factor(first.speed.value)} {TIMES} as fast, which the machine or its "
        "load may do"
    )


def _engine(one: BenchChange) -> str:
    return visible(f"{one.engine}, {one.variant}" if one.variant else one.engine)


def _what(one: BenchChange) -> str:
    if one.quantity == "latency":
        return f"P50 in ms, batch {one.batch:,}"
    streams = f", {one.streams:,} streams" if one.streams is not None and one.streams > 1 else ""
    return f"samples/s, batch {one.batch:,}{streams}"


def _number(found: Estimate) -> str:
    ends = reach(found, three_digits)
    return f"{three_digits(found.value)}{f' ({ends})' if ends else ''}"
