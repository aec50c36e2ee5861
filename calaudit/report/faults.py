"""Whose fault drops are, and where they are largest: records of the report."""

from dataclasses import dataclass
from typing import Literal

from calaudit.report.plain import settle

Finding = Literal["no-set-fixes", "this-set", "redraw"]
"""Every set that was tried loses too much; this set loses more than another; neither is certain, or
one draw can't tell."""


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A number in the metric's unit, with its interval."""

    value: float | None
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ElsewhereRecord:
    """The best that was reached under other methods."""

    method: str
    recipe: str
    price: PartRecord
    """Its drop."""


@dataclass(frozen=True, slots=True)
class AttributionRecord:
    """One recipe's drop on one slice, by one metric and method, in its parts."""

    slice: str
    metric: str
    method: str
    recipe: str
    draws: int
    """Draws of this recipe that were judged."""
    settled: bool
    """Whether another draw would be the same set: it was given, or leaves nothing to chance."""
    drop: float | None
    """Mean over them."""
    spread: float | None
    """Largest minus smallest drop among them."""
    best: str
    """The recipe that loses least here, under this method."""
    price: PartRecord
    """What every set costs under this method: the drop of the best recipe."""
    addition: PartRecord
    """What this recipe loses beyond the best one, on the same samples; at least 0. Of a recipe that
    was drawn once: what this very set does."""
    luck: PartRecord | None
    """Standard deviation of the drop between draws of this recipe; None where it has one."""
    elsewhere: ElsewhereRecord | None
    """The best under the other methods; None without any."""
    level: float
    """Of the intervals."""
    p_price: float | None
    """Of "some set loses at most the gate", or nothing where there is none; by Holm over the whole
    audit, None in reports of version 1."""
    p_addition: float | None
    """Of "no other recipe loses less"; likewise."""
    findings: tuple[Finding, ...]
    """What is certain, where the slice is harmed."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class GapRecord:
    """The slice of one cell that loses most more than all samples outside it."""

    cell: str
    metric: str
    slice: str
    n_slices: int
    """Slices it is the worst of."""
    drop: float | None
    """Of the slice."""
    rest: float | None
    """Of all samples outside it."""
    gap: PartRecord
    """drop − rest; the interval accounts for the choice of the worst, of the cell as well."""
    level: float

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ScreenedRecord:
    """A result without a gate that loses more than chance explains."""

    cell: str
    slice: str
    metric: str
