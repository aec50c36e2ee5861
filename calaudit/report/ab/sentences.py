"""What an A/B replay found, in sentences."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from calaudit.report.ab.rows import UNKNOWN, drop_head, latency_rows, metrics_of, milliseconds
from calaudit.report.wording import (
    amount,
    between,
    change_of_metric,
    in_sentence,
    percent,
    score,
)
from calaudit.results.ab import AbRecord, AbResult
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL, Verdict
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted, first_of, visible


def headline(record: AbRecord) -> str:
    """Verdict and what it rests on, in one sentence."""
    control, treatment = (visible(arm.name) for arm in record.arms)
    lost = [one for one in record.results if one.verdict == Verdict.REGRESSED]
    said = f"{treatment} against {control}: {'; '.join(record.why)}"
    if not lost:
        return said

    def gravity(one: AbResult) -> tuple[bool, float, str]:
        low = one.low if record.complete else one.always_low
        return one.kind == "failures", -(low or 0.0), one.slice

    worst = min(lost, key=gravity)
    return f"{said}; it {loss(record, worst)}"


def loss(record: AbRecord, one: AbResult) -> str:
    """``loses 6.1 points of top-1 accuracy on loud (95 % CI 4.0–8.1, p = .002)``."""
    metric = metrics_of(record)[one.metric]
    place = "" if one.slice == ALL else f" on {visible(one.slice)}"
    low, high = (one.low, one.high) if record.complete else (one.always_low, one.always_high)
    told = f"{change_of_metric(metric, one.drop)}{place}"
    if low is None or high is None:
        return told
    kind = "CI" if record.complete else "confidence sequence"
    tested = "" if one.p_adjusted is None else f", p = {one.p_adjusted:.2g}"
    return f"{told} ({percent(one.level)} {kind} {between(metric, low, high)}{tested})"


def facts(record: AbRecord) -> list[str]:
    """What was replayed, and how."""
    told, settings = record.replayed, record.settings
    how = (
        "every request went to both arms"
        if settings.mode == "shadow"
        else f"{percent(settings.share)} of users were to get the treatment"
    )
    sent = f"{told.sent:,} of {told.requests:,}" if not record.complete else f"{told.requests:,}"
    lines = [
        f"{sent} requests by {counted(told.users, 'user')} for {counted(told.samples, 'sample')}, "
        f"{visible(settings.requests)}, over {told.span_s:.3g} s",
        f"{settings.mode}: {how}",
    ]
    late = f"99 % left within {milliseconds(told.lag_p99_ms)} ms of their time"
    lines.append(late if told.kept_up else f"{late}: the replayer didn't keep up")
    return lines


def alike(record: AbRecord) -> Iterator[str]:
    """How alike answers to the same samples are, and whether the split is as asked."""
    known = {each.name: each for each in record.metrics}
    for one in record.same_answers:
        if not one.samples or one.value is None:
            continue
        if one.metric is None:
            unsteady = [
                f"the {role} gave more than one answer to {counted(n, 'sample')}"
                for role, n in (
                    ("control", one.unsteady_control),
                    ("treatment", one.unsteady_treatment),
                )
                if n
            ]
            text = (
                f"same outputs, to the bit, for {100 * one.value:.1f} % of "
                f"{counted(one.samples, 'sample')} that both answered"
            )
            yield "; ".join([text, *unsteady])
        else:
            metric = known.get(one.metric)
            title = visible(one.metric) if metric is None else in_sentence(metric)
            value = f"{one.value:.3f}" if metric is None else score(metric, one.value)
            yield f"{_beside_control(title)}: {value}"
    ratio = record.sample_ratio
    if ratio is not None:
        p_value = "" if ratio.p_value is None else f", p = {ratio.p_value:.2g}"
        text = (
            f"users with an answer: {ratio.control:,} control, {ratio.treatment:,} treatment, "
            f"asked {percent(ratio.asked)}{p_value}"
        )
        yield f"{text}: SAMPLE RATIO MISMATCH" if ratio.mismatch else text


def _beside_control(title: str) -> str:
    """What a metric of likeness is called where the control stands in FP32's place."""
    if "FP32" in title:
        return title.replace("FP32", "the control")
    return f"{title}, beside the control's answers"


def latency_legend(record: AbRecord) -> str:
    """What a mark among latencies means; empty where there is none."""
    if not any(UNKNOWN in cell for row in latency_rows(record) for cell in row[3:]):
        return ""
    late = any(arm.latency.timed_out for arm in record.arms)
    return f"{UNKNOWN}: unknown: too few requests{', or too many timeouts' if late else ''}"


def results_legend(record: AbRecord) -> list[str]:
    """What the columns of results mean."""
    head = drop_head(record)
    if record.settings.mode == "split":
        drop = (
            f"{head}: not control − treatment, whose requests are for different samples, but how "
            "far the treatment is below FP32 on its own samples, beyond how far the control is "
            "below FP32 on its own; of likeness to FP32, failures and outcomes, which FP32 has no "
            "score of, it is the plain difference"
        )
    else:
        drop = f"{head}: positive when the treatment loses, on requests that both arms answered"
    tested = "of no difference" if record.complete else "of no difference by the watched test"
    return [
        drop,
        f"p: {tested}, with a gate corrected by Holm; watched: holds at every request; "
        "decided at: the request after which that told the arms apart; finds: the smallest drop "
        "found with 80 % power, foreseen before the start (–: not known, or with so few users no "
        "drop can be shown)",
    ]


_CAUTION: Final = (
    ", cautious since how much a loss varies isn't known before: intervals after the replay may be "
    "narrower"
)


def foreseen_notice(
    effects: Mapping[tuple[str, str], float], metrics: Mapping[str, MetricRecord]
) -> Notice | None:
    """What the log will be able to find, told before the replay; None where nothing is known.

    Parameters
    ----------
    effects : mapping
        (metric, slice) → minimum detectable effect; infinite where no loss can be shown.
    metrics : mapping
        Name → what it means.
    """
    if not effects or not metrics:
        return None
    first = next(iter(metrics.values()))
    own = {name: value for (metric, name), value in effects.items() if metric == first.name}
    if not own:
        return None
    shown = {name: value for name, value in own.items() if math.isfinite(value)}
    hidden = [name for name in own if name not in shown]
    title, said = in_sentence(first), []
    told = [f"{amount(first, shown[ALL])} on all samples"] if ALL in shown else []
    rest = {name: value for name, value in shown.items() if name != ALL}
    if rest:
        worst = max(rest, key=lambda name: rest[name])
        hardest = "the hardest of the other slices" if hidden else "the hardest slice"
        told.append(f"{amount(first, rest[worst])} on {visible(worst)}, {hardest}")
    if told:
        said.append(
            f"this log finds, with 80 % power, losses of {title} of {'; '.join(told)} "
            f"(minimum detectable effects{_CAUTION})"
        )
    if hidden:
        said.append(
            f"no loss of {title} can be shown, with so few users, on "
            f"{first_of([visible(name) for name in hidden], len(hidden))}"
        )
    return Notice("detectable", "; ".join(said), "before the start")
