"""The difference of two drops: on the same units, or measured apart and by intervals alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores
from calaudit.results.comparison import Result
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.tally import Rows


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first, in the metric's unit."""

    estimate: float
    low: float | None
    high: float | None
    """Two-sided interval at the level that was asked for; None where nothing bounds it."""
    p_value: float | None
    """Two-sided, of no difference; None where unknown."""


def differences_by_pairs(
    metric: Metric,
    first: Scores,
    second: Scores,
    slices: Mapping[str, Rows],
    *,
    clusters: NDArray[Any] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """How much more the second of two engines loses, slice by slice, on the same units.

    As `calaudit.statistics.compare.compare` measures an engine against FP32, with the first in
    FP32's place; the p-value is twice the smaller of the tests in both directions.

    Parameters
    ----------
    metric : Metric
    first, second : Scores
        Of the same n units, in the same order.
    slices : mapping
        Slice → positions of its units.
    clusters : array of integers (n,), optional
        Units of equal number belong together.
    seed : int
        Of the replicates.
    level : float
        Two-sided level of the intervals.
    """
    # one engine's likeness to FP32 beside another's can rise as well as fall
    compared = replace(metric, is_agreement=False)
    ups, downs = (
        compare(compared, one, {"": other}, slices, clusters=clusters, seed=seed, level=level)
        for one, other in ((first, second), (second, first))
    )
    found = ((up.slice, _two_sided(up, down)) for up, down in zip(ups, downs, strict=True))
    return {name: each for name, each in found if each is not None}


def _two_sided(up: Comparison, down: Comparison) -> Difference | None:
    if up.drop is None:
        return None
    tails = [each.p_value for each in (up, down) if each.p_value is not None]
    p_value = min(1.0, 2 * min(tails)) if len(tails) > 1 else None
    return Difference(up.drop, up.low, up.high, p_value if up.n_changed else 1.0)


def difference_by_intervals(
    first: Result, second: Result, *, level: float = 0.95
) -> Difference | None:
    """The difference of two estimates of which the intervals are known.

    By the method of variance estimates recovery: with (l₁, u₁) around d₁ and (l₂, u₂) around d₂,
    D = d₂ − d₁ has the limits D − √((d₂ − l₂)² + (u₁ − d₁)²) and D + √((u₂ − d₂)² + (d₁ − l₁)²).
    G. Y. Zou & A. Donner (2008), Statist. Med. 27, 1693–1702. It takes the two as independent:
    drops of the same samples vary together, so that it claims too little there.

    Parameters
    ----------
    first, second : Result
        Their levels may differ.
    level : float
        Two-sided level of the difference's interval.

    Returns
    -------
    Difference or None
        None where a drop or an end of an interval is unknown.
    """
    from scipy.special import ndtr, ndtri  # slow to import

    a, b = _sides(first), _sides(second)
    if a is None or b is None:
        return None
    estimate = b[0] - a[0]
    below, above = math.hypot(b[1], a[2]), math.hypot(b[2], a[1])
    z = float(ndtri(0.5 + level / 2))
    toward_zero = below if estimate > 0 else above
    p_value = None if estimate else 1.0
    if toward_zero:
        p_value = 2 * float(ndtr(-abs(estimate) / toward_zero))
    return Difference(estimate, estimate - z * below, estimate + z * above, p_value)


def _sides(one: Result) -> tuple[float, float, float] | None:
    """A drop, and the standard errors that the two sides of its interval amount to."""
    from scipy.special import ndtri

    if one.drop is None or one.low is None or one.high is None or one.level is None:
        return None
    z = float(ndtri(0.5 + one.level / 2))
    return one.drop, max(0.0, one.drop - one.low) / z, max(0.0, one.high - one.drop) / z
