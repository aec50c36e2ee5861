"""The difference of two drops that were measured apart, by their intervals alone."""

import math
from dataclasses import dataclass

from calaudit.results.comparison import Result


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first, in the metric's unit."""

    estimate: float
    low: float | None
    high: float | None
    """Two-sided interval at the level that was asked for; None where nothing bounds it."""
    p_value: float | None
    """Two-sided, of no difference; None where unknown."""


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
