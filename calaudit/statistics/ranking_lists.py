"""FP32's list of a query and the engine's, with two between them that tell causes apart.

From FP32's list to the engine's in three steps, each with one cause:

FP32's list
    → *members*: the items that the engine shows, in FP32's order. Only who is shown has changed.
    → *untied*: the engine's order, its ties broken by FP32's scores. Only the order has changed.
    → the engine's list, its ties broken at random. Only what the ties hide has changed.

Where FP32 too ties what the engine ties, these ties stay, and lists stay expectations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.case import Case
from calaudit.metrics.shown import Shown, order_within


@dataclass(frozen=True, eq=False, slots=True)
class Path:
    """The four lists of every query, cut at k."""

    fp32: Shown
    members: Shown
    """Who the engine shows, its ties broken by FP32, in FP32's order."""
    untied: Shown
    """What the engine shows, its ties broken by FP32; `engine` itself where it has none."""
    engine: Shown

    @classmethod
    def of(cls, case: Case, k: int) -> "Path":
        """The lists of a case that has relevance and FP32's outputs."""
        case.relevance()
        reference = case.reference_ranked()
        engine = case.shown(k)
        untied = untie(engine, reference) if (engine.tied > 1).any() else engine
        return cls(case.reference_shown(k), reorder(untied, reference), untied, engine)


def untie(shown: Shown, score: NDArray[Any]) -> Shown:
    """The same list with its ties broken by `score` (queries, items), higher first."""
    value = score[shown.query, shown.item]
    order = order_within(shown.query, shown.shape[0], shown.first, -value)
    query, first, value = shown.query[order], shown.first[order], value[order]
    starts = _changes(query) | _changes(first) | _changes(value)
    tie = np.cumsum(starts) - 1
    tied = np.bincount(tie)[tie] if len(tie) else tie
    counts = np.bincount(query, minlength=shown.shape[0])
    place = np.flatnonzero(starts)[tie] - (np.cumsum(counts) - counts)[query]
    kept = place < shown.k
    query, place, tied = query[kept], place[kept], tied[kept]
    return Shown(
        k=shown.k,
        shape=shown.shape,
        query=query,
        item=shown.item[order][kept],
        first=place,
        tied=tied,
        probability=np.minimum(shown.k - place, tied) / tied,
    )


def reorder(shown: Shown, score: NDArray[Any]) -> Shown:
    """The items of a list, each with its chance, put in the order of `score`, higher first.

    The list's tie at the cut must be one of equal `score`, as `untie` leaves it. Of the result,
    `first` and `tied` are the places before an item's tie and those that the tie fills; which of
    its items fill them is `probability`'s to say.
    """
    value = score[shown.query, shown.item]
    order = order_within(shown.query, shown.shape[0], -value)
    query, value, chance = shown.query[order], value[order], shown.probability[order]
    starts = _changes(query) | _changes(value)
    tie = np.cumsum(starts) - 1
    filled = np.bincount(tie, weights=chance)
    before = np.cumsum(filled) - filled
    of_query = np.zeros(shown.shape[0])
    opens = _changes(query)
    of_query[query[opens]] = before[tie[opens]]
    return Shown(
        k=shown.k,
        shape=shown.shape,
        query=query,
        item=shown.item[order],
        first=np.rint(before[tie] - of_query[query]).astype(np.int64),
        tied=np.rint(filled[tie]).astype(np.int64),
        probability=chance,
    )


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; True at the start."""
    found = np.ones(len(values), dtype=bool)
    found[1:] = values[1:] != values[:-1]
    return found
