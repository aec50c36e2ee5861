"""What an A/B replay of two engines or endpoints found: ab.json holds one `AbRecord`.

The first arm is the control, the second the treatment. Differences are control − treatment where
higher is better, and treatment − control where lower is: positive when the treatment loses. Times
are in milliseconds where a name ends in ``ms``, in seconds where it ends in ``s``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from calaudit.results.audited import Artefact, MetricRecord
from calaudit.results.comparison import Verdict
from calaudit.results.values import Count, Estimate, Level, Name, Ordinal, Share, Size, settle
from calaudit.runtime.errors import Notice

Mode = Literal["split", "shadow"]
"""Split: each user's requests go to one arm. Shadow: every request goes to both."""
Status = Literal["ok", "not_finite", "other_shape", "error", "timeout", "lost"]
"""What became of a request. ok: answered in time. not_finite: answered, with NaN or infinity where
FP32 has numbers. other_shape: answered in another shape or element type than the model's. error:
the arm refused or failed. timeout: no answer in time. lost: the arm couldn't be reached, or the
connection broke."""
Quantity = Literal["p50", "p95", "p99"]
"""Of a distribution of latencies."""


@dataclass(frozen=True, slots=True)
class ArmLatency:
    """How long one arm's answers took, from when the request should have left."""

    n: Count
    """Requests that it rests on: those answered, and those that timed out."""
    p50_ms: Estimate
    """The median; unknown where as many timed out, as the others are."""
    p95_ms: Estimate
    """95 % were answered within."""
    p99_ms: Estimate
    """99 % were answered within."""
    mean_ms: float | None
    """Of those that were answered."""
    max_ms: float | None
    """Of those that were answered."""
    timed_out: Count
    """They count as longer than any answer."""
    waiting_p50_ms: float | None = None
    """Of this, before the arm began with it: the median."""
    waiting_p99_ms: float | None = None
    """The same, at the 99th percentile."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure of one arm."""

    status: Status
    """What became of the requests."""
    message: str
    """What was wrong, in words."""
    count: Ordinal
    """Requests that failed so."""
    first: Count
    """Number of the first of them in the log, from 0."""


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """One arm: an engine of the audit in this process, or an endpoint."""

    name: Name
    """A cell's id, or an address; with a number behind it where both arms have the same."""
    role: Literal["control", "treatment"]
    """The first arm is the control."""
    kind: Literal["engine", "endpoint"]
    """Whether it ran in this process or was reached over a network."""
    concurrency: Ordinal
    """Requests that it has in hand at a time."""
    details: Mapping[str, str]
    """What identifies it: library, version, options, protocol."""
    requests: Count
    """Sent to it."""
    users: Count
    """From whom."""
    statuses: Mapping[str, Count]
    """What became of the requests: `Status` → how many."""
    failures: tuple[Failure, ...]
    """Those that failed, by kind, the most frequent first."""
    latency: ArmLatency
    """From when requests should have left."""
    ended_at: Count | None = None
    """Number in the log, from 1, of the last request that it answered, where all after it failed;
    0: all failed; None: it answered until the end."""

    @property
    def failed(self) -> int:
        """Requests without a usable answer."""
        return sum(count for status, count in self.statuses.items() if status != "ok")


@dataclass(frozen=True, slots=True)
class LatencyDifference:
    """How much slower the treatment is."""

    quantity: Quantity
    """Of the two distributions."""
    slower_ms: Estimate
    """Treatment − control."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The requests, and whether they left when they should."""

    requests: Count
    """In the log, without those that were skipped; each may have gone to both arms."""
    sent: Count
    """That left before the replay ended."""
    users: Count
    """From whom."""
    samples: Count
    """Different ones."""
    span_s: Size
    """From the first to the last request, as replayed."""
    speed: Size
    """Seconds of the log per second."""
    skipped: Count
    """Requests of samples that the pool doesn't have."""
    not_judged: Count
    """Requests of samples that the audit doesn't evaluate: sent, timed, and not scored."""
    lag_p50_ms: float | None
    """How much later than they should requests left: the median."""
    lag_p99_ms: float | None
    """The same, at the 99th percentile."""
    lag_max_ms: float | None
    """The largest."""
    kept_up: bool
    """Whether requests left on time, so that latencies are the arms' own."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class AbGate:
    """What a result must keep to."""

    max_drop: float
    """Largest loss against the control that is accepted, in the metric's unit."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class AbResult:
    """One metric of the treatment against the control on one slice."""

    metric: Name
    """A metric of the audit, a column of the log's outcomes, or ``failures``."""
    kind: Literal["quality", "outcome", "failures"]
    """Quality: scored by the audit's tasks. Outcome: as the log has it. Failures: requests without
    a usable answer."""
    slice: Name
    """A slice of the audit, of the samples that were asked for."""
    n_control: Count
    """Scored requests of the control."""
    n_treatment: Count
    """Scored requests of the treatment."""
    users_control: Count
    """They come from so many users, who are the independent units."""
    users_treatment: Count
    """The same of the treatment."""
    control: float | None
    """The metric over the control's requests."""
    treatment: float | None
    """The metric over the treatment's requests."""
    drop: float | None
    """Positive when the treatment loses, whichever way the metric points. Where arms got different
    requests, by what is left of their scores beside FP32's on the same samples."""
    low: float | None
    """Lower end of the two-sided interval of the drop, for a length that was fixed before."""
    high: float | None
    """Upper end of it."""
    level: Level
    """Confidence level of both kinds of interval."""
    p_value: Share | None
    """Two-sided, of "no difference", for a length that was fixed before."""
    p_adjusted: Share | None = None
    """With a gate, and of failures: Holm's correction over all of these; of `always_p` in place of
    `p_value` where the replay was ended early."""
    always_low: float | None = None
    """Lower end of the confidence sequence at the end: it holds at every request at once, so that
    one may watch and stop."""
    always_high: float | None = None
    """Upper end of it."""
    always_p: Share | None = None
    """Two-sided, of "no difference"; it holds however often one looked."""
    decided_at: Count | None = None
    """Number of the request, from 1, after which the watched test told the arms apart: with a gate,
    and of failures, corrected by Holm's method; None: it never did."""
    detectable: Size | None = None
    """Smallest drop that this log's users find with 80 % power, worked out before the start."""
    gate: AbGate | None = None
    """None: the result is informative only."""
    verdict: Verdict | None = None
    """None without a gate."""
    reason: str | None = None
    """Why the verdict is inconclusive."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Look:
    """A difference as it was at one request."""

    request: Ordinal
    """Its number in the log, from 1."""
    drop: float
    """So far."""
    low: float | None
    """Lower end of the confidence sequence; None where it had none yet."""
    high: float | None
    """Upper end of it."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Watched:
    """How a difference went on while requests came."""

    metric: Name
    """As in `AbResult`."""
    slice: Name
    """As in `AbResult`."""
    looks: tuple[Look, ...]
    """Some, evenly spread; the last is the last request's."""


