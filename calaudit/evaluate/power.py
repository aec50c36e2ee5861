"""What a slice of a given size can prove, before anything is measured."""

import math

from scipy.special import ndtri

from calaudit.evaluate.comparison import MinSupport
from calaudit.evaluate.metric import Metric


def smallest_provable_drop(
    metric: Metric, n: int, *, alpha: float = 0.05, min_support: MinSupport | None = None
) -> float | None:
    """Smallest gate that a slice of `n` units could PASS: when not one unit changes.

    Binary: Tango's bound without flips, z²/(n + z²). Means of bounded scores: 1 − α^(1/n) times
    the bound. Real engines change some units, and then prove less.

    Returns
    -------
    float or None
        In the metric's unit. None where the slice is too thin to PASS at all, or where nothing
        bounds the metric beforehand (unbounded scores, set metrics).
    """
    if n < max(1, (min_support or MinSupport()).counted):
        return None
    if metric.kind == "binary":
        z2 = float(ndtri(1.0 - alpha)) ** 2
        return z2 / (n + z2)
    if metric.kind == "mean" and metric.span is not None:
        return -math.expm1(math.log(alpha) / n) * metric.span
    return None


def units_to_prove(metric: Metric, max_drop: float, *, alpha: float = 0.05) -> int | None:
    """Fewest units with which a gate could PASS: when not one unit changes.

    The inverse of `smallest_provable_drop`, without its minimum support: 268 for a binary metric
    and a gate of 0.01.
    """
    if metric.kind == "binary" and max_drop < 1:
        z2 = float(ndtri(1.0 - alpha)) ** 2
        return math.floor(z2 * (1 - max_drop) / max_drop) + 1
    if metric.kind == "mean" and metric.span is not None and max_drop < metric.span:
        return math.floor(math.log(alpha) / math.log1p(-max_drop / metric.span)) + 1
    return None
