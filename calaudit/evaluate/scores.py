"""Scores: what every unit got from one engine, in the form its metric's kind asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.division import divide
from calaudit.evaluate.metric import Metric

Functional = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Sums over units (…, m) → metric (…); NaN where the metric isn't defined."""


Influence = Callable[[NDArray[np.float64], int], float]
"""Sums over n units (m,), and n → the most that one changed unit can move the metric."""


@dataclass(frozen=True, eq=False, slots=True)
class UnitScores:
    """One number per unit; the metric is their mean."""

    metric: Metric
    values: NDArray[Any]
    """(n,) bool for a binary metric, else float64 with NaN for units that are left out."""

    def __len__(self) -> int:
        return len(self.values)

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN if none is left."""
        chosen = self.values if rows is None else self.values[rows]
        kept = chosen if chosen.dtype == bool else chosen[~np.isnan(chosen)]
        return float(np.mean(kept)) if len(kept) else float("nan")

    def n_left_out(self, rows: NDArray[np.int64] | None = None) -> int:
        """Units without a score, such as queries without a relevant item."""
        chosen = self.values if rows is None else self.values[rows]
        return 0 if chosen.dtype == bool else int(np.count_nonzero(np.isnan(chosen)))


@dataclass(frozen=True, eq=False, slots=True)
class RatioScores:
    """Two numbers per unit; the metric is the ratio of their sums (word errors over words)."""

    metric: Metric
    numerator: NDArray[np.float64]
    """(n,); NaN for units that are left out."""
    denominator: NDArray[np.float64]
    """(n,) at least 0. It belongs to the truth: every engine's must be FP32's."""

    def __len__(self) -> int:
        return len(self.numerator)

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN where the denominators add to 0."""
        top = self.numerator if rows is None else self.numerator[rows]
        bottom = self.denominator if rows is None else self.denominator[rows]
        kept = ~np.isnan(top)
        return float(divide(top[kept].sum(), bottom[kept].sum(), np.nan))


@dataclass(frozen=True, eq=False, slots=True)
class SetScores:
    """Statistics that add up over units; the metric is a function of their sums."""

    metric: Metric
    statistics: sparse.csr_array
    """(n, m) float64, what each unit adds."""
    functional: Functional
    influence: Influence

    def __len__(self) -> int:
        return int(self.statistics.shape[0])

    def value(self, rows: NDArray[np.int64] | None = None) -> float:
        """The metric over `rows` (all units by default); NaN where it isn't defined."""
        chosen = self.statistics if rows is None else self.statistics[rows]
        return float(self.functional(np.asarray(chosen.sum(axis=0), dtype=np.float64)))

    def totals(
        self, rows: NDArray[np.int64], group: NDArray[np.int64], n_groups: int
    ) -> NDArray[np.float64]:
        """Sums of the statistics by group.

        Parameters
        ----------
        rows : ndarray, shape (r,)
            The units to add up.
        group : ndarray, shape (r,)
            Group of each, in [0, n_groups).

        Returns
        -------
        ndarray, shape (n_groups, m)
        """
        shape = (n_groups, len(self))
        member = sparse.csr_array((np.ones(len(rows)), (group, rows)), shape=shape)
        return np.asarray((member @ self.statistics).toarray(), dtype=np.float64)


Scores = UnitScores | RatioScores | SetScores


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Join the scores of successive batches of units, in order; at least one part."""
    first = parts[0]
    if isinstance(first, UnitScores):
        values = [part.values for part in parts if isinstance(part, UnitScores)]
        return UnitScores(first.metric, np.concatenate(values))
    if isinstance(first, RatioScores):
        ratios = [part for part in parts if isinstance(part, RatioScores)]
        return RatioScores(
            first.metric,
            np.concatenate([part.numerator for part in ratios]),
            np.concatenate([part.denominator for part in ratios]),
        )
    stacked = [part.statistics for part in parts if isinstance(part, SetScores)]
    joined = sparse.csr_array(sparse.vstack(stacked, format="csr"))
    return SetScores(first.metric, joined, first.functional, first.influence)
