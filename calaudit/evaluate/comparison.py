"""What a comparison of one engine with FP32 on one slice holds."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from calaudit.metrics.base import Metric
from calaudit.runtime.errors import SettingsError


class Verdict(StrEnum):
    """The three answers to "did this slice lose more than its gate allows?"."""

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
    """A loss by itself, but among so many comparisons one like it is expected by chance."""
    REFERENCE_LOW = "FP32 itself is too low"
    """It misses the gate's floor."""
    NOTHING_TO_LOSE = "FP32 has no more to lose than the gate allows"
    """No engine could fail the gate, so that passing it says nothing."""
    WIDE_INTERVAL = "interval too wide"
    """The drop may be above the gate, and may be none."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Units whose binary score changed."""

    lost: int
    """Good under FP32, bad under the engine."""
    gained: int
    """The reverse."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest drop that a gate allows: absolute, a share of what FP32 reaches, or the stricter.

    Raises
    ------
    SettingsError
        Neither is given, or one isn't a finite number above 0.
    """

    max_drop: float | None = None
    """In the metric's unit."""
    max_relative_drop: float | None = None
    """Of the metric under FP32 on the same slice: 0.05 is 5 % of it. FP32's value is taken as it
    was measured; its own sampling error, times so small a share, is negligible beside the drop's.
    """

    def __post_init__(self) -> None:
        given = [each for each in (self.max_drop, self.max_relative_drop) if each is not None]
        if not given:
            raise SettingsError(
                "a gate has neither max_drop nor max_relative_drop",
                next_step="Give the drop that is tolerable.",
            )
        for value in given:
            if not 0 < value < math.inf:
                raise SettingsError(
                    f"the tolerable drop is {value}",
                    next_step="Give the drop that is tolerable, above 0.",
                )

    def of(self, reference: float) -> float:
        """The drop allowed where FP32 reaches `reference`; a share of an undefined value is 0."""
        return min(self._share(reference), math.inf if self.max_drop is None else self.max_drop)

    def relative_at(self, reference: float) -> float | None:
        """`max_relative_drop`, where it is what holds."""
        share = self._share(reference)
        held = self.max_drop is None or share < self.max_drop
        return self.max_relative_drop if held else None

    def stricter(self, other: "Tolerance") -> "Tolerance":
        """What both allow."""
        return Tolerance(
            _least(self.max_drop, other.max_drop),
            _least(self.max_relative_drop, other.max_relative_drop),
        )

    def _share(self, reference: float) -> float:
        if self.max_relative_drop is None:
            return math.inf
        return 0.0 if math.isnan(reference) else self.max_relative_drop * abs(reference)


def _least(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class MinSupport:
    """What a slice needs before it may PASS, by how its bound was found.

    The score interval and Clopper–Pearson keep their promise at any n; a few dozen units are
    asked so that a slice means something. Resampling needs more.
    """

    counted: int = 30
    """Units, for ``tango``, ``tango-clustered`` and ``clopper-pearson``."""
    resampled: int = 300
    """Units, for ``bootstrap-t`` and ``jackknife``."""
    clusters: int = 5
    """Clusters, where units come in clusters."""

    def of(self, interval: str | None) -> int:
        """Units, for a bound that was found by that method."""
        return self.resampled if interval in {"bootstrap-t", "jackknife"} else self.counted

    def at_least(self, n: int) -> "MinSupport":
        """Raised to `n` units where it is lower."""
        return replace(self, counted=max(self.counted, n), resampled=max(self.resampled, n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One engine against FP32, on one slice, by one metric."""

    cell: str
    slice: str
    metric: Metric
    n: int
    """Units compared."""
    n_left_out: int
    """Units of the slice without a score under FP32, such as queries without a relevant item."""
    n_broken: int = 0
    """Units that have a score under FP32 but none under the engine: its output wasn't finite."""
    reference: float | None
    """The metric under FP32; None where it isn't defined, as for n = 0."""
    candidate: float | None
    """The metric under the engine."""
    drop: float | None
    """Quality lost: positive whichever way the metric points."""
    low: float | None
    """Lower end of the two-sided interval of the drop at `level`; None where unbounded."""
    high: float | None
    level: float
    joint_low: float | None = None
    """Lower end that holds for everything that claims are made about at once: with `high` an
    interval at `level` of the drop, though it was picked as the largest of many. None where none
    is known, or no claim is made."""
    interval: str | None
    """``"tango"``, ``"tango-clustered"``, ``"bootstrap-t"``, ``"clopper-pearson"``,
    ``"jackknife"``; None where none."""
    one_sided_low: float | None
    """Lower bound of the drop at one-sided level 1 − α."""
    one_sided_high: float | None
    """Upper bound of the drop at one-sided level 1 − α: what a gate is held against."""
    alpha: float
    flips: Flips | None = None
    """Of a binary metric."""
    p_value: float | None
    """One-sided, of "the drop is at most `margin`"."""
    margin: float = 0.0
    """0, but the gate for agreement metrics, which any change at all moves away from perfect."""
    n_changed: int
    """Units that score differently under the engine."""
    n_clusters: int | None = None
    """Clusters that the units come from, of which at most 2,048 are told apart; None where every
    unit is independent."""
    design_effect: float | None = None
    """Variance of the drop over that of as many independent units; None where unknown."""
    max_drop: float | None = None
    """The gate, in the metric's unit."""
    max_relative_drop: float | None = None
    """The gate as a share of `reference`, where it was given so."""
    min_reference: float | None = None
    """The least `reference` with which the slice may pass; the most, where lower is better."""
    standard_error: float | None = None
    """Of the drop, of one more unit that changes as much as the one that changed most; None where
    unknown."""
    n_effective: float | None = None
    """Independent units of equal size that the units amount to: Kish's (Σm)²/Σm² over clusters, or
    over weighted units."""
    smallest_provable_drop: float | None = None
    """What as many units could certify if not one had changed: no gate below it PASSes. None where
    nothing bounds what a unit may lose."""
    n_to_prove: int | None = None
    """Units like these that would be enough for the gate if none changed; None where no number is,
    or nothing bounds what a unit may lose."""
    plain_high: float | None = None
    """`one_sided_high` before it was stretched for a heavy tail."""
    p_adjusted: float | None = None
    """With a gate: Holm's, over its family. Without: Benjamini and Yekutieli's, over all such
    comparisons of this metric."""
    family: str | None = None
    """The comparisons that `p_adjusted` corrects for: ``"candidates"``, or what `judge` was told;
    without a gate ``"screening of METRIC"``. None without a test."""
    family_size: int | None = None
    """Tests in it."""
    verdict: Verdict | None = None
    """None where there is no gate."""
    reason: Reason | None = None
    """Why it is INCONCLUSIVE."""
    n_needed: int | None = None
    """Units at which a comparison as it is now INCONCLUSIVE would be decided, with a chance of
    80 %."""
