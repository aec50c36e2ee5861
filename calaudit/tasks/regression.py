"""Regression: one number per sample, or several; the output holds as many."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.rows import not_finite_problem
from calaudit.metrics.case import Case, flat
from calaudit.metrics.truth import Truth, Values
from calaudit.runtime.errors import PoolError
from calaudit.runtime.settings import setting
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import EvalSet, Samples, Task
from calaudit.tasks.names import ids_of


@setting
class Regression(Task):
    """One number per sample, or several; the output holds as many."""

    kind: ClassVar[str] = "regression"
    truth: ClassVar[type[Truth]] = Values
    by_row: ClassVar[bool] = True
    target: str = "value"
    output: str | None = None
    metrics: tuple[str, ...] = ("mae", "rmse", "r2", "max_abs_diff")

    def read(self, samples: Samples) -> EvalSet:
        """What the model should have given; samples without it are named."""
        values = samples.pool.read_target(self.target, samples.evaluated)
        problem = not_finite_problem(
            values,
            ids_of(samples.pool, samples.evaluated),
            f"{samples.pool.label}: /targets/{self.target}",
        )
        if problem is not None:
            raise PoolError.of([problem])
        return samples.eval_set(self, Values(values), target=self.target)

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """The constant: by squares the mean is the best one, by absolute errors the median."""
        value = flat(case.truth_of(Values).value)
        mean, median = value.mean(axis=0), np.median(value, axis=0)

        def gains_in(piece: Case) -> list[NDArray[np.float64]]:
            true, given = piece.values()
            squares = ((true - mean) ** 2 - (true - given) ** 2).mean(axis=1)
            absolute = (np.abs(true - median) - np.abs(true - given)).mean(axis=1)
            return [np.where(piece.unanswered, np.nan, each) for each in (squares, absolute)]

        pieces = [gains_in(piece) for piece in case.pieces()]
        gains = tuple(np.concatenate(each) for each in zip(*pieces, strict=True))
        return [Rival("always predicting the mean target", gains, True)]
