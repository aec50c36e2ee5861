"""What a replay came to, as the record's parts: arms, latencies, lag, what was watched."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.arms import Arm
from calaudit.ab.comparing import Compared, Requests
from calaudit.ab.replay import OK, STATUSES, TIMEOUT, UNSENT, Course, Replay
from calaudit.audit.earlier import earlier_report
from calaudit.audit.prepare import Audit
from calaudit.audit.records import audit_record
from calaudit.results.ab import (
    AbAudit,
    AbResult,
    ArmLatency,
    ArmRecord,
    Failure,
    LatencyDifference,
    Look,
    Quantity,
    Replayed,
    SampleRatio,
    Watched,
)
from calaudit.results.values import Estimate
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted
from calaudit.statistics.latency import Latencies, Percentile, latencies
from calaudit.statistics.sample_ratio import ALPHA, sample_ratio

LATE_MS: Final = 5.0
"""Milliseconds by which 99 % of requests may leave late before latencies are doubted."""
LATE_SHARE: Final = 0.1
"""Or this share of the faster arm's median latency."""
MOST_LOOKS: Final = 120
MOST_WATCHED: Final = 6
MOST_FAILURES: Final = 8
_GONE: Final = 10
"""Requests in a row, up to the last, that fail where an arm has ended."""
Floats = NDArray[np.float64]


def timed(replay: Replay, due: Floats, requests: Requests, *, level: float, seed: int) -> Latencies:
    """Latencies of both arms in milliseconds, from when requests should have left.

    Of those that left: stretches of time that nobody sent anything in would tell nothing.
    """
    n = replay.n_sent
    each = [_latency(course, due)[:n] for course in replay.courses]
    if requests.arm is None:
        arm = np.tile(np.array([0, 1], np.int8), n)
        return latencies(arm, np.stack(each, axis=1).ravel(), level=level, seed=seed)
    arm = requests.arm[:n]
    return latencies(arm, np.where(arm == 0, each[0], each[1]), level=level, seed=seed)


def _latency(course: Course, due: Floats) -> Floats:
    """(n,) infinite where no answer came in time, NaN where it was refused or never sent."""
    answered = (course.status == OK) | np.isin(
        course.status, [STATUSES.index("not_finite"), STATUSES.index("other_shape")]
    )
    took = np.where(answered, 1e3 * (course.done - due), np.nan)
    return np.where(course.status == TIMEOUT, np.inf, took)


def arm_records(
    arms: Sequence[tuple[str, Arm]],
    replay: Replay,
    due: Floats,
    requests: Requests,
    found: Latencies,
) -> tuple[ArmRecord, ...]:
    """Each arm: what it is, what became of its requests, and how long they took.

    Parameters
    ----------
    arms : sequence of (str, Arm)
        What each is called in the record, and the arm.
    """
    made = []
    for place, ((name, arm), course) in enumerate(zip(arms, replay.courses, strict=True)):
        asked = course.status != UNSENT
        counts = Counter(STATUSES[status] for status in course.status[asked].tolist())
        made.append(
            ArmRecord(
                name=name,
                role="treatment" if place else "control",
                kind="endpoint" if "endpoint" in arm.record else "engine",
                concurrency=arm.concurrency,
                details=dict(arm.record),
                requests=int(np.count_nonzero(asked)),
                users=len(np.unique(requests.user[asked])),
                statuses={each: counts[each] for each in STATUSES[1:]},
                failures=tuple(_failures(course)),
                latency=_arm_latency(course, due, (found.control, found.treatment)[place]),
                ended_at=_ended_at(course),
            )
        )
    return tuple(made)


def _failures(course: Course) -> Iterator[Failure]:
    told = sorted(course.messages.items(), key=lambda each: -each[1][1])
    for message, (status, count, first) in told[:MOST_FAILURES]:
        yield Failure(STATUSES[status], message, count, first)


def _arm_latency(course: Course, due: Floats, found: Sequence[Percentile]) -> ArmLatency:
    took = _latency(course, due)
    known = took[np.isfinite(took)]
    waited = 1e3 * (course.begun - due)[np.isfinite(took)]
    p50, p95, p99 = (Estimate(each.value, each.low, each.high) for each in found)
    return ArmLatency(
        n=int(np.count_nonzero(~np.isnan(took))),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        mean_ms=float(known.mean()) if len(known) else None,
        max_ms=float(known.max()) if len(known) else None,
        timed_out=int(np.count_nonzero(np.isinf(took))),
        waiting_p50_ms=float(np.quantile(waited, 0.5)) if len(waited) else None,
        waiting_p99_ms=float(np.quantile(waited, 0.99)) if len(waited) else None,
    )


def _ended_at(course: Course) -> int | None:
    """Number, from 1, of the last request with a usable answer, where many without followed.

    0: none had one at all.
    """
    asked = np.flatnonzero(course.status != UNSENT)
    good = np.flatnonzero(course.status[asked] == OK)
    last = int(good[-1]) if len(good) else -1
    if len(asked) - 1 - last < _GONE:
        return None
    return int(asked[last]) + 1 if last >= 0 else 0


