"""Ranges of the same calibration set from two estimators, compared: records of the report."""

from dataclasses import dataclass

from calaudit.report.plain import settle


@dataclass(frozen=True, slots=True)
class ComparedTapRecord:
    """One tap whose ranges differ."""

    tap: str
    tensorrt: float
    """amax, in the tap's unit."""
    calaudit: float
    """amax, in the tap's unit."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedRangesRecord:
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
    shown: tuple[ComparedTapRecord, ...]
    """Those that differ most, ten at most, the most different first."""
