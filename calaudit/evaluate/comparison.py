"""What a comparison of one engine with FP32 on one slice holds."""

from dataclasses import dataclass
from enum import StrEnum

from calaudit.evaluate.metric import Metric


class Verdict(StrEnum):
    """The three answers to "did this slice lose more than its gate allows?"."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Flips:
    """Units whose binary score changed."""

    lost: int
    """Good under FP32, bad under the engine."""
    gained: int
    """The reverse."""


@dataclass(frozen=True, slots=True)
class MinSupport:
    """Units that a slice needs before it may PASS, by how its bound was found.

    The score interval and Clopper–Pearson keep their promise at any n; a few dozen units are
    asked so that a slice means something. Resampling needs more: simulated, bootstrap-t passes
    9 % instead of 5 % at n = 100 and 6 % at n = 300.
    """

    counted: int = 30
    """For ``tango`` and ``clopper-pearson``."""
    resampled: int = 300
    """For ``bootstrap-t`` and ``jackknife``."""

    def of(self, interval: str | None) -> int:
        """For a bound that was found by that method."""
        return self.resampled if interval in {"bootstrap-t", "jackknife"} else self.counted

    def at_least(self, n: int) -> "MinSupport":
        """Raised to `n` where it is lower."""
        return MinSupport(max(self.counted, n), max(self.resampled, n))


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
    interval: str | None
    """``"tango"``, ``"bootstrap-t"``, ``"clopper-pearson"``, ``"jackknife"``; None where none."""
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
    max_drop: float | None = None
    """The gate."""
    p_adjusted: float | None = None
    """After Holm over the slices of this cell and metric."""
    verdict: Verdict | None = None
    """None where there is no gate."""
    n_needed: int | None = None
    """Units at which, at the observed rates, an INCONCLUSIVE verdict would be decided."""
