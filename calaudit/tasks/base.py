"""What a task is: how a model's outputs are judged against the pool's targets.

task
    One ``[[tasks]]`` table of an audit file. Its kind is a class below `Task`, which holds all that
    is particular to it: the table's keys, the truth, how outputs become answers, who FP32 should be
    better than, and what ``calaudit init`` proposes.
evaluation set
    A task read from a pool: the units to judge (samples, queries, objects), their truth and slices.
    A task has one for each kind of unit that its metrics score: a detector's images for AP, their
    objects for recall.
answers
    What an engine's outputs say, one per unit, as metrics take them.

Kinds are found by name in the entry point group ``calaudit.tasks``. A new one is a class in a file
of its own::

    @setting
    class Counting(Task):
        kind: ClassVar[str] = "counting"
        truth: ClassVar[type[Truth]] = Values
        target: str = "count"
        output: str | None = None
        metrics: tuple[str, ...] = ("mae",)

        def read(self, samples: Samples) -> EvalSet:
            return samples.eval_set(self, Values(samples.target(self.target)), target=self.target)

Answers needn't be arrays of numbers: an array of objects holds whatever a kind makes of several
outputs, one per unit and None where there is none, and its metrics read. What a kind makes of large
outputs may be kept in their place (`Task.reduces`); its `answer` then reads that.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.graph.model import ModelTensor
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.truth import Truth
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.registry import Registry
from calaudit.runtime.words import plural
from calaudit.slices.objects import ObjectSlices
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.baselines import Rival
from calaudit.tasks.depiction import Depicts
from calaudit.tasks.names import Names, find_output, ids_of
from calaudit.tasks.reduced import Reduced
from calaudit.tasks.reduction import Reduction

Answer = Callable[[Given, Given, Rows], NDArray[Any]]
"""What an engine gave, what FP32 gave, positions of units (u,), ascending → (u, …) the answers."""

Closing = Callable[[str], str | None]
"""Name of a model's output → the ONNX op type that computes it; None where it isn't known."""


class Task(Depicts, ABC):
    """One way of judging a model's outputs; a kind of task is a class made by `setting`."""

    __slots__ = ()

    kind: ClassVar[str]
    """As audit files and the entry point name it."""
    truth: ClassVar[type[Truth]]
    """What answers are held against; metrics of another truth are refused."""
    further: ClassVar[tuple[type[Truth], ...]] = ()
    """Truths of its further evaluation sets, which score other units."""
    unit: ClassVar[str] = "sample"
    """What is judged: ``"sample"``, ``"query"`` or ``"image"``."""
    top: ClassVar[int | None] = None
    """How many of the highest answers two backends should share; None: they aren't ranked."""
    alike: ClassVar[str | None] = None
    """Metric of likeness that compares two backends, where answers are no numbers that would."""
    by_row: ClassVar[bool] = False
    """Whether each unit is a row, and its answer depends on that row's outputs alone; then `rivals`
    takes a case in pieces."""
    proposed: ClassVar[int | None] = None
    """Place in the order in which ``calaudit init`` tries the kinds; None: it never does."""

    output: str | None
    """The model's output; not needed when it has only one."""
    metrics: tuple[str, ...]

    @abstractmethod
    def read(self, samples: "Samples") -> "EvalSet | tuple[EvalSet, ...]":
        """Read what the task needs from the pool: an evaluation set, or one per kind of unit.

        Raises
        ------
        PoolError
            A target or column that the pool doesn't have, or that doesn't suit the task.
        SettingsError
            The task's own keys don't fit each other or the pool.
        """

    def outputs(self, known: Sequence[str], where: str) -> tuple[str, ...]:
        """The model's outputs that the task reads; by default the one that is named, or the only.

        Parameters
        ----------
        known : sequence of str
            The model's outputs.
        where : str
            Place of the task in the audit file.

        Raises
        ------
        SettingsError
            The model has no such output, or several.
        """
        return (find_output(self.output, known, where),)

    def more_rows(self, pool: Pool, where: str) -> Rows | None:
        """Rows to predict beside the evaluated ones, ascending; None: no more."""
        return None

    def reduces(self, samples: "Samples") -> Reduction | None:
        """What outputs are reduced to while an engine runs; None: they are kept as they are."""
        return None

    def reduced(self, samples: "Samples") -> tuple[Reduced, ...]:
        """What a file of answers may hold in place of the outputs; the first that it has counts."""
        return ()

    def class_names(self, pool: Pool) -> tuple[str, ...]:
        """Classes that metrics may name in brackets, ``iou[road]``; none: they aren't known."""
        return ()

    def check(self, eval_set: "EvalSet", width: int | None, pool: Pool) -> None:
        """Refuse what couldn't be judged, before any work is done.

        Parameters
        ----------
        eval_set : EvalSet
        width : int or None
            Values per sample of the output; None where it isn't flat, or the model doesn't say.
        pool : Pool

        Raises
        ------
        CalauditError
            The truth and the model's output don't fit each other.
        """
        return

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Whom FP32 should be better than, the one that knows least first.

        Parameters
        ----------
        case : Case
            FP32's answers.
        k : int
            Cut of rankings.
        """
        return []

    def gives_probabilities(self, eval_set: "EvalSet", fp32: NDArray[Any]) -> bool:
        """Whether FP32's answers are probabilities, where metrics expect logits."""
        return False

    def computed(self, metric: Metric, *, probabilities: bool) -> Metric:
        """The metric that is computed under `metric`'s name."""
        return metric

    def notices(self, eval_set: "EvalSet", *, probabilities: bool) -> Iterator[Notice]:
        """What there is to say of the metrics, once answers are known."""
        return iter(())

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> "Proposed | None":
        """What ``calaudit init`` proposes; None where the pool and the outputs don't fit."""
        return None

    @classmethod
    def hint(cls, pool: Pool, outputs: Sequence[ModelTensor]) -> str:
        """What would make the pool fit where nothing could be proposed; empty: nothing simple."""
        return ""