@dataclass(frozen=True, slots=True)
class SameAnswers:
    """How alike the arms' answers to the same samples are."""

    metric: str | None
    """A metric of likeness, the control in FP32's place; None: the same outputs, to the bit."""
    samples: Count
    """Different samples that both arms answered."""
    value: float | None
    """The metric, or the share of samples."""
    unsteady_control: Count = 0
    """Samples to which the control gave more than one answer, to the bit."""
    unsteady_treatment: Count = 0
    """The same of the treatment."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether users went to the arms in the shares that were asked for."""

    asked: Share
    """The treatment's share."""
    control: Count
    """Users of the control."""
    treatment: Count
    """Users of the treatment."""
    p_value: Share | None
    """Two-sided, of "the shares are those asked for", for a length that was fixed before."""
    always_p: Share | None = None
    """The same, however often one looked."""
    mismatch: bool = False
    """Whether they differ beyond chance: then no difference between the arms means anything."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class AbSettings:
    """How the replay was asked for."""

    mode: Mode
    """Split or shadow."""
    share: Share
    """Of the users that go to the treatment; in shadow mode 1."""
    salt: str
    """Of the hash that assigns users to arms."""
    requests: Name
    """The log's file name, or how requests were generated."""
    timeout_s: Size
    """After it an answer counts as lost."""
    seed: Count
    """Of generated requests and of resampling."""


@dataclass(frozen=True, slots=True)
class AbAudit:
    """The audit that gave samples, tasks, slices and gates."""

    name: Name
    """As the audit file names it."""
    model: Artefact
    """The FP32 model."""
    pool: Artefact
    """The samples."""
    report_created: str | None
    """ISO 8601, UTC: of the report whose engines ran; None where the audit has none."""


@dataclass(frozen=True, slots=True)
class AbRecord:
    """All that an A/B replay found."""

    calaudit_version: Name
    """The release that wrote it."""
    created: str
    """ISO 8601, UTC."""
    verdict: Verdict
    """Of the whole: PASS, no harm found and every gate kept; REGRESSED, the treatment loses."""
    why: tuple[str, ...]
    """What the verdict rests on, in words."""
    complete: bool
    """Whether the log was replayed to its end; if not, the verdict rests on what may be watched."""
    audit: AbAudit
    """The audit behind it."""
    environment: Mapping[str, str | None]
    """Versions, ``platform``, ``cpu``, ``gpu``."""
    settings: AbSettings
    """How it was asked for."""
    replayed: Replayed
    """The requests."""
    arms: Annotated[tuple[ArmRecord, ...], MinLen(2), MaxLen(2)]
    """Control, treatment."""
    slower: tuple[LatencyDifference, ...]
    """Of the treatment."""
    metrics: tuple[MetricRecord, ...]
    """Those that results and same answers name; the first is the headline metric."""
    results: tuple[AbResult, ...]
    """In the order of metrics and slices; failures first."""
    watched: tuple[Watched, ...] = ()
    """Of the headline metric on all samples, and of what decides."""
    same_answers: tuple[SameAnswers, ...] = ()
    """To the same samples."""
    sample_ratio: SampleRatio | None = None
    """In split mode."""
    warnings: tuple[Notice, ...] = ()
    """What didn't stop the replay but belongs to it."""
    timings: Mapping[str, Size] = field(default_factory=dict)
    """Stage → seconds of wall time."""
