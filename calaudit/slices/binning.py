"""Numeric bins: half-open intervals between given edges or between quantiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.errors import Notice, SliceError
from calaudit.runtime.pool import widened
from calaudit.slices.categories import bin_labels, number_text

SHARE_TOLERANCE = 1e-3
"""Share of samples by which a quantile may be missed so that its edge is a round number."""


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Labels of the bins and each row's bin."""

    labels: tuple[str, ...]
    codes: NDArray[np.int32]
    """(n_rows,) index into `labels`; -1 = missing."""
    notices: tuple[Notice, ...] = ()


def bin_by_edges(column: pl.Series, title: str, edges: Sequence[float], *, where: str) -> Bins:
    """Bins ``[a, b)`` between `edges`, open at both ends.

    An end bin that holds no sample is left out; an inner one is kept, empty.

    Raises
    ------
    SliceError
        The column isn't numeric.
    """
    numbers = _numbers(column, where)
    codes = _bins_reached(numbers, edges)
    missing = column.is_null().to_numpy()
    codes[missing] = -1
    return _without_empty_ends(Bins(tuple(bin_labels(title, edges)), codes))


def bin_by_quantiles(
    column: pl.Series, title: str, quantiles: int | Sequence[float], *, where: str
) -> Bins:
    """Bins of given shares, whose edges are numbers as round as the samples allow.

    An edge is the roundest number that splits the present values at the asked share to within
    0.1 % of them (of few values: exactly); membership is by that very number, so that a
    label says exactly what is in its bin. Values that are equal stay together: probabilities
    that fall on the same value share an edge, which is noted.

    Raises
    ------
    SliceError
        The column isn't numeric or holds no value, or all its values are equal.
    """
    numbers = _numbers(column, where)
    ordered = np.sort(numbers[~column.is_null().to_numpy()])
    if len(ordered) == 0 or ordered[0] == ordered[-1]:
        state = "no value" if len(ordered) == 0 else f"only the value {number_text(ordered[0])}"
        raise SliceError(
            f'column "{column.name}" holds {state}: it has no quantiles',
            where=where,
            next_step="Choose another column, or drop quantiles to slice by category.",
        )
    asked = (
        [k / quantiles for k in range(1, quantiles)]
        if isinstance(quantiles, int)
        else list(quantiles)
    )
    closest = min(np.diff([0.0, *asked, 1.0]))
    slack = min(SHARE_TOLERANCE, 0.05 * closest) * len(ordered)
    found = {_round_edge(ordered, share, slack) for share in asked}
    edges = sorted(edge for edge in found if edge is not None)
    bins = bin_by_edges(column, title, edges, where=where)
    if len(edges) == len(asked):
        return bins
    message = f"{len(asked) + 1} bins were asked, equal values leave {len(edges) + 1}"
    return Bins(bins.labels, bins.codes, (Notice("quantiles_merged", message, where),))


def _numbers(column: pl.Series, where: str) -> NDArray[np.generic]:
    """The column, int64, uint64 or float64, with an arbitrary number where it is missing."""
    if not column.dtype.is_numeric():
        raise SliceError(
            f'column "{column.name}" holds {column.dtype}, which has no numeric bins',
            where=where,
            next_step="Drop edges or quantiles to slice it by category.",
        )
    return widened(column).fill_null(0).to_numpy()


def _bins_reached(numbers: NDArray[np.generic], edges: Sequence[float]) -> NDArray[np.int32]:
    """How many of the ascending `edges` each number reaches, without rounding either."""
    if numbers.dtype.kind == "f":
        return np.searchsorted(np.asarray(edges, np.float64), numbers, side="right").astype(
            np.int32
        )
    # A whole number reaches an edge when it reaches the next whole number above it.
    limits = np.iinfo(np.uint64 if numbers.dtype == np.uint64 else np.int64)
    whole = [math.ceil(edge) for edge in edges if edge <= limits.max]
    below = sum(edge < limits.min for edge in whole)
    cuts = np.array(whole[below:], numbers.dtype)
    return (np.searchsorted(cuts, numbers, side="right") + below).astype(np.int32)


def _without_empty_ends(bins: Bins) -> Bins:
    counts = np.bincount(bins.codes + 1, minlength=len(bins.labels) + 1)[1:]
    first = 1 if counts[0] == 0 and counts.any() else 0
    last = len(counts) - (1 if counts[-1] == 0 and counts.any() else 0)
    codes = bins.codes
    if first:
        codes = np.where(codes > 0, codes - np.int32(1), codes).astype(np.int32)
    return Bins(bins.labels[first:last], codes, bins.notices)


def _n_below(ordered: NDArray[np.generic], edge: float) -> int:
    """How many of the sorted values lie below `edge`."""
    if ordered.dtype.kind == "f":
        return int(np.searchsorted(ordered, edge, side="left"))
    limits = np.iinfo(np.uint64 if ordered.dtype == np.uint64 else np.int64)
    whole = math.ceil(edge)
    if whole > limits.max:
        return len(ordered)
    return int(np.searchsorted(ordered, ordered.dtype.type(max(whole, limits.min)), side="left"))


def _round_edge(ordered: NDArray[np.generic], share: float, slack: float) -> float | None:
    """The roundest number with `share` of the sorted values below it.

    It may miss by `slack` values more than equal values force. None when they leave nothing
    below or nothing above it.
    """
    n = len(ordered)
    target = share * n
    value = ordered[min(math.ceil(target), n - 1)]
    ranks = [int(np.searchsorted(ordered, value, side=side)) for side in ("left", "right")]
    ranks = [rank for rank in ranks if 0 < rank < n]
    if not ranks:
        return None
    best = min(ranks, key=lambda rank: abs(rank - target))
    exact: float = ordered[best].item()
    allowed = abs(best - target) + slack
    for digits in range(1, 17):
        edge = float(f"{exact:.{digits}g}")
        rank = _n_below(ordered, edge)
        if 0 < rank < n and abs(rank - target) <= allowed:
            return edge
    return exact
