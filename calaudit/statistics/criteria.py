"""What a verdict goes by: a gate's tolerance, the minimum support, and one engine's comparison."""

import math
from dataclasses import dataclass, replace

from calaudit.metrics.base import Metric
from calaudit.results.comparison import Result
from calaudit.runtime.errors import SettingsError


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
    """Units, for ``bootstrap-t``, and for ``jackknife`` where nothing bounds how far a unit can
    move the metric."""
    grouped: int = 100
    """Clusters, of which each unit is one where it stands alone, for ``jackknife`` otherwise: a
    PASS then leaves room for the clusters that the sample doesn't hold."""
    clusters: int = 5
    """Clusters, where units come in clusters."""
    own: int = 0
    """Units, whatever the bound."""

    def of(self, interval: str | None, *, per_cluster: float = 1.0, bounded: bool = True) -> float:
        """Units, for a bound that was found by that method.

        Parameters
        ----------
        interval : str or None
        per_cluster : float
            Units of a cluster; 1 where each stands alone.
        bounded : bool
            Whether it is known how far a unit can move the metric.
        """
        if interval == "jackknife" and bounded:
            return max(self.grouped * per_cluster, self.own)
        return self.resampled if interval in {"bootstrap-t", "jackknife"} else self.counted

    def at_least(self, n: int) -> "MinSupport":
        """Raised to `n` units where it is lower."""
        return replace(
            self,
            counted=max(self.counted, n),
            resampled=max(self.resampled, n),
            own=max(self.own, n),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Result):
    """A result, with what judging it takes beside."""

    # never unknown where an engine was compared
    level: float
    alpha: float
    n_changed: int
    by: Metric
    """What is compared; `metric` is its name."""
    plain_high: float | None = None
    """`one_sided_high` before it was stretched for a heavy tail."""