def slower_records(found: Latencies) -> tuple[LatencyDifference, ...]:
    """How much slower the treatment is."""
    names: tuple[Quantity, ...] = ("p50", "p95", "p99")
    return tuple(
        LatencyDifference(name, Estimate(each.value, each.low, each.high))
        for name, each in zip(names, found.difference, strict=True)
    )


def replayed_record(
    replay: Replay,
    due: Floats,
    requests: Requests,
    *,
    speed: float,
    skipped: int,
    fastest_ms: float | None,
) -> Replayed:
    """The requests, and whether they left when they should.

    Parameters
    ----------
    fastest_ms : float or None
        The faster arm's median latency.
    """
    n, lag = len(due), 1e3 * replay.lag
    late = float(np.quantile(lag, 0.99)) if len(lag) else 0.0
    return Replayed(
        requests=n,
        sent=replay.n_sent,
        users=len(np.unique(requests.user)),
        samples=len(np.unique(requests.rows)),
        span_s=float(due[-1] - due[0]) if n else 0.0,
        speed=speed,
        skipped=skipped,
        not_judged=int(np.count_nonzero(~requests.judged)),
        lag_p50_ms=float(np.quantile(lag, 0.5)) if len(lag) else None,
        lag_p99_ms=late if len(lag) else None,
        lag_max_ms=float(lag.max()) if len(lag) else None,
        kept_up=late <= max(LATE_MS, LATE_SHARE * (fastest_ms or 0.0)),
    )


def replay_notices(
    record: Replayed, arms: Sequence[ArmRecord], *, complete: bool
) -> Iterator[Notice]:
    """What is to be said of how requests left and what became of them."""
    if not complete:
        message = (
            f"was ended after {record.sent:,} of {record.requests:,} requests: verdicts rest on "
            "what may be watched"
        )
        yield Notice("ended_early", message, "replay")
    if not record.kept_up:
        message = (
            f"the replayer itself didn't keep up: 1 % of requests left more than "
            f"{record.lag_p99_ms:.1f} ms late, which latencies contain; replay slower (--speed), "
            "or on a machine with free cores"
        )
        yield Notice("replayer_late", message, "replay")
    if record.not_judged:
        message = (
            f"{counted(record.not_judged, 'request')} of {record.requests:,} ask for samples that "
            "the audit doesn't evaluate: they were sent and timed, and aren't scored"
        )
        yield Notice("not_judged", message, "replay")
    for arm in arms:
        if arm.ended_at is not None:
            worst = arm.failures[0].message if arm.failures else "no answer in time"
            after = f" after number {arm.ended_at:,}" if arm.ended_at else ""
            message = f"had no usable answer to any request{after}: {worst}"
            yield Notice("arm_ended", message, arm.name)
        elif arm.failed:
            shown = "; ".join(f"{each.message} ({each.count:,})" for each in arm.failures[:3])
            message = (
                f"{counted(arm.failed, 'request')} of {arm.requests:,} got no usable answer"
                + (f": {shown}" if shown else "")
            )
            yield Notice("requests_failed", message, arm.name)


def ratio_record(
    requests: Requests, replay: Replay, share: float, *, complete: bool
) -> SampleRatio | None:
    """Whether users came to the arms in the shares asked for; of those with an answer.

    A replay that was ended early is judged by what may be watched.
    """
    if requests.arm is None:
        return None
    answered = (replay.courses[0].status == OK) | (replay.courses[1].status == OK)
    if not answered.any():
        return None
    found = sample_ratio(requests.arm[answered], requests.user[answered], share=share)
    p_value = found.p_value
    return SampleRatio(
        share,
        found.users_control,
        found.users_treatment,
        p_value,
        found.p_always,
        mismatch=(p_value if complete else found.p_always) <= ALPHA,
    )


def watched_records(
    compared: Sequence[Compared], results: Sequence[AbResult]
) -> tuple[Watched, ...]:
    """Courses of the first quality result, and of those with a verdict that lost most surely."""
    first = [place for place, one in enumerate(compared) if one.kind == "quality"][:1]
    judged = [place for place, one in enumerate(results) if one.gate is not None]
    judged.sort(key=lambda place: (results[place].always_p is None, results[place].always_p))
    chosen = list(dict.fromkeys([*first, *judged]))[:MOST_WATCHED]
    return tuple(filter(None, (_course(compared[place]) for place in chosen)))


def _course(one: Compared) -> Watched | None:
    watch = one.watch.thinned(MOST_LOOKS)
    looks = tuple(
        Look(int(request), -float(at), _end(-float(at) - float(far)), _end(-float(at) + float(far)))
        for request, at, far in zip(watch.request, watch.estimate, watch.radius, strict=True)
        if np.isfinite(at)
    )
    return Watched(one.metric, one.slice, looks) if looks else None


def _end(value: float) -> float | None:
    return value if np.isfinite(value) else None


def audit_part(audit: Audit) -> AbAudit:
    """The audit that gave samples, tasks, slices and gates."""
    report = earlier_report(audit.plan.report)
    whole = audit_record(audit)
    created = None if report is None else report.created
    return AbAudit(whole.name, whole.model, whole.pool, created)
