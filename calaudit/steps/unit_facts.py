"""What is kept of one engine's answers once they are scored: numbers per unit, for any outputs.

Answers are looked at in pieces, whose facts are joined: memory doesn't grow with the width of an
output times the number of units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.classification import predicted
from calaudit.metrics.scoring import scores_of
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import Scores, concatenate
from calaudit.statistics.ranking_change import RankingChange, changes_in, join_changes


@dataclass(frozen=True, eq=False, slots=True)
class UnitFacts:
    """Of one engine over n units."""

    scores: Mapping[Metric, Scores]
    unanswered: NDArray[np.bool_]
    """(n,) units whose outputs can't be judged."""
    identical: bool
    """Whether all outputs are FP32's, to the bit."""
    answer: NDArray[np.int64] | None = None
    """(n,) the class that FP32 answers, -1 where none; None where it isn't asked for classes, and
    for engines, of which nobody asks."""
    changes: tuple[RankingChange, ...] = ()
    """What became of FP32's rankings, one for each cut."""


def facts_of(case: Case, metrics: Sequence[Metric], *, rankings: bool) -> UnitFacts:
    """Score a case whose FP32 outputs are known.

    With `rankings` it is an engine's: what became of FP32's rankings is found as well, and classes
    aren't kept.
    """
    ranked = rankings and isinstance(case.truth, Relevance)
    scores = {metric: scores_of(metric, case) for metric in metrics}
    return UnitFacts(
        scores,
        case.unanswered,
        is_identical(case.outputs, case.reference()),
        None if rankings else class_answers(case),
        tuple(changes_in(metrics, case, scores)) if ranked else (),
    )


def join_facts(parts: Sequence[UnitFacts], truth: object) -> UnitFacts:
    """Facts of successive units as one; `truth` is that of them all."""
    first = parts[0]
    if len(parts) == 1:
        return first
    answers = [each.answer for each in parts if each.answer is not None]
    return UnitFacts(
        {metric: concatenate([each.scores[metric] for each in parts]) for metric in first.scores},
        np.concatenate([each.unanswered for each in parts]),
        all(each.identical for each in parts),
        np.concatenate(answers) if answers else None,
        tuple(
            join_changes([each.changes[place] for each in parts], truth)
            for place in range(len(first.changes))
            if isinstance(truth, Relevance)
        ),
    )


def class_answers(case: Case) -> NDArray[np.int64] | None:
    """(n,) the class that is answered, -1 for none; None where it isn't chosen among classes."""
    if not isinstance(case.truth, Labels) or case.outputs.ndim != 2 or case.outputs.shape[1] < 2:
        return None
    return np.where(case.unanswered, -1, predicted(case.logits()))


def is_identical(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two engines gave the same numbers, NaN for NaN."""
    if one.shape != other.shape or one.dtype.kind != "f":
        return False
    # most differ at once
    return all(np.array_equal(one[p], other[p], equal_nan=True) for p in (slice(1), slice(1, None)))
