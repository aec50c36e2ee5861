"""Scores: what every unit got from one engine, in the form its metric's kind asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.division import divide
from calaudit.metrics.set_statistics import LARGEST, SetStatistics, Sums
from calaudit.runtime.errors import SettingsError

_ROUNDING = 2.0**-36
"""Scores that differ by a smaller share of themselves differ by rounding."""
_ROUNDING_IN_SPAN = 2.0**-31
"""The same, as a share of the largest change that a bounded score can show."""


@dataclass(frozen=True, eq=False, slots=True)
class UnitScores:
    """One number per unit; the metric is their mean."""

    metric: Metric
    values: NDArray[Any]
    """(n,) bool for a binary metric, else float64 with NaN for units that have no score."""
    missing: NDArray[np.bool_] | None = None
    """(n,) units of a binary metric that have no score; None: all have one."""
    infinite: NDArray[np.uint64] | None = None
    """(n,) from `calaudit.metrics.case.infinities`; None: nothing that isn't meant."""

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype != bool:
            values = _limited(values)
            if self.missing is not None:
                values = np.where(self.missing, np.nan, values)
        if values.dtype != bool or (self.missing is not None and not self.missing.any()):
            object.__setattr__(self, "missing", None)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) units that have a score."""
        if self.values.dtype != bool:
            return np.asarray(~np.isnan(self.values))
        return np.ones(len(self), dtype=bool) if self.missing is None else ~self.missing

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN if none is left."""
        kept = self.present if rows is None else rows[self.present[rows]]
        chosen = self.values[kept]
        return float(np.mean(chosen)) if len(chosen) else float("nan")

    def n_left_out(self, rows: NDArray[np.int64] | None = None) -> int:
        """Units without a score, such as queries without a relevant item."""
        return _n_left_out(self.present, rows)


@dataclass(frozen=True, eq=False, slots=True)
class RatioScores:
    """Two numbers per unit; the metric is the ratio of their sums (word errors over words)."""

    metric: Metric
    numerator: NDArray[np.float64]
    """(n,); NaN for units that have no score."""
    denominator: NDArray[np.float64]
    """(n,) at least 0. It belongs to the truth: every engine's must be FP32's."""
    infinite: NDArray[np.uint64] | None = None
    """As for `UnitScores`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numerator", _limited(self.numerator))
        denominator = np.asarray(self.denominator, dtype=np.float64)
        wrong = np.flatnonzero(~((denominator >= 0) & (denominator <= LARGEST)))
        if len(wrong):
            raise SettingsError(
                f"the denominator of {self.metric} is {denominator[wrong[0]]:g} "
                f"for unit {wrong[0]}",
                next_step="Return finite numbers of at least 0.",
            )
        object.__setattr__(self, "denominator", denominator)

    def __len__(self) -> int:
        return len(self.numerator)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) units that have a score."""
        return ~np.isnan(self.numerator)

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN where the denominators add to 0."""
        kept = self.present if rows is None else rows[self.present[rows]]
        return float(divide(self.numerator[kept].sum(), self.denominator[kept].sum(), np.nan))

    def n_left_out(self, rows: NDArray[np.int64] | None = None) -> int:
        """Units without a score."""
        return _n_left_out(self.present, rows)


@dataclass(frozen=True, eq=False, slots=True)
class SetScores:
    """Scores of a metric that is a function of the whole set of units."""

    metric: Metric
    statistics: Sums | SetStatistics
    """Of n units; nothing where one has no score."""
    missing: NDArray[np.bool_] | None = None
    """(n,) units that have no score; None: those of which a statistic isn't a number."""
    infinite: NDArray[np.uint64] | None = None
    """As for `UnitScores`."""

    def __post_init__(self) -> None:
        missing = self.statistics.undefined
        if self.missing is not None:
            missing = missing | self.missing
        if missing.any():
            object.__setattr__(self, "statistics", self.statistics.emptied(missing))
        object.__setattr__(self, "missing", missing if missing.any() else None)

    def __len__(self) -> int:
        return len(self.statistics)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) units that have a score."""
        return np.ones(len(self), dtype=bool) if self.missing is None else ~self.missing

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN where it isn't defined."""
        kept = np.flatnonzero(self.present) if rows is None else rows
        if self.missing is not None:
            kept = kept[self.present[kept]]
        return self.statistics.value(kept) if len(kept) else float("nan")

    def n_left_out(self, rows: NDArray[np.int64] | None = None) -> int:
        """Units without a score."""
        return _n_left_out(self.present, rows)


