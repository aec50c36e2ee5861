"""Predicted harm: what the ranges of each engine should do to each slice, from histograms.

Harm of a tap is the squared error of quantizing it over its signal power, on the slice's tuning
rows; harm of an engine is the sum over its taps. No engine runs for it, so it is shown beside what
was measured, and with how far it ranks engines as the measurements do.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from calaudit.results.values import Count, Name, Share, Size, settle

MOST_TAPS = 20
"""Taps that are listed of one engine."""
FEWEST_CELLS = 5
"""Engines that it takes to tell whether predictions rank them."""
WEAK = 0.5
"""A rank correlation below it is weak."""
CHANCE = 0.05
"""A p-value above it says that chance may rank as well."""


@dataclass(frozen=True, slots=True)
class SliceHarm:
    """One slice, and the least that ranges can do to it."""

    slice: Name
    """The name of a slice."""
    n: Count
    """Tuning rows that were observed in it."""
    least: Size
    """Predicted harm of the best ranges for this slice alone: no ranges of all taps do less to
    it. Engines with an exemption have fewer, and may."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class TapHarm:
    """One tap of one engine: predicted harm to each slice."""

    tap: Name
    """The tensor's name."""
    amax: Size
    """Largest magnitude that isn't clipped, in the tap's unit."""
    clipping: tuple[Size, ...]
    """By clipping larger values: to each of `HarmRecord.slices`, in their order."""
    resolution: tuple[Size, ...]
    """By rounding all others to steps of `amax` / 127, likewise."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class CellHarm:
    """One engine: predicted harm to each slice, and the error of its outputs as measured."""

    cell: Name
    """The id of a cell."""
    clipping: tuple[Size, ...]
    """Sum over all taps: to each of `HarmRecord.slices`, in their order."""
    resolution: tuple[Size, ...]
    """Likewise."""
    output_error: tuple[Size | None, ...]
    """Measured on the evaluated rows of each slice: squared difference of the first task's output
    from FP32 over the sum of its squares. None where the output isn't finite or has no numbers."""
    taps: Annotated[tuple[TapHarm, ...], MaxLen(MOST_TAPS)]
    """Those with the largest harm to any slice, 20 at most, the largest first."""

    @property
    def total(self) -> tuple[float, ...]:
        """Clipping + resolution, slice by slice."""
        return tuple(map(sum, zip(self.clipping, self.resolution, strict=True)))


@dataclass(frozen=True, slots=True)
class HarmRank:
    """How far predicted harm ranks this audit's engines as a measurement does."""

    metric: Name | None
    """The name of a metric: its drop; None: `CellHarm.output_error`."""
    correlation: float | None
    """Spearman's rank correlation over the engines within a slice, the mean over slices; from −1 to
    1. None where fewer than 5 engines can be ranked."""
    p_value: Share | None
    """One-sided, by permuting the engines: how often chance gives as much."""
    cells: Count
    """Engines."""
    slices: Count
    """Slices in which both are known and differ between engines."""

    def __post_init__(self) -> None:
        settle(self)

    @property
    def weak(self) -> bool:
        """Whether it ranks hardly, or no better than chance may; False where nothing is known."""
        if self.correlation is None or self.p_value is None:
            return False
        return self.correlation < WEAK or self.p_value > CHANCE


@dataclass(frozen=True, slots=True)
class HarmRecord:
    """Predicted harm of every INT8 engine with ranges of known taps to every slice."""

    tune: str
    """The predicate of the tuning rows, or in words which they are. None of them is evaluated."""
    rows: Count
    """Tuning rows."""
    observed: Count
    """Of these: those whose activations were observed."""
    taps: Count
    """Tensors that some engine quantizes."""
    slices: tuple[SliceHarm, ...]
    """Those that hold tuning rows; the slice of everything comes first."""
    bound: Size | None
    """Lower bound: whatever the ranges of all taps, some slice's predicted harm is at least this;
    up to the spacing of the candidates for amax. Doesn't hold for engines with an exemption, which
    have fewer. None where there is nothing to quantize."""
    cells: tuple[CellHarm, ...]
    """In the audit's order."""
    ranks: tuple[HarmRank, ...]
    """By the output's error first, then by the drop of each metric that has results."""
    file: Name | None = None
    """The histograms, from the report's folder."""

    def __post_init__(self) -> None:
        settle(self)
