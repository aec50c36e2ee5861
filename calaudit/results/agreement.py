"""The same thing by two hands: one engine on two backends, one set's ranges by two estimators."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from calaudit.results.values import Count, settle


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output of an engine on two backends."""

    cell: str
    """The id of a cell on a backend that is to agree."""
    other: str | None
    """The same engine's cell on the other backend; None for the FP32 reference."""
    output: str
    """A model output's name."""
    n: Count
    """Units (samples, or queries)."""
    max_abs_diff: float | None
    """Over all values that are finite on both."""
    k: int | None
    """1 for classes, 10 for rankings; None for other outputs."""
    same_top: float | None
    """Mean share of a unit's `k` highest that are the same on both."""
    verdicts: Count = 0
    """Gated results of the two cells."""
    verdicts_equal: Count = 0
    """Of these: with the same verdict."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedTap:
    """One tap whose ranges differ."""

    tap: str
    """The tensor's name."""
    tensorrt: float | None
    """amax by the backend, TensorRT or another, in the tap's unit."""
    calaudit: float | None
    """amax, in the tap's unit."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedRanges:
    """A backend's own ranges beside those that calaudit's method gives the same set."""

    cell: str
    """With the backend's own ranges."""
    other: str
    """With calaudit's."""
    taps: Count
    """That both have a range of."""
    differing: Count
    """Of these: whose amax differs by more than 1 %."""
    only_tensorrt: Count
    """Taps that only the backend has a range of."""
    only_calaudit: Count
    """Taps that only calaudit has a range of."""
    shown: Annotated[tuple[ComparedTap, ...], MaxLen(10)]
    """Those that differ most, ten at most, the most different first."""
