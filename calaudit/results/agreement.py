"""The same thing by two hands: one engine on two backends, one set's ranges by two estimators."""

from dataclasses import dataclass

from calaudit.results.values import settle


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output of an engine on two backends."""

    cell: str
    other: str | None
    """The same engine's cell on the other backend; None for the FP32 reference."""
    output: str
    n: int
    """Units (samples, or queries)."""
    max_abs_diff: float | None
    """Over all values that are finite on both."""
    k: int | None
    """1 for classes, 10 for rankings; None for other outputs."""
    same_top: float | None
    """Mean share of a unit's `k` highest that are the same on both."""
    verdicts: int = 0
    """Gated results of the two cells."""
    verdicts_equal: int = 0
    """Of these: with the same verdict."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedTap:
    """One tap whose ranges differ."""

    tap: str
    tensorrt: float
    """amax, in the tap's unit."""
    calaudit: float
    """amax, in the tap's unit."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedRanges:
    """TensorRT's own ranges beside those that calaudit's method gives the same set."""

    cell: str
    """With TensorRT's ranges."""
    other: str
    """With calaudit's."""
    taps: int
    """That both have a range of."""
    differing: int
    """Of these: whose amax differs by more than 1 %."""
    only_tensorrt: int
    """Taps that only TensorRT has a range of."""
    only_calaudit: int
    shown: tuple[ComparedTap, ...]
    """Those that differ most, ten at most, the most different first."""
