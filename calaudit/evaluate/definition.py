"""What a family of metrics is made of: its facts, and the functions that compute it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.evaluate.metric import Direction, Kind, Metric, Needs, worst_fraction
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.scores import Functional

PerUnit = NDArray[Any] | sparse.csr_array
"""By the metric's kind: binary (n,) bool, or float64 with NaN; mean (n,) float64; ratio (n, 2)
float64, numerator and denominator; set (n, m) additive statistics. NaN: the unit has no score."""

Bounds = tuple[NDArray[Any], NDArray[Any]]

SetInfluence = Callable[[int | None, NDArray[np.float64], int], float]
"""k, summed statistics, n → the most that one of n units can move a set metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A family of metrics. Functions of a family with a cut take k as well."""

    title: str
    kind: Kind
    needs: Needs
    compute: Callable[..., PerUnit]
    convention: str
    """The definition's choices: what is averaged, ties, what is left out."""
    cut: bool = False
    direction: Direction = "higher_is_better"
    unit: str = "fraction"
    span: float | None = 1.0
    worst: float | None = None
    """The value than which no engine can do worse; known without of fractions."""
    agreement: bool = False
    """Whether it measures likeness to FP32, so that FP32 itself is perfect."""
    shown_only: bool = False
    """Whether it adds up, over the items shown, a value of the item times a weight of its place
    (or is a function of such sums over queries): what the ranking analysis can split."""
    functional: Functional | None = None
    """Of a set metric: from summed statistics to the metric."""
    influence: SetInfluence | None = None
    """Of a set metric."""
    bounds: Callable[..., Bounds] | None = None
    """Per-unit scores with ties broken (against, for) quality."""

    def metric(self, name: str, family: str, k: int | None = None) -> Metric:
        """The metric of that name, cut at k."""
        return Metric(
            name=name,
            family=family,
            k=k,
            title=self.title.format(k=k),
            kind=self.kind,
            direction=self.direction,
            unit=self.unit,
            needs=self.needs,
            span=self.span,
            is_agreement=self.agreement,
            worst=self._worst(),
        )

    def _worst(self) -> float | None:
        if self.worst is not None:
            return self.worst
        return worst_fraction(self.direction, self.unit, self.span)

    def scores(self, case: Case, k: int | None) -> PerUnit:
        """Per-unit scores of a case."""
        return self.compute(case) if k is None else self.compute(case, k)

    def of_sets(self) -> tuple[Functional, SetInfluence]:
        """What a set metric needs beside its statistics."""
        if self.functional is None or self.influence is None:
            raise TypeError(f"{self.title} is a set metric without a functional or an influence")
        return self.functional, self.influence
