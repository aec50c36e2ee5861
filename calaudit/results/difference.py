"""Two reports side by side: what changed per slice, beyond noise; what came, went, or was set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from calaudit.results.audited import Role
from calaudit.results.comparison import Verdict
from calaudit.results.values import Count, Estimate, Level, Name, Ordinal, Share, settle

How = Literal["paired", "intervals"]
"""Unit by unit, on the same samples; or by the two reports' intervals, taken as independent."""
Finding = Literal["worse", "better"]
Kind = Literal["engines", "slices", "metrics", "calibration sets"]


@dataclass(frozen=True, slots=True)
class ReportName:
    """One of the two reports."""

    audit: Name
    """The audit's name."""
    created: str
    """ISO 8601, UTC."""
    calaudit_version: Name
    """The release that wrote it."""
    verdict: Verdict
    """Of the whole audit."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that the two audits don't share."""

    key: Name
    """``audit.seed``, ``model``, ``environment.onnxruntime``, …"""
    a: str | None
    """As JSON; None where it isn't set."""
    b: str | None
    """Likewise."""


@dataclass(frozen=True, slots=True)
class OnlyIn:
    """What one report has and the other hasn't."""

    kind: Kind
    a: tuple[Name, ...]
    """Only in the first."""
    b: tuple[Name, ...]
    """Only in the second."""


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of one engine on one slice, in both reports."""

    cell: Name
    """The id of a cell of both."""
    slice: Name
    """The name of a slice of both."""
    metric: Name
    """The name of a metric of both."""
    n_a: Count
    """Units of the first."""
    n_b: Count
    """Units of the second."""
    broken_a: Count
    """Units that the engine of the first gave no finite output for; no drop counts them."""
    broken_b: Count
    """Those of the second."""
    drop_a: float | None
    """Drop in the first report, in the metric's unit."""
    drop_b: float | None
    """Drop in the second."""
    change: float | None
    """`drop_b` − `drop_a`: positive where the second loses more."""
    low: float | None
    """Lower end of the two-sided interval of the change; None where unknown."""
    high: float | None
    """Upper end of it."""
    level: Level
    """Its level."""
    how: How
    """What the interval rests on."""
    p_value: Share | None
    """Two-sided, of no change; None where unknown."""
    p_adjusted: Share | None
    """Holm's correction over the changes that decide; of the others Benjamini and Yekutieli's."""
    gated: bool
    """Whether a gate of either report holds it."""
    role: Role
    """Of the engine: a control only where it is one in both reports."""
    verdict_a: Verdict | None
    """In the first report; None without a gate."""
    verdict_b: Verdict | None
    """In the second."""
    finding: Finding | None = None
    """Whether the second loses more or less, beyond noise, or breaks more units; None where neither
    is known."""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def decides(self) -> bool:
        """Whether the exit status asks for it: a gate holds it, and it isn't a control's."""
        return self.gated and self.role == "candidate"


@dataclass(frozen=True, slots=True)
class BenchChange:
    """One engine's speed in both reports' benches."""

    engine: Name
    """The id of a benched engine of both."""
    variant: str
    """Its compiler knobs' name; empty for the audit's own."""
    quantity: Literal["latency", "throughput"]
    """The median latency in ms, or samples per second."""
    batch: Ordinal
    """Samples of a batch."""
    streams: Ordinal | None
    """Batches under way at a time, of throughput."""
    a: Estimate
    """In the first report."""
    b: Estimate
    """In the second."""
    speed: Estimate | None
    """How many times as fast it is in the second; None where the two can't be compared. Its
    interval holds wherever those of both do."""


@dataclass(frozen=True, slots=True)
class BenchDifference:
    """What changed from one bench to another."""

    apart: str | None
    """Why speeds can't be compared; None where they can."""
    changes: tuple[BenchChange, ...]
    """In the second bench's order: its reference first, which shows what changed of the machine."""


@dataclass(frozen=True, slots=True)
class ReportDifference:
    """What changed from one report to another."""

    a: ReportName
    b: ReportName
    settings: tuple[Setting, ...]
    """What differs of settings, inputs and environment."""
    only: tuple[OnlyIn, ...]
    """What one of them lacks, kinds of thing without any left out."""
    rebuilt: tuple[Name, ...]
    """Engines of both whose graphs differ."""
    unpaired: str | None
    """Why comparisons rest on intervals; None where all are paired."""
    changes: tuple[Change, ...]
    """Everything that both measured, in the second report's order."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Metric → unit of its drops."""
    bench: BenchDifference | None = None
    """What changed between their benches; None where one of them has none."""

    @property
    def exit_status(self) -> int:
        """Of candidates' gated comparisons: 1 one is worse beyond noise, 3 none could be compared.

        0 else.
        """
        decisive = [each for each in self.changes if each.decides]
        if any(each.finding == "worse" for each in decisive):
            return 1
        return 0 if any(each.p_value is not None for each in decisive) else 3