Scores = UnitScores | RatioScores | SetScores


def of_units(scores: UnitScores | RatioScores) -> NDArray[np.float64]:
    """One number per unit, (n,); a ratio's are its numerators. NaN: the unit has no score."""
    if isinstance(scores, RatioScores):
        return scores.numerator
    if scores.missing is None:
        return np.asarray(scores.values, dtype=np.float64)
    return np.where(scores.missing, np.nan, scores.values)


def differs(one: UnitScores | RatioScores, other: UnitScores | RatioScores) -> NDArray[np.bool_]:
    """Units with both scores that differ by more than rounding, (n,)."""
    a, b = of_units(one), of_units(other)
    noise = _ROUNDING * np.maximum(np.abs(a), np.abs(b))
    if one.metric.span is not None:
        noise = np.maximum(noise, _ROUNDING_IN_SPAN * one.metric.span)
    return np.asarray(np.abs(a - b) > noise)  # NaN compares False


def answered(reference: Scores, other: Scores) -> Scores:
    """The engine's scores, but for units whose outputs are infinite where FP32's are not."""
    if other.infinite is None:
        return other
    theirs = (
        np.zeros(len(reference), np.uint64) if reference.infinite is None else reference.infinite
    )
    broken = (other.infinite != 0) & (other.infinite != theirs)
    if isinstance(other, RatioScores):
        return replace(other, numerator=np.where(broken, np.nan, other.numerator), infinite=None)
    return replace(other, missing=broken | ~other.present, infinite=None)


def part_of(scores: UnitScores | RatioScores, span: slice) -> UnitScores | RatioScores:
    """The scores of successive units: views, of which nothing is copied."""
    infinite = None if scores.infinite is None else scores.infinite[span]
    if isinstance(scores, RatioScores):
        top, bottom = scores.numerator[span], scores.denominator[span]
        return RatioScores(scores.metric, top, bottom, infinite)
    missing = None if scores.missing is None else scores.missing[span]
    return UnitScores(scores.metric, scores.values[span], missing, infinite)


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Join the scores of successive batches of units, in order; at least one part."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, UnitScores):
        return join_units([part for part in parts if isinstance(part, UnitScores)])
    missing = ~np.concatenate([part.present for part in parts])
    infinite = _joined_infinite(parts)
    if isinstance(first, RatioScores):
        ratios = [part for part in parts if isinstance(part, RatioScores)]
        return RatioScores(
            first.metric,
            np.concatenate([part.numerator for part in ratios]),
            np.concatenate([part.denominator for part in ratios]),
            infinite,
        )
    statistics: list[Any] = [part.statistics for part in parts if isinstance(part, SetScores)]
    joined = statistics[0].joined(statistics[1:])
    return SetScores(first.metric, joined, missing, infinite)


def join_units(parts: Sequence[UnitScores]) -> UnitScores:
    """As `concatenate`, of scores that are one number per unit."""
    missing = ~np.concatenate([part.present for part in parts])
    values = np.concatenate([part.values for part in parts])
    return UnitScores(parts[0].metric, values, missing, _joined_infinite(parts))


def _joined_infinite(parts: Sequence[Scores]) -> NDArray[np.uint64] | None:
    if all(part.infinite is None for part in parts):
        return None
    return np.concatenate(
        [np.zeros(len(p), np.uint64) if p.infinite is None else p.infinite for p in parts]
    )


def _limited(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers as float64, with NaN for those beyond `LARGEST`."""
    numbers = np.asarray(values, dtype=np.float64)
    beyond = np.abs(numbers) > LARGEST
    return np.where(beyond, np.nan, numbers) if beyond.any() else numbers


def _n_left_out(present: NDArray[np.bool_], rows: NDArray[np.int64] | None) -> int:
    return int(np.count_nonzero(~(present if rows is None else present[rows])))
