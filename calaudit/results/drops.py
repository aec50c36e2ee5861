"""Where drops come from, where they are largest, and which samples show them."""

from dataclasses import dataclass
from enum import StrEnum

from calaudit.results.values import settle


class Finding(StrEnum):
    """What is certain about a slice that is harmed; several may be."""

    NO_SET_FIXES = "no-set-fixes"
    """Every set that was tried loses more than the gate allows, under this method."""
    THIS_SET = "this-set"
    """Another recipe loses less: this set does it, or a part of it."""
    REDRAW = "redraw"
    """Neither is proven: draws differ by as much, or one draw can't tell, or there are too few
    samples."""


@dataclass(frozen=True, slots=True)
class Part:
    """A number in the metric's unit, with its interval."""

    value: float | None
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class BestElsewhere:
    """The best that was reached under other methods."""

    method: str
    recipe: str
    price: Part
    """Its drop."""


@dataclass(frozen=True, slots=True)
class Attribution:
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
    price: Part
    """What every set costs under this method: the drop of the best recipe."""
    addition: Part
    """What this recipe loses beyond the best one, on the same samples; at least 0. Of a recipe that
    was drawn once: what this very set does."""
    luck: Part | None
    """Standard deviation of the drop between draws of this recipe; None where it has one."""
    elsewhere: BestElsewhere | None
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
class Gap:
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
    gap: Part
    """drop − rest; the interval accounts for the choice of the worst, of the cell as well."""
    level: float

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Screened:
    """A result without a gate that loses more than chance explains."""

    cell: str
    slice: str
    metric: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A sample, or query, that flips under most engines."""

    id: str
    lost: int
    """Engines under which it is worse than under FP32."""
    gained: int
    """Engines under which it is better."""
    reference: float | None
    """Its own score under FP32."""
    mean_drop: float | None
    """Mean over the engines of what it lost."""
    slices: tuple[str, ...]
    """Slices it is in, but for that of everything."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Units that flip, by one metric, under more than half of the engines."""

    metric: str
    unit: str
    """``"sample"`` or ``"query"``."""
    engines: int
    least: float
    """A score flips where it changes by more than this; a binary one where it changes."""
    flipping: int
    """How many units flip under more than half of the engines."""
    shown: tuple[Exemplar, ...]
    """The first of them, most flips first."""

    def __post_init__(self) -> None:
        settle(self)
