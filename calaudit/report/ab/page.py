"""ab.html: one file without scripts that loads nothing, in the look of report.html."""

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from calaudit.report.ab.rows import (
    LATENCY_HEAD,
    drop_head,
    failure_rows,
    latency_rows,
    metrics_of,
    milliseconds,
    result_rows,
)
from calaudit.report.ab.sentences import alike, facts, headline, latency_legend, results_legend
from calaudit.report.html.environment import templates_of
from calaudit.report.wording import MISSING, between, difference, percent, unit_name
from calaudit.results.ab import AbRecord, ArmRecord, Watched
from calaudit.results.audited import MetricRecord
from calaudit.runtime.words import visible

WIDE: Final = 520.0
HIGH: Final = 150.0
_EDGE: Final = 8.0
_BAR: Final = 300.0
_MARKS: Final = 5
"""Of an axis, beside 0, at most."""
_ROUNDING: Final = 1e-9
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def ab_page(record: AbRecord) -> str:
    """The page as HTML."""
    style = files("calaudit.report.html").joinpath("templates", "style.css")
    known = metrics_of(record)
    return (
        templates_of("calaudit.report.ab")
        .get_template("ab.html")
        .render(
            record=record,
            policy=POLICY,
            style=style.read_text(encoding="utf-8"),
            headline=headline(record),
            facts=facts(record),
            latency_head=LATENCY_HEAD,
            latencies=latency_rows(record),
            latency_legend=latency_legend(record),
            bars=_bars(record),
            scale=_scale(record),
            failures=failure_rows(record),
            rows=result_rows(record),
            drop_head=drop_head(record),
            legend=results_legend(record),
            courses=[_drawn(each, known[each.metric], record) for each in record.watched],
            alike=list(alike(record)),
            level=percent(record.results[0].level) if record.results else "",
        )
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """Percentiles of one arm on a line; positions in pixels."""

    role: str
    points: tuple[tuple[str, float, float, float], ...]
    """Name, low, value, high."""


def _most(record: AbRecord) -> float:
    """The longest time that is drawn."""
    return max((_reach(arm) for arm in record.arms), default=0.0)


def _scale(record: AbRecord) -> list[tuple[float, str]]:
    """Marks of the axis below the bars: places in pixels, and milliseconds as texts."""
    most = _most(record)
    if not most:
        return []
    power = 10.0 ** math.floor(math.log10(most / _MARKS))
    step = next(power * each for each in (1, 2, 5, 10) if power * each * _MARKS >= most)
    marks = [step * number for number in range(int(most / step + _ROUNDING) + 1)]
    return [(round(_EDGE + _BAR * each / most, 1), milliseconds(each)) for each in marks]


def _bars(record: AbRecord) -> list[Bar]:
    most = _most(record)
    return [Bar(arm.role, tuple(_points(arm, most))) for arm in record.arms] if most else []


def _reach(arm: ArmRecord) -> float:
    ends = (
        end
        for each in (arm.latency.p50_ms, arm.latency.p95_ms, arm.latency.p99_ms)
        for end in (each.value, each.high)
    )
    return max((end for end in ends if end is not None), default=0.0)


def _points(arm: ArmRecord, most: float) -> list[tuple[str, float, float, float]]:
    found = arm.latency
    named = (("P50", found.p50_ms), ("P95", found.p95_ms), ("P99", found.p99_ms))
    points = []
    for name, each in named:
        if each.value is None:
            continue
        low = each.value if each.low is None else each.low
        high = each.value if each.high is None else each.high
        left, at, right = (
            round(_EDGE + _BAR * max(end, 0.0) / most, 1) for end in (low, each.value, high)
        )
        points.append((name, left, at, right))
    return points


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a difference went on, as paths in a box of `WIDE` × `HIGH`."""

    title: str
    band: str
    line: str
    zero: float
    gate: float | None
    top: str
    bottom: str
    last: str
    told: str
    """All of it in words, for who doesn't see the picture."""


def _drawn(watched: Watched, metric: MetricRecord, record: AbRecord) -> Drawn:
    looks = watched.looks
    bounded = [one for one in looks if one.low is not None and one.high is not None]
    gate = next(
        (
            one.gate.max_drop
            for one in record.results
            if one.gate and (one.metric, one.slice) == (watched.metric, watched.slice)
        ),
        None,
    )
    # what is wide at the start would flatten all that follows
    late = bounded[len(bounded) // 6 :] or bounded
    ends = [end for one in late for end in (one.low, one.high) if end is not None]
    ends += [looks[-1].drop, 0.0] + ([] if gate is None else [gate])
    low, high = min(ends), max(ends)
    pad = 0.08 * (high - low or 1.0)
    low, high = low - pad, high + pad
    most = looks[-1].request

    def x(request: int) -> float:
        return round(_EDGE + (WIDE - 2 * _EDGE) * request / most, 1)

    def y(drop: float) -> float:
        return round(HIGH * (high - min(max(drop, low), high)) / (high - low), 1)

    upper = [f"{x(one.request)} {y(one.high)}" for one in bounded if one.high is not None]
    lower = [f"{x(one.request)} {y(one.low)}" for one in bounded if one.low is not None]
    last = looks[-1]
    interval = MISSING if last.low is None else between(metric, last.low, last.high)
    said = f"{difference(metric, last.drop)} ({interval})"
    name = f"{visible(metric.title)}, {visible(watched.slice)}"
    return Drawn(
        title=name,
        band=f"M{'L'.join([*upper, *reversed(lower)])}Z" if upper else "",
        line="M" + "L".join(f"{x(one.request)} {y(one.drop)}" for one in looks),
        zero=y(0.0),
        gate=None if gate is None else y(gate),
        top=f"{difference(metric, high)} {unit_name(metric)}".rstrip(),
        bottom=difference(metric, low),
        last=said,
        told=f"{name}: the drop at request {most:,} is {said}",
    )
