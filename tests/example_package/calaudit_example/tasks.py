"""A kind of task that calaudit doesn't have: ordered classes, judged by how far off answers are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calaudit.metrics.base import metric
from calaudit.runtime.errors import PoolError
from calaudit.runtime.settings import setting
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import Proposed, Task
from calaudit.tasks.names import find_output


@dataclass(frozen=True, eq=False)
class Grades:
    """Grade of each sample."""

    what: ClassVar[str] = "grades"
    where_from: ClassVar[str] = "Use a grading task."

    grade: np.ndarray
    """(n,), whole numbers from 0."""

    def __len__(self):
        return len(self.grade)

    @property
    def target(self):
        return self.grade

    def take(self, rows):
        return Grades(self.grade[rows])


@metric("mean", higher_is_better=False, unit="grades", quality=True, needs=Grades)
def grades_off(case):
    """Mean distance of the answer from the true grade."""
    return np.abs(case.outputs - case.truth_of(Grades).grade).astype(float)


@setting
class Grading(Task):
    """Ordinal regression: outputs `scores` above `thresholds` count up to the grade."""

    kind: ClassVar[str] = "grading"
    truth: ClassVar[type] = Grades
    proposed: ClassVar[int] = 5

    target: str = "grade"
    output: str | None = None
    thresholds: str = "thresholds"
    """A second output: what a sample's score must exceed for each grade above 0."""
    metrics: tuple[str, ...] = ("grades_off",)

    def outputs(self, known, where):
        return (
            find_output(self.output, [each for each in known if each != self.thresholds], where),
            find_output(self.thresholds, known, where),
        )

    def read(self, samples):
        grade = samples.target(self.target)
        if grade.dtype.kind not in "iu":
            raise PoolError("grades must be whole numbers", where=samples.pool.label)
        score, thresholds = samples.outputs

        def answer(given, _, units):
            above = samples.read(given, units, score) > samples.read(given, units, thresholds)
            return above.sum(axis=1)

        return samples.eval_set(self, Grades(grade), target=self.target, answer=answer)

    def rivals(self, case, k):
        true = case.truth_of(Grades).grade
        gain = np.abs(true - np.median(true)) - np.abs(true - case.outputs)
        return [Rival("always answering the median grade", (gain,), True)]

    @classmethod
    def propose(cls, pool, outputs, closing):
        if "grade" not in pool.targets or "thresholds" not in {each.name for each in outputs}:
            return None
        return Proposed({"kind": "grading"}, "Grades by thresholds.", ("grades_off",))
