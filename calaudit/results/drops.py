"""Where drops come from, where they are largest, and which samples show them."""

from dataclasses import dataclass
from enum import StrEnum

from calaudit.results.values import Count, Level, Name, Ordinal, Share, Size, settle


class Finding(StrEnum):
    """Significant findings about a harmed slice; there may be several."""

    NO_SET_FIXES = "no-set-fixes"
    """Every set that was tried loses more than the gate allows, under this method."""
    THIS_SET = "this-set"
    """Another recipe loses less: caused by this calibration set, or a part of it."""
    REDRAW = "redraw"
    """Neither is significant: draws differ by as much, there is one draw only, or there are too few
    samples."""


@dataclass(frozen=True, slots=True)
class Part:
    """A number in the metric's unit, with its interval."""

    value: float | None
    """What was measured."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of it."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class BestElsewhere:
    """The best that was reached under other methods."""

    method: Name
    """The method it was reached under."""
    recipe: Name
    """The recipe that reached it."""
    price: Part
    """Its drop."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """One recipe's drop on one slice, by one metric and method, in its parts."""

    slice: Name
    """The name of a slice."""
    metric: Name
    """The name of a metric."""
    method: Name
    """Method that made the ranges; sets are compared under the same one."""
    recipe: Name
    """What the sets were drawn by."""
    draws: Ordinal
    """Draws of this recipe that were judged."""
    settled: bool
    """Whether another draw would be the same set: it was given, or leaves nothing to chance."""
    drop: float | None
    """Mean over them."""
    spread: float | None
    """Largest minus smallest drop among them."""
    best: Name
    """The recipe that loses least here, under this method."""
    price: Part
    """Drop of the recipe that loses least under this method: no set tried avoids it."""
    addition: Part
    """Excess: what this recipe loses beyond the best one, on the same samples; at least 0. Of a
    recipe that was drawn once: the excess of this very set."""
    luck: Part | None
    """Between-draw SD of the drop of this recipe; None where it has one draw."""
    elsewhere: BestElsewhere | None
    """The best under the other methods; None without any."""
    level: Level
    """Of the intervals."""
    p_price: Share | None
    """Of "some set loses at most the gate", or nothing where there is none; by Holm over the whole
    audit, None in reports of version 1."""
    p_addition: Share | None
    """Of "no other recipe loses less"; likewise."""
    findings: tuple[Finding, ...]
    """Significant findings, where the slice is harmed."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Gap:
    """The slice of one cell that loses most more than all samples outside it."""

    cell: Name
    """The id of a cell."""
    metric: Name
    """The name of a metric."""
    slice: Name
    """The slice with the largest gap."""
    n_slices: Ordinal
    """Slices it is the worst of."""
    drop: float | None
    """Of the slice."""
    rest: float | None
    """Of all samples outside it."""
    gap: Part
    """drop − rest; the interval accounts for the choice of the worst, of the cell as well."""
    level: Level
    """Of the interval."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Screened:
    """A result without a gate that loses significantly."""

    cell: Name
    """The id of a cell."""
    slice: Name
    """The name of a slice."""
    metric: Name
    """The name of a metric."""


@dataclass(frozen=True, slots=True)
class Said:
    """A class, and how many engines say it of a sample."""

    label: str
    """The class."""
    engines: Ordinal
    """Engines that say it."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A sample, or query, that flips under most engines."""

    id: str
    """Its id in the pool."""
    lost: Count
    """Engines under which it is worse than under FP32."""
    gained: Count
    """Engines under which it is better."""
    reference: float | None
    """Its own score under FP32."""
    mean_drop: float | None
    """Mean over the engines of what it lost."""
    slices: tuple[Name, ...]
    """Slices it is in, but for that of everything."""
    picture: str | None = None
    """File, in the folder ``pictures`` beside the report; None where its input doesn't look like
    an image."""
    truth: str | None = None
    """Its class, of a classification."""
    fp32: str | None = None
    """The class that FP32 says."""
    answers: tuple[Said, ...] = ()
    """Classes that engines say, that of most engines first."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Units that flip, by one metric, under more than half of the engines."""

    metric: Name
    """The name of a metric."""
    unit: Name
    """``"sample"`` or ``"query"``."""
    engines: Count
    """Engines that were compared."""
    least: Size
    """A score flips where it changes by more than this; a binary one where it changes."""
    flipping: Count
    """How many units flip under more than half of the engines."""
    shown: tuple[Exemplar, ...]
    """The first of them, most flips first."""

    def __post_init__(self) -> None:
        settle(self)
