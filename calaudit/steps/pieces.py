"""An evaluation set's units in pieces, with FP32's answers: no output is in memory whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.formats.predictions import Predictions
from calaudit.metrics.case import PIECE_BYTES, Case, spans_of
from calaudit.runtime.outside import is_ours
from calaudit.runtime.pool import Rows
from calaudit.tasks.base import EvalSet

_NARROW = 4 * PIECE_BYTES
"""Answers that may be in memory whole."""


@dataclass(slots=True, eq=False)
class StoredAnswers:
    """FP32's answers (n, …), which are read where units are asked for, like an array."""

    eval_set: EvalSet
    reference: Given
    one: NDArray[Any]
    """(1, …) those of the first unit."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, …)."""
        return (len(self), *self.one.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return self.one.dtype

    @property
    def ndim(self) -> int:
        """Axes."""
        return self.one.ndim

    def __len__(self) -> int:
        return len(self.eval_set.truth)

    def __getitem__(self, units: Rows) -> NDArray[Any]:
        return self.eval_set.answers(self.reference, self.reference, units)


class Pieces:
    """FP32's answers to an evaluation set, piece by piece.

    Parameters
    ----------
    eval_set : EvalSet
    reference : Predictions
        FP32's.
    """

    def __init__(self, eval_set: EvalSet, reference: Predictions) -> None:
        self._eval_set = eval_set
        self._reference = reference
        n = len(eval_set.truth)
        self._first = eval_set.answers(reference, reference, np.arange(min(n, 1)))
        read = reference.bytes_of(eval_set.outputs)
        if eval_set.reduction is not None:
            read += reference.bytes_of_answers(eval_set.reduction.name)
        one = max(self._first.nbytes, read // max(n, 1))
        self.spans: list[Rows] = list(spans_of(n, one)) or [np.arange(0)]

    @cached_property
    def probabilities(self) -> bool:
        """Whether FP32's answers are probabilities, where metrics expect logits."""
        task, found = self._eval_set.task, False
        for units in self.spans:
            answers = self._answers(units)
            found = task.gives_probabilities(self._eval_set, answers)
            # of a piece in which nothing is finite nothing can be told
            if not found and (len(self.spans) == 1 or _some_finite(answers)):
                return False
        return found

    def bases(self) -> Iterator[tuple[Rows, Case]]:
        """Positions of units, and FP32's case over them."""
        for units in self.spans:
            yield units, self.base(units)

    def base(self, units: Rows) -> Case:
        """FP32's case over some units, ascending."""
        eval_set, answers = self._eval_set, self._answers(units)
        whole = len(units) == len(eval_set.truth)
        return Case(
            answers,
            eval_set.truth if whole else eval_set.truth.take(units),
            answers,
            probabilities=self.probabilities,
            ids=lambda positions: eval_set.ids(units[positions]),
        )

    def whole(self) -> Case:
        """FP32's case over all units; its outputs are read in pieces where they are many."""
        eval_set = self._eval_set
        numbers = self._first.dtype.kind != "O" and is_ours(type(eval_set.task))
        if numbers and self._first.nbytes * len(eval_set.truth) > _NARROW:
            stored = StoredAnswers(eval_set, self._reference, self._first)
            answers = cast(NDArray[Any], stored)
        else:
            answers = np.concatenate([self._answers(units) for units in self.spans])
        return Case(
            answers,
            eval_set.truth,
            answers,
            probabilities=self.probabilities,
            ids=eval_set.ids,
        )

    def _answers(self, units: Rows) -> NDArray[Any]:
        return self._eval_set.answers(self._reference, self._reference, units)


def _some_finite(answers: NDArray[Any]) -> bool:
    if answers.dtype.kind not in "fc":
        return True
    return bool(np.isfinite(answers.reshape(len(answers), -1)).all(axis=1).any())
