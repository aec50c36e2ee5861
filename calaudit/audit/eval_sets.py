"""The tasks of an audit, read from its pool, and what predictions keep for them."""

import math
from collections.abc import Sequence
from dataclasses import replace

from calaudit.audit.config import AuditConfig
from calaudit.graph.model import Model
from calaudit.graph.survey import closing_op, sized_outputs
from calaudit.runtime.errors import Problem, SettingsError, SliceError
from calaudit.runtime.pool import Rows
from calaudit.slices.dimension import OBJECT
from calaudit.slices.objects import ObjectSlices
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.scores_reduction import to_scores
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import read_eval_sets, rows_to_predict
from calaudit.tasks.reduction import Kept, Reading, kept_of


def read_tasks(
    config: AuditConfig, evaluated: Rows, slices: SliceSet, whole: ObjectSlices, model: Model
) -> tuple[EvalSet, ...]:
    """Read what the tasks need, and check that it fits the model.

    Parameters
    ----------
    config : AuditConfig
    evaluated : int64 (n,)
        Rows to judge on, ascending.
    slices : SliceSet
        Over `evaluated`.
    whole : ObjectSlices
        Over all objects of the pool.
    model : Model

    Raises
    ------
    CalauditError
        A task that can't be read, or doesn't fit the model; slices that nothing is judged on.
    """
    pool = whole.pool
    outputs = [output.name for output in model.outputs]
    sized = sized_outputs(model, {name: spec.shape for name, spec in pool.inputs.items()})
    named = task_names(config)
    found = [
        eval_set
        for number, task in enumerate(config.tasks)
        for eval_set in read_eval_sets(
            task,
            pool,
            evaluated,
            slices,
            outputs,
            where=f"{config.path}: tasks[{number}]",
            folder=config.base,
            object_slices=whole,
            shapes={output.name: output.shape for output in sized},
            name=named[number],
        )
    ]
    _refuse_unjudged(whole, found)
    n_predicted = len(rows_to_predict(config.tasks, pool, evaluated))
    eval_sets = tuple(
        to_scores(
            replace(eval_set, closing=closing_op(model, eval_set.output)),
            evaluated,
            n_predicted=n_predicted,
            row_bytes=_row_bytes(model, eval_set),
        )
        for eval_set in found
    )
    names = [metric.name for eval_set in eval_sets for metric in eval_set.metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError.of(
            Problem(
                f"metric {name} belongs to two tasks",
                f"{config.path}: tasks",
                f'Give one of them a name: name = "b" calls its own b/{name}. Or drop it from one.',
            )
            for name in twice
        )
    widths = {output.name: output.shape for output in model.outputs}
    for eval_set in eval_sets:
        shape = widths.get(eval_set.output, ())
        eval_set.task.check(eval_set, shape[0] if len(shape) == 1 else None, pool)
    return eval_sets


def task_names(config: AuditConfig) -> tuple[str, ...]:
    """The tasks' names, empty where the audit file gives none.

    Raises
    ------
    SettingsError
        Two tasks of one name.
    """
    names = tuple(str(each.get("name", "")) for each in config.raw["tasks"])
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"two tasks are called {twice[0]!r}",
            where=f"{config.path}: tasks",
            next_step="Rename one.",
        )
    return names


def _row_bytes(model: Model, eval_set: EvalSet) -> int | None:
    """What a row's outputs take; None where the model doesn't say."""
    found = 0
    for output in model.outputs:
        if output.name in eval_set.outputs:
            sizes = [size for size in output.shape if size is not None]
            if len(sizes) < len(output.shape):
                return None
            found += math.prod(sizes) * output.dtype.itemsize
    return found


def _refuse_unjudged(slices: ObjectSlices, eval_sets: Sequence[EvalSet]) -> None:
    """Refuse slices of objects where no metric scores objects."""
    if any(each.unit == OBJECT for each in eval_sets):
        return
    problems = [
        Problem(
            "is a slice of objects, and no task's metric scores objects",
            f"{slices.where}: {each.title}",
            "Add object_recall to a detection task's metrics, or drop the slice.",
        )
        for each in slices.of_objects
    ]
    if problems:
        raise SliceError.of(problems)


def kept_by(
    config: AuditConfig,
    eval_sets: Sequence[EvalSet],
    *,
    reference: bool = False,
) -> Kept:
    """What predictions keep, of engines or of FP32."""
    readings = [Reading(each.outputs, each.reduction) for each in eval_sets]
    return kept_of(readings, every=config.audit.keep_outputs, reference=reference)
