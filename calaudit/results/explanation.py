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
MOST_VALUES = 0.9
"""Share of a tap's values that `Suspect.steps` is told of."""


class Cause(StrEnum):
    """What experiments found behind a drop."""

    RANGES = "ranges"
    """The ranges of the taps in `taps`: with the donor's instead, four fifths of the drop or more
    are taken back, or what is left is within the gate; beyond chance."""
    RANGES_IN_PART = "ranges in part"
    """Other ranges of the taps in `taps` take back part of the drop, beyond chance."""
    OPS = "ops"
    """The op in `ops`: left in float, four fifths of the drop or more are taken back, or what is
    left is within the gate, beyond chance; no ranges that were tried do as much."""
    OPS_IN_PART = "ops in part"
    """Left in float, the op in `ops` takes back half of the drop or more, beyond chance, but not
    all of it."""
    WHOLE = "whole"
    """Other ranges take the drop back only where they are exchanged at many taps; where a single op
    takes back half of it or more as well, beyond chance, `ops` names it."""
    NOTHING_FOUND = "nothing found"
    """The drop is there, and neither the ranges nor the single ops that were tried are shown to
    take back most of it."""
    NOT_ON_TUNING_ROWS = "not on tuning rows"
    """The tuning rows of this slice lose less than the evaluated ones, or no more than the gate
    allows, beyond chance."""
    TOO_FEW_ROWS = "too few tuning rows"
    """The drop on the tuning rows may be none: they can't tell what takes it back."""
    NOT_TRIED = "not tried"
    """No experiment was run; the sentence says why."""


FOUND = frozenset({Cause.RANGES, Cause.RANGES_IN_PART, Cause.OPS, Cause.OPS_IN_PART, Cause.WHOLE})
"""Causes that say what takes the drop back, or a part of it."""


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
    """Share of this slice's values, zeros left out, that saturate."""
    steps: Count
    """Of the 127 quantization steps: how many 90 % of this slice's values, zeros left out, use."""
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
    """Another cell or slice that the same change was tried on."""

    cell: Name
    """The id of a cell."""
    slice: Name
    """The name of a slice."""
    drop: Part
    """Its drop on the tuning rows."""
    left: Part
    """The same with the donor's ranges at the explanation's taps, or float for its ops."""


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
    """Of the drop on the tuning rows: what the donor's ranges of `taps`, or without any float for
    `ops`, take back, paired row by row."""
    left: Part | None = None
    """The drop that they leave."""
    others: Part | None = None
    """The drop left where every tap but `taps` has the donor's range; None where not judged."""
    ops: tuple[Name, ...] = ()
    """Ops that are found to need float; beside many `taps`: that take back much of the drop too."""
    alike: tuple[Alike, ...] = ()
    """Other harmed results of the same metric in which the same change takes the drop back, beyond
    chance as well."""
    suspects: Annotated[tuple[Suspect, ...], MaxLen(MOST_SUSPECTS)] = ()
    """The taps with the largest predicted harm that the donor avoids, the largest first."""
    curve: tuple[CurvePoint, ...] = ()
    """Ranges exchanged in the order of `suspects`: that of predicted harm, which no answer of an
    engine had a part in, unless `searched`."""
    trials: tuple[OpTrial, ...] = ()
    """Single ops that were judged: the readers of the first of `taps`, or those that a search by
    the error of the output found, the better half of them at each step. Unless `searched`, it saw
    the rows that judge, and intervals hold for all ops of the engine at once."""
    searched: bool = False
    """Whether predictions led nowhere, so that donor, taps and ops were searched for by the error
    of the output, on half of the slice's tuning rows; the numbers are of the other half."""
    level: Level = 0.95
    """Of the intervals."""
    at_once: Ordinal = 1
    """Engines that may be picked from: intervals of what is left hold for all of them at once
    (Bonferroni), and so do those of what is taken back. Those of `measured`, `tuning` and `alike`
    hold each alone."""
    backend: str | None = None
    """What ran the experiments, and in which kernels."""
    engines: Count = 0
    """Engines that were run for it."""
    cost: Size = 0.0
    """Samples run for it over those of one judged cell."""

    def __post_init__(self) -> None:
        settle(self)
