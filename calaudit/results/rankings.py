"""Ranking changes: losses by cause, and exposure that moved."""

from dataclasses import dataclass

from calaudit.results.values import Count, Name, Ordinal, Share, Size, settle


@dataclass(frozen=True, slots=True)
class RankingLoss:
    """One metric's drop by cause, in the metric's unit, each positive when quality is lost.

    ``drop = across_cut + reordering + ties``; these are None for a metric that doesn't split.
    """

    metric: Name
    """The name of a metric."""
    drop: float | None
    """The whole drop."""
    across_cut: float | None
    """Lost because the engine shows other items than FP32."""
    reordering: float | None
    """Lost because it orders the items it shows otherwise."""
    ties: float | None
    """Lost because items tie that FP32 ranks apart."""
    worst: float | None
    """The metric under the engine with its ties broken against quality; None where not bounded."""
    best: float | None
    """The same with ties broken for quality."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Flow:
    """Places of a slice's lists, by who held them under FP32 and who does under the engine."""

    places: Size
    """All places of these queries' lists."""
    kept: Size
    """Places whose item stayed."""
    head_to_head: Size
    """Places that items of the head lost to others of the head."""
    head_to_tail: Size
    """Places that items of the head lost to items of the tail."""
    tail_to_head: Size
    """Places that items of the tail lost to items of the head."""
    tail_to_tail: Size
    """Places that items of the tail lost to others of the tail."""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def tail_gain(self) -> float:
        """Places that the tail gained on balance; the loss where negative."""
        return self.head_to_tail - self.tail_to_head


@dataclass(frozen=True, slots=True)
class RankingSlice:
    """Rankings of one slice's queries."""

    slice: Name
    """The name of a slice."""
    n: Count
    """Queries."""
    reference_ties: Share | None
    """Share of queries in which a tie runs across the cut under FP32."""
    candidate_ties: Share | None
    """The same under the engine."""
    flow: Flow | None
    """None where no long tail is known."""
    losses: tuple[RankingLoss, ...]
    """The metrics' drops by cause."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class MovedItem:
    """An item of the catalogue that lost or gained exposure."""

    item: str
    """Its name in the catalogue, or its column."""
    reference: Size
    """Lists that show it under FP32; a tie across the cut shows it in part."""
    candidate: Size
    """Lists that show it under the engine."""
    popularity: float | None
    """Interactions, or what the pool says it is; None where unknown."""
    tail: bool | None
    """Whether it belongs to the long tail; None where that isn't known."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class RankingFlow:
    """How one engine changed FP32's top k."""

    cell: Name
    """The id of a cell."""
    output: Name
    """The model output that ranks."""
    k: Ordinal
    """Places of each list."""
    catalogue: Count
    """Number of items, shown or not."""
    tail_items: Count | None
    """How many of them are the long tail."""
    slices: tuple[RankingSlice, ...]
    """One for each slice."""
    lost: tuple[MovedItem, ...]
    """The items that lost most exposure overall, most first."""
    gained: tuple[MovedItem, ...]
    """The items that gained most exposure, most first."""

    def __post_init__(self) -> None:
        settle(self)
