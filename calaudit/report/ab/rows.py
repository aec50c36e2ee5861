"""An A/B replay's numbers as texts: the rows that a terminal and a page show alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calaudit.report.wording import MINUS, MISSING, between, difference, score, unit_name
from calaudit.results.ab import AbRecord, AbResult, ArmRecord
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import Verdict
from calaudit.results.values import Estimate
from calaudit.runtime.words import visible

_GRAVITY: Final = {Verdict.REGRESSED: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2, None: 3}
FAILED: Final = ("not_finite", "other_shape", "error", "timeout", "lost")
SAID: Final[Mapping[str, str]] = {
    "not_finite": "NaN or infinity",
    "other_shape": "another shape or type",
    "error": "error",
    "timeout": "timeout",
    "lost": "not reached",
}
"""Status of a request → what people call it."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result as texts."""

    result: AbResult
    metric: MetricRecord
    n: str
    """Requests of control and treatment."""
    users: str
    control: str
    treatment: str
    drop: str
    interval: str
    """Of a length that was fixed before."""
    watched: str
    """The confidence sequence at the end."""
    decided: str
    """The request after which the watched test told the arms apart."""
    detectable: str
    p_value: str
    """Of the test that decides, the watched one where the replay was ended early: corrected where
    there is a gate."""
    verdict: str

    @property
    def unit(self) -> str:
        """Of drop and intervals."""
        return unit_name(self.metric)


def metrics_of(record: AbRecord) -> dict[str, MetricRecord]:
    """What the metrics of results mean: the audit's, failures, and outcomes of the log."""
    known = {each.name: each for each in record.metrics}
    for one in record.results:
        if one.kind == "failures":
            known[one.metric] = _plain(one.metric, "failed requests", "fraction", better=False)
        elif one.kind == "outcome" and one.metric not in known:
            known[one.metric] = _plain(one.metric, one.metric, "index", better=True)
    return known


def _plain(name: str, title: str, unit: str, *, better: bool) -> MetricRecord:
    convention = "mean over requests"
    return MetricRecord(name, title, unit, "mean", better, None, convention, per="request")


def result_rows(record: AbRecord) -> list[ResultRow]:
    """Results, the gravest first; among equals the larger loss, in bounds, first."""
    known = metrics_of(record)
    order = {name: place for place, name in enumerate(known)}

    def gravity(one: AbResult) -> tuple[float, ...]:
        low = one.low if record.complete else one.always_low
        worst = -(low if low is not None else -1e9)
        gated = one.gate is not None or one.verdict is not None
        return (_GRAVITY[one.verdict], *((worst, 0.0) if gated else (order[one.metric], worst)))

    return [
        _row(one, known[one.metric], complete=record.complete)
        for one in sorted(record.results, key=gravity)
    ]


def _row(one: AbResult, metric: MetricRecord, *, complete: bool) -> ResultRow:
    def pair(control: int, treatment: int) -> str:
        return f"{control:,} / {treatment:,}"

    return ResultRow(
        one,
        metric,
        pair(one.n_control, one.n_treatment),
        pair(one.users_control, one.users_treatment),
        score(metric, one.control),
        score(metric, one.treatment),
        difference(metric, one.drop),
        MISSING if one.low is None else between(metric, one.low, one.high),
        MISSING if one.always_low is None else between(metric, one.always_low, one.always_high),
        MISSING if one.decided_at is None else f"{one.decided_at:,}",
        MISSING if one.detectable is None else difference(metric, one.detectable),
        _shown_p(one, complete=complete),
        verdict_words(one),
    )


def _shown_p(one: AbResult, *, complete: bool) -> str:
    plain = one.p_value if complete else one.always_p
    value = plain if one.p_adjusted is None else one.p_adjusted
    if value is None:
        return MISSING
    return "< .0001" if value < 1e-4 else f"{value:.2g}".lstrip("0") or "0"


def drop_head(record: AbRecord) -> str:
    """What a table calls drops: where arms got different samples, FP32's scores are allowed for."""
    return "adjusted drop" if record.settings.mode == "split" else "drop"


def verdict_words(one: AbResult) -> str:
    """``"inconclusive: interval too wide"``; empty without a gate."""
    if one.verdict is None:
        return ""
    reason = f": {one.reason}" if one.reason else ""
    return f"{one.verdict.lower()}{reason}"


def milliseconds(value: float | None) -> str:
    """Three significant digits, none behind the point from 100 on."""
    if value is None:
        return MISSING
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", MINUS)


def estimate(one: Estimate, *, beyond: str = MISSING) -> str:
    """``"12.3 (11.9–12.8)"``.

    Parameters
    ----------
    one : Estimate
    beyond : str
        What stands for a value or an upper end that isn't known, such as ``"> 2,000"``.
    """
    if one.value is None:
        return beyond
    if one.low is None and one.high is None:
        return milliseconds(one.value)
    low = milliseconds(one.low)
    high = beyond if one.high is None else milliseconds(one.high)
    plain = low[:1].isdigit() and high[:1].isdigit()
    return f"{milliseconds(one.value)} ({low}{'–' if plain else ' to '}{high})"


UNKNOWN: Final = "?"
"""Stands for a time that isn't known, and needs a legend."""
LATENCY_HEAD: Final = (
    "arm", "requests", "failed", "P50 ms", "P95 ms", "P99 ms", "max ms", "waiting P99 ms",
)  # fmt: skip


def latency_rows(record: AbRecord) -> list[tuple[str, ...]]:
    """Both arms' latencies, and by how much the treatment is slower."""
    rows = [_latency(arm, 1e3 * record.settings.timeout_s) for arm in record.arms]
    slower = (estimate(each.slower_ms, beyond=UNKNOWN) for each in record.slower)
    return [*rows, ("treatment − control", "", "", *slower, "", "")]


def _latency(arm: ArmRecord, timeout_ms: float) -> tuple[str, ...]:
    found = arm.latency
    beyond = f"> {milliseconds(timeout_ms)}" if found.timed_out else UNKNOWN
    percentiles = (
        estimate(each, beyond=beyond) for each in (found.p50_ms, found.p95_ms, found.p99_ms)
    )
    return (
        f"{arm.role}: {visible(arm.name)}",
        f"{arm.requests:,}",
        f"{arm.failed:,}",
        *percentiles,
        milliseconds(found.max_ms),
        milliseconds(found.waiting_p99_ms),
    )


def failure_rows(record: AbRecord) -> list[tuple[str, str, str, str]]:
    """Arm, what became of requests, how many, and since which request."""
    rows: list[tuple[str, str, str, str]] = []
    for arm in record.arms:
        for one in arm.failures:
            what = f"{SAID[one.status]}: {visible(one.message)}"
            rows.append((arm.role, what, f"{one.count:,}", f"{one.first + 1:,}"))
        told = sum(one.count for one in arm.failures if one.status == "timeout")
        silent = arm.statuses.get("timeout", 0) - told
        if silent:
            rows.append((arm.role, SAID["timeout"], f"{silent:,}", ""))
    return rows


def shown_results(rows: Sequence[ResultRow], limit: int | None) -> Sequence[ResultRow]:
    """The first of them."""
    return rows if limit is None else rows[:limit]
