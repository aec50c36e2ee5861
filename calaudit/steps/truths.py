"""What predictions are judged against: tasks turned into truths, units and slices of units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError, Problem, SettingsError, SliceError, near
from calaudit.evaluate import (
    Labels,
    Metric,
    Pairs,
    Relevance,
    Truth,
    from_pairs,
    parse_metric,
    retrieval_scores,
)
from calaudit.evaluate.metrics.popularity import tail_by_interactions, tail_by_rank
from calaudit.formats.predictions import Predictions
from calaudit.pool import Pool, Rows
from calaudit.slices import SliceSet, select_rows
from calaudit.steps.tasks import Classification, Pairwise, Ranking, Retrieval, Tail, Task


@dataclass(frozen=True, slots=True)
class Exam:
    """One task made concrete: units, their truth, their slices, and how to read an engine's answer.

    A unit is a sample, or a query.
    """

    metrics: tuple[Metric, ...]
    truth: Truth
    slices: SliceSet
    """Over the units."""
    answer: Callable[[Predictions], NDArray[Any]]
    """An engine's outputs, one row per unit, as `calaudit.evaluate.score_all` takes them."""
    output: str
    """The model output behind it."""
    unit: str
    """``"sample"`` or ``"query"``."""


def rows_to_predict(tasks: Sequence[Task], pool: Pool, evaluated: Rows) -> Rows:
    """Evaluated rows and every gallery's, ascending."""
    wanted = [evaluated]
    for number, task in enumerate(tasks):
        if isinstance(task, Retrieval):
            wanted.append(_gallery(task, pool, f"tasks[{number}].gallery"))
    return np.unique(np.concatenate(wanted)).astype(np.int64)


def set_exam(
    task: Task, pool: Pool, evaluated: Rows, slices: SliceSet, outputs: Sequence[str], *, where: str
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

    Raises
    ------
    SettingsError
        An unknown metric or output.
    PoolError
        A target or column the pool doesn't have, or that doesn't suit the task.
    """
    metrics = _metrics(task, where)
    output = _output(task, outputs, where)
    if isinstance(task, Classification):
        label = pool.read_target(task.target, evaluated)
        return Exam(
            metrics, Labels(label), slices, lambda p: p.read(output, evaluated), output, "sample"
        )
    if isinstance(task, Ranking):
        truth = _listwise(task, pool, evaluated)
        return Exam(metrics, truth, slices, lambda p: p.read(output, evaluated), output, "query")
    if isinstance(task, Retrieval):
        return _retrieval(
            task, pool, evaluated, slices, metrics=metrics, output=output, where=where
        )
    return _pairwise(task, pool, evaluated, slices, metrics=metrics, output=output)


def _metrics(task: Task, where: str) -> tuple[Metric, ...]:
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


def _listwise(task: Ranking, pool: Pool, evaluated: Rows) -> Relevance:
    relevance = pool.read_target(task.relevance, evaluated)
    exclude = task.exclude or ("exclude" if "exclude" in pool.targets else None)
    shown = None if exclude is None else pool.read_target(exclude, evaluated)
    if task.popularity is not None and task.popularity in pool.items:
        popularity = pool.item_column(task.popularity).to_numpy().astype(np.float64)
    elif task.popularity in (None, "popularity"):
        popularity = relevance.sum(axis=0, dtype=np.float64)
    else:
        raise PoolError(
            f"there is no item column {task.popularity!r}",
            where=pool.label,
            next_step=near(str(task.popularity), pool.items),
        )
    return Relevance(relevance, shown, popularity, _tail(task.tail, popularity))


def _tail(tail: Tail, popularity: NDArray[np.float64]) -> NDArray[np.bool_]:
    if tail.head_items is not None:
        return tail_by_rank(popularity, tail.head_items)
    if tail.head_interactions is not None:
        return tail_by_interactions(popularity, tail.head_interactions)
    raise SettingsError(
        "tail.items names labels, which only a retrieval task has",
        next_step="Use head_interactions or head_items.",
    )


def _gallery(task: Retrieval, pool: Pool, where: str) -> Rows:
    gallery = select_rows(task.gallery, pool, where=where)
    if not len(gallery):
        raise SliceError(
            f"no sample is in the gallery {task.gallery!r}",
            where=where,
            next_step="Mend the predicate; calaudit pool show lists the columns.",
        )
    return gallery


def _retrieval(
    task: Retrieval,
    pool: Pool,
    evaluated: Rows,
    slices: SliceSet,
    *,
    metrics: tuple[Metric, ...],
    output: str,
    where: str,
) -> Exam:
    gallery = _gallery(task, pool, where)
    labels = pool.read_target(task.target, gallery)
    relevance = pool.read_target(task.target, evaluated)[:, None] == labels[None, :]
    if task.popularity is None:
        popularity = relevance.sum(axis=0, dtype=np.float64)
    else:
        popularity = pool.columns([task.popularity], gallery).to_series().to_numpy().astype(float)
    tail: NDArray[np.bool_] | None = None
    if task.tail is not None and task.tail.items:
        tail = np.isin(labels.astype(str), list(task.tail.items))
    elif task.tail is not None:
        tail = _tail(task.tail, popularity)
    # A query that is in the gallery itself would find itself first.
    exclude = evaluated[:, None] == gallery[None, :]
    truth = Relevance(relevance.astype(np.uint8), exclude, popularity, tail)

    def answer(predictions: Predictions) -> NDArray[Any]:
        return retrieval_scores(
            predictions.read(output, evaluated), predictions.read(output, gallery)
        )

    return Exam(metrics, truth, slices, answer, output, "query")


def _pairwise(
    task: Pairwise,
    pool: Pool,
    evaluated: Rows,
    slices: SliceSet,
    *,
    metrics: tuple[Metric, ...],
    output: str,
) -> Exam:
    columns = pool.columns([task.query, task.item], evaluated)
    query, item = (columns[name].to_numpy() for name in (task.query, task.item))
    relevance = pool.read_target(task.relevance, evaluated)
    pairs = from_pairs(query, item, relevance)
    popularity = pairs.truth.gain.sum(axis=0)
    truth = Relevance(
        pairs.truth.relevance, pairs.truth.exclude, popularity, _tail(task.tail, popularity)
    )
    return Exam(
        metrics,
        truth,
        _slices_of_queries(slices, pairs, pool.label),
        lambda p: pairs.listwise(p.read(output, evaluated)),
        output,
        "query",
    )


def _slices_of_queries(slices: SliceSet, pairs: Pairs, label: str) -> SliceSet:
    first = pairs.first_pair
    for dimension in slices.dimensions:
        differs = dimension.codes != dimension.codes[first][pairs.row]
        if differs.any():
            raise SliceError(
                f"dimension {dimension.name} differs within query "
                f"{pairs.queries[pairs.row[differs][0]]}; a query is in a slice as a whole",
                where=label,
                next_step="Slice a pairwise pool by columns that belong to the query.",
            )
    return slices.take(first)
