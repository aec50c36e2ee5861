"""Whose fault drops are, and which slices stand out, as the page tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from calaudit.report.attribution import (
    LEGEND,
    fault_sentences,
    finding_text,
    harmed_slices,
    part_text,
)
from calaudit.report.index import Index
from calaudit.report.standouts import clear_gaps, gap_sentence, screening_sentence
from calaudit.report.wording import difference, percent, unit_name
from calaudit.results.drops import Attribution
from calaudit.runtime.words import visible

SHOWN_SENTENCES, SHOWN_ROWS = 5, 25


class FaultRow(NamedTuple):
    """One harmed slice under one recipe and method."""

    slice: str
    metric: str
    recipe: str
    method: str
    draws: int
    drop: str
    unit: str
    price: str
    addition: str
    luck: str
    finding: str


@dataclass(frozen=True, slots=True)
class Faults:
    """What the part shows."""

    sentences: Sequence[str]
    rows: Sequence[FaultRow]
    left: int
    """Rows that aren't shown."""
    level: str
    legend: str
    standouts: Sequence[str]


def make_faults(index: Index) -> Faults | None:
    """The part's content; None where no slice is harmed and none stands out."""
    harmed = harmed_slices(index, set(index.slices))
    standouts = [gap_sentence(index, one) for one in clear_gaps(index, set(index.slices))]
    standouts += filter(None, [screening_sentence(index, list(index.report.screening))])
    if not harmed and not standouts:
        return None
    return Faults(
        fault_sentences(index, harmed)[:SHOWN_SENTENCES],
        [_row(index, one) for one in harmed[:SHOWN_ROWS]],
        max(0, len(harmed) - SHOWN_ROWS),
        percent(harmed[0].level) if harmed else "",
        LEGEND,
        standouts,
    )


def _row(index: Index, one: Attribution) -> FaultRow:
    metric = index.metrics[one.metric]
    return FaultRow(
        slice=visible(one.slice),
        metric=visible(metric.title),
        recipe=visible(one.recipe),
        method=visible(one.method),
        draws=one.draws,
        drop=difference(metric, one.drop),
        unit=unit_name(metric),
        price=part_text(metric, one.price),
        addition=part_text(metric, one.addition),
        luck=part_text(metric, one.luck),
        finding=finding_text(one),
    )
