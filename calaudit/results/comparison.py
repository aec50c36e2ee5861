"""One engine against FP32 on one slice by one metric: numbers, gate and verdict."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from calaudit.results.values import Count, Level, Name, Ordinal, Share, Size, settle

ALL = "all"
"""Name of the slice that holds every evaluated sample."""

Interval = Literal["tango", "tango-clustered", "bootstrap-t", "clopper-pearson", "jackknife"]
"""How an interval was computed."""


class Verdict(StrEnum):
    """Result of a comparison, or of the whole audit."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"


class Reason(StrEnum):
    """Why a comparison is INCONCLUSIVE."""

    NO_UNITS = "no units"
    UNBOUNDED = "nothing bounds the drop"
    TOO_FEW_UNITS = "too few units"
    """For the gate, or for the slice's minimum support."""
    TOO_FEW_CLUSTERS = "too few clusters"
    """There would be enough units, if each were independent of the others."""
    HEAVY_TAIL = "heavy tail"
    """The bound is below the gate, but so few units carry the variance that it can't be trusted."""
    MANY_COMPARISONS = "many comparisons"
    """A loss by itself, but not significant after correction for multiple comparisons."""
    REFERENCE_LOW = "FP32 itself is too low"
    """It misses the gate's floor."""
    NOTHING_TO_LOSE = "FP32 has no more to lose than the gate allows"
    """No engine could fail the gate, so that passing it says nothing."""
    WIDE_INTERVAL = "interval too wide"
    """The drop may be above the gate, and may be none."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Samples whose right/wrong score changed."""

    lost: Count
    """Right under FP32, wrong under the candidate."""
    gained: Count
    """Wrong under FP32, right under the candidate."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a result must keep to."""

    max_drop: float
    """Largest drop that is accepted, in the metric's unit."""
    max_relative_drop: float | None = None
    """The same as a share of `reference`, where the gate was given so."""
    min_reference: float | None = None
    """The least `reference` with which it may pass; the most, where lower is better."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Result:
    """One metric of one cell on one slice, against FP32 on the same samples."""

    cell: Name
    """The id of a cell."""
    slice: Name
    """The name of a slice."""
    metric: Name
    """The name of a metric."""
    n: Count
    """Samples that the numbers rest on, or what else the metric scores: see its `per`."""
    reference: float | None
    """The metric under FP32; None where it isn't defined, as for `n` = 0."""
    candidate: float | None
    """The metric under the cell's engine."""
    drop: float | None
    """Positive when quality is lost, whichever way the metric points."""
    low: float | None
    """Lower end of the two-sided interval of the drop; None where unbounded."""
    high: float | None
    """Upper end of it."""
    level: Level | None
    """Confidence level of (`low`, `high`), such as 0.95."""
    interval: Interval | None
    """How it was computed: ``"tango"`` is the score interval of a paired difference,
    ``"jackknife"`` deletes groups. None where none could be."""
    flips: Flips | None = None
    """Of a binary metric."""
    p_value: Share | None = None
    """One-sided, of "the drop is at most `margin`"."""
    p_adjusted: Share | None = None
    """With a gate: Holm's correction over the gated results of its `family`. Without: Benjamini
    and Yekutieli's, over all such results of this metric."""
    gate: Gate | None = None
    """None: the result is informative only."""
    verdict: Verdict | None = None
    """None without a gate."""
    n_needed: Count | None = None
    """Required sample size: as many decide an inconclusive result with a probability of about 80
    %."""
    one_sided_low: float | None = None
    """Lower bound of the drop at one-sided level 1 − `alpha`."""
    one_sided_high: float | None = None
    """Upper bound of the drop at one-sided level 1 − `alpha`: the gate is tested with it."""
    alpha: Level | None = None
    """One-sided error of the two bounds above."""
    margin: float = 0.0
    """The drop that `p_value` tests against, in the metric's unit."""
    n_changed: Count | None = None
    """Samples whose score changed at all."""
    n_left_out: Count = 0
    """Samples of the slice without a score under FP32, such as queries without a relevant item."""
    n_broken: Count = 0
    """Samples that the cell's engine gave no finite output for."""
    n_clusters: Count | None = None
    """Clusters that the samples come from, of which at most 2,048 are distinguished; None where
    every sample is independent."""
    design_effect: float | None = None
    """Variance of the drop over that of as many independent samples; None where unknown."""
    joint_low: float | None = None
    """Simultaneous lower bound of all results that claims are made about: those with a gate;
    without any gate, those of the headline metric. With `high` it makes an interval that accounts
    for selecting the largest drop. None where none is known."""
    reason: str | None = None
    """Why the verdict is inconclusive: a `Reason`."""
    family: str | None = None
    """What `p_adjusted` corrects for: ``"candidates"``, all gated results that decide the audit;
    ``"controls"``; or, without a gate, ``"screening of METRIC"``."""
    family_size: Ordinal | None = None
    """Results in it that have a p-value."""
    standard_error: Size | None = None
    """Of the drop."""
    n_effective: Size | None = None
    """Effective sample size, in independent samples of equal weight."""
    smallest_provable_drop: float | None = None
    """Minimum detectable drop of as many samples if none changed; no smaller gate passes, but for
    independent right/wrong scores. None where nothing bounds what a sample may lose, and where an
    `interval` like this one proves nothing of so few samples or clusters."""
    n_to_prove: Count | None = None
    """Required sample size for the gate, if none changed; at least the minimum support of the
    slice for an `interval` like this one."""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def max_drop(self) -> float | None:
        """The gate's, in the metric's unit; None without a gate."""
        return None if self.gate is None else self.gate.max_drop
