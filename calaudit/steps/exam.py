"""An exam: one task made concrete."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.truth import Truth
from calaudit.runtime.errors import PoolError, Problem, SettingsError
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.sliceset import SliceSet

Names = Callable[[Rows], list[str]]
"""Positions → what people know them by."""

Answer = Callable[[Predictions, Predictions], NDArray[Any]]
"""An engine's predictions, and FP32's → (units, …) the answers."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What every task of an audit is made concrete with."""

    pool: Pool
    evaluated: Rows
    """Rows to judge on, ascending."""
    slices: SliceSet
    """Over `evaluated`."""
    metrics: tuple[Metric, ...]
    output: str
    """The model output that the task judges."""
    where: str
    """Place of the task in the audit file, for messages."""
    folder: Path
    """What paths in the audit file are relative to."""

    def read(self, predictions: Predictions) -> NDArray[Any]:
        """The output of the evaluated rows."""
        return predictions.read(self.output, self.evaluated)

    def exam(
        self,
        truth: Truth,
        *,
        target: str,
        unit: str = "sample",
        answer: "Answer | None" = None,
        slices: SliceSet | None = None,
        ids: Names | None = None,
        items: Names | None = None,
        unit_of_row: NDArray[np.int64] | None = None,
        classes: tuple[str, ...] = (),
    ) -> "Exam":
        """An exam whose units are the evaluated rows, where nothing else is said."""
        return Exam(
            metrics=self.metrics,
            truth=truth,
            slices=slices or self.slices,
            answer=answer or (lambda predictions, _: self.read(predictions)),
            output=self.output,
            where=self.where,
            target=f"{self.pool.label}: /targets/{target}",
            unit=unit,
            ids=ids or ids_of(self.pool, self.evaluated),
            items=items,
            unit_of_row=unit_of_row,
            classes=classes,
        )


@dataclass(frozen=True, slots=True)
class Exam:
    """Units, their truth, their slices, and how to read an engine's answer.

    A unit is a sample, or a query.
    """

    metrics: tuple[Metric, ...]
    truth: Truth
    slices: SliceSet
    """Over the units."""
    answer: Answer
    """An engine's outputs, one row per unit, as `calaudit.evaluate.score_all` takes them."""
    output: str
    """The model output behind it."""
    where: str
    """Place of the task in the audit file, for messages."""
    target: str
    """Place of the truth in the pool, for messages."""
    unit: str
    """``"sample"`` or ``"query"``."""
    ids: Names
    """Ids of units, by their positions."""
    items: Names | None = None
    """Of a ranking: names of catalogue items, by their positions."""
    unit_of_row: NDArray[np.int64] | None = None
    """Unit of each evaluated row, where a unit has several; None: each row is one."""
    classes: tuple[str, ...] = ()
    """Of a classification: names of the classes; empty where they are numbers alone."""
    closing: str | None = None
    """ONNX op type that computes the output's values; None where it isn't known."""

    @property
    def first_rows(self) -> NDArray[np.int64] | None:
        """The first evaluated row of each unit; None: each row is one."""
        if self.unit_of_row is None:
            return None
        return np.asarray(np.unique(self.unit_of_row, return_index=True)[1], dtype=np.int64)


def ids_of(pool: Pool, rows: Rows) -> Names:
    """Names of units that are the pool's `rows`."""

    def name(units: Rows) -> list[str]:
        order = np.argsort(rows[units])  # pools are read in ascending order
        found = np.empty(len(units), dtype=object)
        found[order] = pool.ids(rows[units][order])
        return [str(one) for one in found]

    return name


def texts_of(values: NDArray[Any] | list[Any]) -> Names:
    """Names of units or items that are listed in memory."""
    return lambda positions: [str(values[int(at)]) for at in positions]


@contextmanager
def placed(*, target: str, where: str | None = None) -> Iterator[None]:
    """Say where the truth is in the pool, or the task, in errors that don't say it themselves."""
    try:
        yield
    except PoolError as error:
        raise PoolError.of(_at(error.problems, target)) from None
    except SettingsError as error:
        raise SettingsError.of(_at(error.problems, where)) from None


def _at(problems: Iterable[Problem], place: str | None) -> Iterator[Problem]:
    for problem in problems:
        yield Problem(problem.message, problem.where or place, problem.next_step)
