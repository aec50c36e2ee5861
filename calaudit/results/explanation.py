"""Why an engine loses where it does: suspects by predicted harm, and experiments that tried them.

An experiment is an engine that differs from the cell's in what is named, judged on the harmed
slice's tuning rows, which evaluation never sees.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import MaxLen

from calaudit.results.drops import Part
from calaudit.results.values import Count, Level, Name, Ordinal, Share, Size, settle

MOST_SUSPECTS = 20
"""Taps that an explanation lists."""


class Cause(StrEnum):
    """What experiments found behind a drop."""

    RANGES = "ranges"
    """The ranges of the taps in `taps`: with the donor's instead, all that the donor avoids is
    avoided, or the gate is kept; beyond chance."""
    RANGES_IN_PART = "ranges in part"
    """Other ranges of the taps in `taps` take back part of the drop, beyond chance; more than the
    gate allows may be left, whatever ranges were tried."""
    OPS = "ops"
    """The ops in `ops`: left in float, the drop is smaller, beyond chance; no ranges that were
    tried do as much."""
    WHOLE = "whole"
    """Other ranges help only where they are exchanged at most taps: nothing single does it."""
    NOTHING_FOUND = "nothing found"
    """The drop is there, and neither the ranges nor the single ops that were tried take it back
    beyond chance."""
    NOT_ON_TUNING_ROWS = "not on tuning rows"
    """The tuning rows of this slice lose less than the evaluated ones, beyond chance."""
    TOO_FEW_ROWS = "too few tuning rows"
    """The drop on the tuning rows may be none: they can't tell what takes it back."""
    NOT_TRIED = "not tried"
    """No experiment was run; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One tap, by what is predicted of it on the slice's tuning rows."""

    tap: Name
    """The tensor's name."""
    amax: Size
    """The cell's, in the tap's unit."""
    donor: Size
    """amax of the donor of ranges."""
    share: Share
    """Of the predicted harm that the donor avoids at all taps where it is better."""
    harm: Size
    """Predicted harm at `amax`: squared error over signal power, weighted by `sensitivity`."""
    donor_harm: Size
    """The same at `donor`."""
    clipping: Share
    """Part of `harm` that is clipping; the rest is resolution."""
    clipped: Share
    """Share of this slice's values, zeros included, that are larger than `amax`."""
    steps: Count
    """Of the 127 quantization steps: how many 99.99 % of this slice's non-zero values use."""
    sensitivity: Size | None = None
    """Squared relative error of the output per unit of this tap's harm, measured with the tap
    alone quantized; None where it wasn't measured and taps weigh alike."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The cell's engine with the donor's ranges at the first taps."""

    k: Count
    """Taps whose ranges are the donor's; 0: the cell's engine as it is."""
    added: tuple[Name, ...]
    """Taps that the point before didn't change, in the order of `suspects`."""
    left: Part
    """The drop from FP32 on the tuning rows, in the metric's unit."""


@dataclass(frozen=True, slots=True)
class OpTrial:
    """One product, tried alone."""

    op: Name
    """Its node's name."""
    op_type: Name
    """ONNX's operator."""
    left: Part | None
    """The drop on the tuning rows with this op alone in float, all else as in the cell; None where
    that wasn't judged."""
    alone: Part | None
    """The drop with this op alone in INT8, all else in float; None where that wasn't judged."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Alike:
    """Another cell that the same taps were tried on."""

    cell: Name
    """The id of a cell."""
    drop: Part
    """Its drop on the tuning rows."""
    left: Part
    """The same with the donor's ranges at the explanation's taps."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is behind one drop: of one engine, or of several of the same cause."""

    cell: Name
    """The id of the cell that experiments changed."""
    slice: Name
    """The name of a slice."""
    metric: Name
    """The name of a metric."""
    cause: Cause
    """What was found."""
    sentence: Name
    """The finding in words; it says no more than was tested."""
    measured: Part
    """The drop on the evaluated rows: the result's own."""
    tuning: Part | None
    """The drop on the tuning rows; None where none was measured."""
    n_tuning: Count
    """Tuning rows (queries, for ranking) of this slice that experiments were judged on."""
    max_drop: Size | None
    """The gate's, in the metric's unit; None without a gate."""
    donor: str | None = None
    """Whose ranges were given to the cell: a cell's id, or ``"minimax"``; None for none."""
    taps: tuple[Name, ...] = ()
    """Taps whose ranges are found guilty, the first suspect first."""
    removed: Part | None = None
    """Of the drop on the tuning rows: what the donor's ranges of `taps`, or float for `ops`, take
    back, paired row by row."""
    others: Part | None = None
    """The drop left where every tap but `taps` has the donor's range; None where not judged."""
    ops: tuple[Name, ...] = ()
    """Ops that are found to need float."""
    alike: tuple[Alike, ...] = ()
    """Cells of the same slice on which the same taps take the drop back, beyond chance as well."""
    suspects: Annotated[tuple[Suspect, ...], MaxLen(MOST_SUSPECTS)] = ()
    """The taps with the largest predicted harm that the donor avoids, the largest first."""
    curve: tuple[CurvePoint, ...] = ()
    """Ranges exchanged in the order of predicted harm, which no label had a part in."""
    trials: tuple[OpTrial, ...] = ()
    """Single ops that were judged, after a search by the error of the output that kept the better
    half at each step."""
    level: Level = 0.95
    """Of the intervals."""
    at_once: Ordinal = 1
    """Experiments that the intervals, but for that of `measured`, hold for at once (Bonferroni):
    the best of them may be picked."""
    backend: str | None = None
    """What ran the experiments, and in which kernels."""
    engines: Count = 0
    """Engines that were run for it."""
    cost: Size = 0.0
    """Samples run for it over those of one judged cell."""

    def __post_init__(self) -> None:
        settle(self)