def _hold(kind: type[Task], offer: str) -> type[Task]:
    from calaudit.tasks.contract import hold_task  # which needs what is defined below

    return hold_task(kind, offer)


TASKS: Final = Registry[type[Task]](
    "calaudit.tasks",
    "kind of task",
    lambda found: isinstance(found, type) and issubclass(found, Task),
    "a class below calaudit.tasks.base.Task",
    _hold,
    called="kind",
)


@dataclass(frozen=True, slots=True)
class Samples:
    """What every task of an audit is read with."""

    pool: Pool
    evaluated: Rows
    """Rows to judge on, ascending."""
    slices: SliceSet
    """Over `evaluated`."""
    metrics: tuple[Metric, ...]
    outputs: tuple[str, ...]
    """The model's outputs that the task judges."""
    where: str
    """Place of the task in the audit file, for messages."""
    folder: Path
    """What paths in the audit file are relative to."""
    object_slices: ObjectSlices | None = None
    """Slices of objects; None where there are no objects."""
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    """Output → shape of one sample, None where the model leaves a size open."""
    name: str = ""
    """The task's, which tells its metrics and answers apart from another's; empty: none."""

    @property
    def output(self) -> str:
        """The one output that the task judges, or the first."""
        return self.outputs[0]

    def target(self, name: str) -> NDArray[Any]:
        """A target of the evaluated rows."""
        return self.pool.read_target(name, self.evaluated)

    def read(
        self, given: Given, units: Rows | None = None, output: str | None = None
    ) -> NDArray[Any]:
        """An output of the evaluated rows, or of those at some positions; by default the first."""
        rows = self.evaluated if units is None else self.evaluated[units]
        return given.read(output or self.output, rows)

    def metrics_of(self, task: Task, truth: type[Truth]) -> tuple[Metric, ...]:
        """Those that an evaluation set with such a truth is judged by.

        Metrics that need no truth go with the task's first.
        """
        if not task.further:
            return self.metrics
        needs = ((metric, definition_of(metric).needs) for metric in self.metrics)
        return tuple(
            metric
            for metric, need in needs
            if issubclass(truth, task.truth if need is None else need)
        )

    def eval_set(
        self,
        task: Task,
        truth: Truth,
        *,
        target: str,
        answer: Answer | None = None,
        slices: SliceSet | None = None,
        ids: Names | None = None,
        items: Names | None = None,
        unit: str | None = None,
        unit_of_row: NDArray[np.int64] | None = None,
        row_of_unit: NDArray[np.int64] | None = None,
        classes: tuple[str, ...] = (),
    ) -> "EvalSet":
        """An evaluation set whose units are the evaluated rows, where nothing else is said."""
        return EvalSet(
            task=task,
            metrics=self.metrics_of(task, type(truth)),
            truth=truth,
            slices=slices or self.slices,
            answer=answer or (lambda given, _, units: self.read(given, units)),
            output=", ".join(self.outputs),
            where=self.where,
            target=f"{self.pool.label}: /targets/{target}",
            ids=ids or ids_of(self.pool, self.evaluated),
            unit=unit or task.unit,
            items=items,
            unit_of_row=unit_of_row,
            row_of_unit=row_of_unit,
            classes=classes,
        )


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Units, their truth, their slices, and how to read an engine's answers."""

    task: Task
    metrics: tuple[Metric, ...]
    truth: Truth
    slices: SliceSet
    """Over the units."""
    answer: Answer
    """An engine's answers, one for each of some units, as metrics take them."""
    output: str
    """The model output behind it."""
    where: str
    """Place of the task in the audit file, for messages."""
    target: str
    """Place of the truth in the pool, for messages."""
    ids: Names
    """Ids of units, by their positions."""
    unit: str
    """What one is called: ``"sample"``, ``"query"``, ``"image"`` or ``"object"``."""
    items: Names | None = None
    """Of a ranking: names of catalogue items, by their positions."""
    unit_of_row: NDArray[np.int64] | None = None
    """Unit of each evaluated row, where a unit has several; None: each row is one."""
    row_of_unit: NDArray[np.int64] | None = None
    """Place among the evaluated rows of each unit's, where a row has several, or none."""
    classes: tuple[str, ...] = ()
    """Of a classification: names of the classes; empty where they are numbers alone."""
    closing: str | None = None
    """ONNX op type that computes the output's values; None where it isn't known."""
    reduction: Reduction | None = None
    """What the output is reduced to while engines run; None: it is kept."""
    reduced: tuple[Reduced, ...] = ()
    """What a file of answers may hold in place of the outputs."""
    name: str = ""
    """The task's, where the audit file gives it one."""

    def answers(self, given: Given, reference: Given, units: Rows | None = None) -> NDArray[Any]:
        """An engine's answers, one for each unit or for each of `units`, ascending."""
        every = np.arange(len(self.truth)) if units is None else units
        return self.answer(given, reference, every)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The model's outputs behind it."""
        return tuple(self.output.split(", "))

    @property
    def first_rows(self) -> NDArray[np.int64] | None:
        """The first evaluated row of each unit; None: each row is one."""
        if self.row_of_unit is not None:
            return self.row_of_unit
        if self.unit_of_row is None:
            return None
        return np.asarray(np.unique(self.unit_of_row, return_index=True)[1], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Proposed:
    """A task, the metrics worth a gate, and the columns that belong to it."""

    values: Mapping[str, Any]
    """The table's keys, `kind` first."""
    remark: str
    """Why, for the comment above it."""
    gated: tuple[str, ...]
    used: tuple[str, ...] = ()
    """Columns that identify what is judged; they make no slices."""
    label: str | None = None
    """The class column."""
    query: str | None = None
    """Pairwise: samples of one query are judged together."""
    objects: str | None = None
    """Objects of the pool that are judged one by one as well."""

    @property
    def units(self) -> str:
        """What is judged, in the plural."""
        return plural(TASKS.load(self.values["kind"]).unit)


def width_of(output: ModelTensor) -> int | None:
    """Values per sample of a flat output; None where the model doesn't say."""
    return output.shape[0] if len(output.shape) == 1 else 0


def named(output: ModelTensor, outputs: Sequence[ModelTensor]) -> dict[str, str]:
    """The key that says which output is meant; none where there is only one."""
    return {"output": output.name} if len(outputs) > 1 else {}
