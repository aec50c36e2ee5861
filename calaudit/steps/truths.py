"""What predictions are judged against: tasks turned into truths, units and slices of units."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.spelling import decode, plain_text
from calaudit.formats.predictions import Predictions
from calaudit.formats.rows import not_finite_problem
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import make_importable, parse_metric
from calaudit.metrics.truth import Labels, Texts, Values
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.sliceset import SliceSet
from calaudit.steps import tasks
from calaudit.steps.exam import Basis, Exam, ids_of, placed
from calaudit.steps.labels import read_labels
from calaudit.steps.rankings import gallery_of, listwise_exam, pairwise_exam, retrieval_exam
from calaudit.steps.tasks import Classification, Pairwise, Ranking, Regression, Retrieval, Task
from calaudit.steps.vocabulary import spelling_of

__all__ = ["Exam", "rows_to_predict", "set_exam"]


def rows_to_predict(tasks: Sequence[Task], pool: Pool, evaluated: Rows) -> Rows:
    """Evaluated rows and every gallery's, ascending."""
    wanted = [evaluated]
    for number, task in enumerate(tasks):
        if isinstance(task, Retrieval):
            wanted.append(gallery_of(task, pool, f"tasks[{number}].gallery"))
    return np.unique(np.concatenate(wanted)).astype(np.int64)


def set_exam(
    task: Task,
    pool: Pool,
    evaluated: Rows,
    slices: SliceSet,
    outputs: Sequence[str],
    *,
    where: str,
    folder: Path | None = None,
) -> Exam:
    """Read the targets a task needs.

    Parameters
    ----------
    task : Task
    pool : Pool
    evaluated : int64 (n,)
        Rows to judge on, ascending.
    slices : SliceSet
        Over `evaluated`.
    outputs : sequence of str
        The model's outputs.
    where : str
        Place of the task in the audit file, for messages.
    folder : Path, optional
        Where the audit file is: what paths are relative to, and where metrics of the user's own
        may be.

    Raises
    ------
    SettingsError
        An unknown metric or output, or a vocabulary that can't be used.
    PoolError
        A target or column the pool doesn't have, or that doesn't suit the task.
    """
    basis = Basis(
        pool=pool,
        evaluated=evaluated,
        slices=slices,
        metrics=_metrics(task, where, folder),
        output=_output(task, outputs, where),
        where=where,
        folder=folder or Path(),
    )
    match task:
        case Retrieval():
            return retrieval_exam(task, basis)
        case Ranking():
            return listwise_exam(task, basis)
        case Pairwise():
            return pairwise_exam(task, basis)
        case tasks.Sequence():
            return _sequence(task, basis)
        case Regression() | Classification():
            return _plain(task, basis)


def _plain(task: Classification | Regression, basis: Basis) -> Exam:
    truth: Labels | Values
    names: tuple[str, ...] = ()
    with placed(target=f"{basis.pool.label}: /targets/{task.target}"):
        if isinstance(task, Classification):
            truth = read_labels(
                basis.pool, task.target, basis.evaluated, classes=task.classes, where=basis.where
            )
            names = tuple(task.classes or basis.pool.class_names(task.target))
        else:
            truth = _values(basis, task.target)
    return basis.exam(truth, target=task.target, classes=names)


def _values(basis: Basis, target: str) -> Values:
    """What a regression should have given; samples without it are named."""
    values = basis.pool.read_target(target, basis.evaluated)
    problem = not_finite_problem(
        values, ids_of(basis.pool, basis.evaluated), f"{basis.pool.label}: /targets/{target}"
    )
    if problem is not None:
        raise PoolError.of([problem])
    return Values(values)


def _sequence(task: tasks.Sequence, basis: Basis) -> Exam:
    spelling = spelling_of(task, basis.folder, where=basis.where)
    target = basis.pool.read_target(task.target, basis.evaluated)
    if target.dtype.kind not in "UT":
        raise PoolError(
            f"the target {task.target!r} is {target.dtype}, expected text",
            where=f"{basis.pool.label}: /targets/{task.target}",
            next_step="Store the texts, or judge this output by another kind of task.",
        )

    def plain(text: str) -> str:
        return plain_text(
            text, ignore_case=task.ignore_case, ignore_punctuation=task.ignore_punctuation
        )

    def answer(predictions: Predictions, reference: Predictions) -> NDArray[Any]:
        texts = decode(basis.read(predictions), spelling, basis.read(reference))
        texts[:] = [None if text is None else plain(text) for text in texts]
        return texts

    truth = Texts(np.array([plain(str(text)) for text in target], dtype=np.str_))
    return basis.exam(truth, target=task.target, answer=answer)


def _metrics(task: Task, where: str, folder: Path | None) -> tuple[Metric, ...]:
    if folder is not None and any(":" in name for name in task.metrics):
        make_importable(folder)
    found: list[Metric] = []
    problems: list[Problem] = []
    for name in task.metrics:
        try:
            found.append(parse_metric(name))
        except SettingsError as error:
            problems += [
                Problem(p.message, f"{where}.metrics", p.next_step) for p in error.problems
            ]
    if not task.metrics:
        problems.append(Problem("names no metric", f"{where}.metrics", "Name one, such as top1."))
    if problems:
        raise SettingsError.of(problems)
    return tuple(dict.fromkeys(found))


def _output(task: Task, outputs: Sequence[str], where: str) -> str:
    if task.output is None and len(outputs) == 1:
        return outputs[0]
    if task.output in outputs:
        return str(task.output)
    known = ", ".join(outputs)
    raise SettingsError(
        f"the model has no output {task.output!r}"
        if task.output
        else f"the model has {len(outputs)} outputs ({known}); say which one this task judges",
        where=f"{where}.output",
        next_step=near(task.output or "", outputs) if task.output else 'Add output = "…".',
    )
