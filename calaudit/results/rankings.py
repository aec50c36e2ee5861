"""What became of rankings: losses by cause, and exposure that moved."""

from dataclasses import dataclass

from calaudit.results.values import settle


@dataclass(frozen=True, slots=True)
class RankingLoss:
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
class Flow:
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

    @property
    def tail_gain(self) -> float:
        """Places that the tail gained on balance; the loss where negative."""
        return self.head_to_tail - self.tail_to_head


@dataclass(frozen=True, slots=True)
class RankingSlice:
    """Rankings of one slice's queries."""

    slice: str
    n: int
    """Queries."""
    reference_ties: float | None
    """Share of queries in which a tie runs across the cut under FP32."""
    candidate_ties: float | None
    """The same under the engine."""
    flow: Flow | None
    """None where no long tail is known."""
    losses: tuple[RankingLoss, ...]

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class MovedItem:
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
class RankingFlow:
    """What one engine made of FP32's top k."""

    cell: str
    output: str
    """The model output that ranks."""
    k: int
    catalogue: int
    """Number of items, shown or not."""
    tail_items: int | None
    """How many of them are the long tail."""
    slices: tuple[RankingSlice, ...]
    lost: tuple[MovedItem, ...]
    """The items that lost most exposure over everything, most first."""
    gained: tuple[MovedItem, ...]

    def __post_init__(self) -> None:
        settle(self)
