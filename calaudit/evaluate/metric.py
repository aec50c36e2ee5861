"""What a metric is: a value with a name, a kind, a direction and a unit."""

import math
from dataclasses import dataclass
from typing import Literal

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
