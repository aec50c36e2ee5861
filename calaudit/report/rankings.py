"""What became of rankings, and which samples flip under most engines: records of the report."""

from dataclasses import dataclass

from calaudit.report.plain import settle


@dataclass(frozen=True, slots=True)
class LossRecord:
    """One metric's drop by cause, in the metric's unit, each positive when quality is lost.

    ``drop = across_cut + reordering + ties``; these are None for a metric that doesn't split.
    """

    metric: str
    drop: float | None
    across_cut: float | None
    """Lost because the engine shows other items than FP32."""
    reordering: float | None
    """Lost because it orders the items it shows otherwise."""
    ties: float | None
    """Lost because items tie that FP32 told apart."""
    worst: float | None
    """The metric under the engine with its ties broken against quality; None where not bounded."""
    best: float | None
    """The same with ties broken for quality."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """Places of a slice's lists, by who held them under FP32 and who does under the engine."""

    places: float
    kept: float
    """Places whose item stayed."""
    head_to_head: float
    head_to_tail: float
    """Places that items of the head lost to items of the tail."""
    tail_to_head: float
    tail_to_tail: float

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class RankingSliceRecord:
    """Rankings of one slice's queries."""

    slice: str
    n: int
    """Queries."""
    reference_ties: float | None
    """Share of queries in which a tie runs across the cut under FP32."""
    candidate_ties: float | None
    """The same under the engine."""
    flow: FlowRecord | None
    """None where no long tail is known."""
    losses: tuple[LossRecord, ...]

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class MovedItemRecord:
    """An item of the catalogue that lost or gained exposure."""

    item: str
    reference: float
    """Lists that show it under FP32; a tie across the cut shows it in part."""
    candidate: float
    """Lists that show it under the engine."""
    popularity: float | None
    tail: bool | None
    """Whether it belongs to the long tail; None where that isn't known."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class RankingRecord:
    """What one engine made of FP32's top k."""

    cell: str
    output: str
    """The model output that ranks."""
    k: int
    catalogue: int
    """Number of items, shown or not."""
    tail_items: int | None
    """How many of them are the long tail."""
    slices: tuple[RankingSliceRecord, ...]
    lost: tuple[MovedItemRecord, ...]
    """The items that lost most exposure over everything, most first."""
    gained: tuple[MovedItemRecord, ...]

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ExemplarRecord:
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
class ExemplarsRecord:
    """Units that flip, by one metric, under more than half of the engines."""

    metric: str
    unit: str
    """``"sample"`` or ``"query"``."""
    engines: int
    least: float
    """A score flips where it changes by more than this; a binary one where it changes."""
    flipping: int
    """How many units flip under more than half of the engines."""
    shown: tuple[ExemplarRecord, ...]
    """The first of them, most flips first."""

    def __post_init__(self) -> None:
        settle(self)
