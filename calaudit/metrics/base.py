"""What a metric is: a value with a name, a kind, a direction and a unit.

What a family of metrics is made of: its facts, and the functions that compute it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.case import Case

Kind = Literal["binary", "mean", "ratio", "set"]
"""How per-unit scores become the metric, hence which interval fits.

``binary``: the share of units that are right; ``mean``: the mean of one number per unit;
``ratio``: the sum of one number per unit over the sum of another (word errors over words);
``set``: a function of sums over the units (balanced accuracy, coverage, Gini).
"""

Direction = Literal["higher_is_better", "lower_is_better"]

Needs = Literal["labels", "values", "texts", "relevance", "reference", "own"]
"""What a metric compares the outputs with; ``reference`` is what FP32 gave, ``own`` what a user's
own metric asks for by its parameters."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, made by `calaudit.evaluate.parse_metric`; two with one name are equal."""

    name: str
    """As written in an audit: ``"ndcg@10"``."""
    family: str
    """The name without its cut: ``"ndcg"``."""
    k: int | None
    """The cut of a top-k metric."""
    title: str
    """For people: ``"nDCG@10"``."""
    kind: Kind
    direction: Direction
    unit: str
    """``"fraction"``, ``"nats"``, ``"bits"``, ``"interactions"``, ``"output"`` or ``"target"`` (the
    model output's and the target's own unit), or ``"index"``."""
    needs: Needs
    span: float | None
    """Largest change that one unit's score can show; None where there is no bound."""
    is_agreement: bool = False
    """Whether it measures likeness to FP32, so that FP32 itself is perfect."""
    worst: float | None = None
    """The value than which no engine can do worse; None where there is none, or none is known."""

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value means more quality."""
        return self.direction == "higher_is_better"

    def to_lose(self, reference: float) -> float:
        """The most that any engine can lose where FP32 reaches `reference`."""
        return math.inf if self.worst is None else abs(reference - self.worst)


def worst_fraction(direction: Direction, unit: str, span: float | None) -> float | None:
    """The worst value of a metric whose units score a fraction, from 0 to 1; None for others."""
    if unit != "fraction" or span != 1.0:
        return None
    return 0.0 if direction == "higher_is_better" else 1.0


PerUnit = NDArray[Any] | sparse.csr_array
"""By the metric's kind: binary (n,) bool, or float64 with NaN; mean (n,) float64; ratio (n, 2)
float64, numerator and denominator; set (n, m) additive statistics. NaN: the unit has no score."""

Bounds = tuple[NDArray[Any], NDArray[Any]]

Functional = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Sums over units (…, m) → metric (…); NaN where the metric isn't defined."""

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
