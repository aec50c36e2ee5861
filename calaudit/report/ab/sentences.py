"""What an A/B replay found, in sentences."""

from collections.abc import Iterator, Mapping

from calaudit.report.ab.rows import metrics_of, milliseconds
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
from calaudit.runtime.words import counted, visible


def headline(record: AbRecord) -> str:
    """Verdict and what it rests on, in one sentence."""
    control, treatment = (visible(arm.name) for arm in record.arms)
    lost = [one for one in record.results if one.verdict == Verdict.REGRESSED]
    said = f"{treatment} against {control}: {'; '.join(record.why)}"
    if not lost:
        return said
    worst = min(lost, key=lambda one: (one.kind == "failures", -(one.low or 0.0), one.slice))
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
    p_value = one.p_adjusted if record.complete else one.always_p
    tested = "" if p_value is None else f", p = {p_value:.2g}"
    return f"{told} ({percent(one.level)} {kind} {between(metric, low, high)}{tested})"


def facts(record: AbRecord) -> list[str]:
    """What was replayed, and how."""
    told, settings = record.replayed, record.settings
    how = (
        "every request went to both arms"
        if settings.mode == "shadow"
        else f"{percent(settings.share)} of users got the treatment"
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
            yield f"{title}, the control in FP32's place: {value}"
    ratio = record.sample_ratio
    if ratio is not None:
        p_value = "" if ratio.p_value is None else f", p = {ratio.p_value:.2g}"
        text = (
            f"users with an answer: {ratio.control:,} control, {ratio.treatment:,} treatment, "
            f"asked {percent(ratio.asked)}{p_value}"
        )
        yield f"{text}: SAMPLE RATIO MISMATCH" if ratio.mismatch else text


def foreseen_notice(
    effects: Mapping[tuple[str, str], float], metrics: Mapping[str, MetricRecord]
) -> Notice | None:
    """What the log will be able to find, told before the replay; None where nothing is known.

    Parameters
    ----------
    effects : mapping
        (metric, slice) → minimum detectable effect.
    metrics : mapping
        Name → what it means.
    """
    if not effects or not metrics:
        return None
    first = next(iter(metrics.values()))
    own = {name: value for (metric, name), value in effects.items() if metric == first.name}
    if not own:
        return None
    told = [f"{amount(first, own[ALL])} on all samples"] if ALL in own else []
    rest = {name: value for name, value in own.items() if name != ALL}
    if rest:
        worst = max(rest, key=lambda name: rest[name])
        told.append(f"{amount(first, rest[worst])} on {visible(worst)}, the hardest slice")
    message = (
        f"this log finds, with 80 % power, losses of {in_sentence(first)} of {'; '.join(told)} "
        "(minimum detectable effects)"
    )
    return Notice("detectable", message, "before the start")
