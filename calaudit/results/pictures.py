"""Pictures: samples to look at, with what is true and what FP32 and an engine say of them.

The report holds what is drawn over a sample; the sample itself is a PNG file beside the report.
"""

from dataclasses import dataclass

from calaudit.results.values import Count, Name, Ordinal, settle


@dataclass(frozen=True, slots=True)
class Mark:
    """A box, true or predicted."""

    label: Name
    """Its class."""
    x1: float
    """Left edge, in pixels of the model's input."""
    y1: float
    """Upper edge."""
    x2: float
    """Right edge."""
    y2: float
    """Lower edge."""
    score: float | None
    """Of a predicted one; None for a true one."""
    matched: bool | None
    """Whether there is its counterpart: the true box of a predicted one, or a predicted box of a
    true one; None where that isn't asked, as of crowds."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Depiction:
    """What is true of a sample, or what one engine says: a class, boxes, or a mask."""

    label: str | None = None
    """The class, of a classification."""
    boxes: tuple[Mark, ...] = ()
    """Of a detection; those of the truth are marked by whether FP32 finds them."""
    mask: str | None = None
    """File, in the folder ``pictures`` beside the report: a PNG of class numbers in the order of
    `Pictures.classes`, 255 where nothing is judged."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The sample of a slice that lost most under an engine."""

    id: str
    """Its id in the pool."""
    slice: Name
    """The name of the slice that it is shown for."""
    cell: Name
    """The id of a cell: the worst of its recipe on that slice."""
    reference: float | None
    """The sample's own score under FP32."""
    lost: float | None
    """What it lost of it."""
    file: str | None
    """Its picture, in the folder ``pictures`` beside the report; None where its input doesn't look
    like an image."""
    width: Count
    """Of the model's input, in pixels."""
    height: Count
    """Of the model's input, in pixels."""
    truth: Depiction
    """What is true."""
    fp32: Depiction
    """What FP32 says."""
    engine: Depiction
    """What the engine says."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Samples that lost most by one metric: one for each slice and recipe, the worst first."""

    metric: Name
    """The name of a metric."""
    by: Name
    """What a sample's own score is: the metric, or what stands in where it scores no sample."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of their numbers."""
    judged: Ordinal
    """How many pairs of slice and recipe are gated, or compared where nothing is gated; those that
    lost most are shown."""
    shown: tuple[Picture, ...]
    """One of each, but for those in which no sample lost."""
