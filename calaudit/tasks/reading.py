"""Tasks as an audit file says them: parsed, read from the pool, or proposed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from calaudit.graph.model import ModelTensor
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import definition_of, definitions, make_importable, parse_metric
from calaudit.metrics.truth import Truth
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near
from calaudit.runtime.pool import Pool, Rows, TensorSpec
from calaudit.runtime.settings import parse_settings
from calaudit.runtime.words import first_of, shape_text
from calaudit.slices.objects import ObjectSlices
from calaudit.slices.sliceset import SliceSet
from calaudit.tasks.base import TASKS, Closing, EvalSet, Proposed, Samples, Task
from calaudit.tasks.contract import held_eval_sets, held_outputs

_OUTPUTS = ("output", "boxes", "scores", "labels", "counts")
"""Keys of tasks that name outputs."""
_SHOWN = 12
_NAME: Final = re.compile(r"[\w-]+")


def parse_task(values: Mapping[str, Any], *, where: object, at: str) -> Task:
    """One ``[[tasks]]`` table, by its `kind`. Raises `SettingsError`."""
    kind = values.get("kind")
    if not isinstance(kind, str):
        raise SettingsError(
            f"kind must be one of {', '.join(TASKS.names())} (got {kind!r})",
            where=f"{where}: {at}.kind",
            next_step="Name a kind of task.",
        )
    if "name" in values:
        _check_name(values["name"], f"{where}: {at}.name")
    keys = {key: value for key, value in values.items() if key not in {"kind", "name"}}
    return parse_settings(keys, TASKS.load(kind, where=f"{where}: {at}.kind"), where=where, at=at)


def _check_name(name: object, where: str) -> None:
    """Refuse names that can't stand before a metric's. Raises `SettingsError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} can't be a task's name",
            where=where,
            next_step='Use letters, digits, - and _: name = "boxes2" gives boxes2/ap.',
        )


def rows_to_predict(tasks: Sequence[Task], pool: Pool, evaluated: Rows) -> Rows:
    """Evaluated rows and what else tasks need, such as a gallery, ascending."""
    more = [task.more_rows(pool, f"tasks[{number}]") for number, task in enumerate(tasks)]
    wanted = np.zeros(len(pool), dtype=bool)
    for rows in (evaluated, *(rows for rows in more if rows is not None)):
        wanted[rows] = True
    return np.flatnonzero(wanted).astype(np.int64, copy=False)


def read_eval_sets(
    task: Task,
    pool: Pool,
    evaluated: Rows,
    slices: SliceSet,
    outputs: Sequence[str],
    *,
    where: str,
    folder: Path | None = None,
    object_slices: ObjectSlices | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    name: str = "",
) -> tuple[EvalSet, ...]:
    """Read the targets a task needs: one evaluation set per kind of unit that its metrics score.

    They come in the order of their first metrics, so that the task's first metric is the first
    one's first.

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
    object_slices : ObjectSlices, optional
        Slices of the pool's objects.
    shapes : mapping, optional
        Output → shape of one sample, as far as the model says.
    name : str
        The task's, which stands before its metrics' names; empty: none.

    Raises
    ------
    SettingsError
        An unknown metric or output, a metric of another kind of task, or a vocabulary that can't be
        used; or a kind of another package failed, or gave what no kind gives.
    PoolError
        A target or column the pool doesn't have, or that doesn't suit the task.
    """
    samples = Samples(
        pool=pool,
        evaluated=evaluated,
        slices=slices,
        metrics=tuple(
            each.of_task(name) if name else each for each in _metrics(task, pool, where, folder)
        ),
        outputs=held_outputs(task, task.outputs(outputs, where), outputs),
        where=where,
        folder=folder or Path(),
        object_slices=object_slices,
        shapes=shapes or {},
        name=name,
    )
    reduction = task.reduces(samples)
    found = held_eval_sets(task, task.read(samples), len(evaluated))
    reduced = tuple(task.reduced(samples))
    asked = (replace(each, reduction=reduction, reduced=reduced, name=name) for each in found)
    place = {metric: number for number, metric in enumerate(samples.metrics)}
    return tuple(sorted(asked, key=lambda each: place.get(each.metrics[0], 0)))


def offered_metrics(task: type[Task]) -> list[str]:
    """Names, without cuts, of the metrics that a kind of task can be judged by."""
    return [
        name
        for name, definition in definitions().items()
        if definition.needs is None or _has(task, definition.needs)
    ]


def _has(task: type[Task], needs: type[Truth]) -> bool:
    return any(issubclass(truth, needs) for truth in (task.truth, *task.further))


def _metrics(task: Task, pool: Pool, where: str, folder: Path | None) -> tuple[Metric, ...]:
    if folder is not None and any(":" in name for name in task.metrics):
        make_importable(folder)
    found: list[Metric] = []
    problems: list[Problem] = []
    for name in task.metrics:
        try:
            named = _named(name, task, pool)
        except SettingsError as error:
            problems += [
                Problem(p.message, f"{where}.metrics", p.next_step) for p in error.problems
            ]
            continue
        needs = definition_of(named[0]).needs
        if needs is not None and not _has(type(task), needs):
            message = f"{name} needs {needs.what}, which a {task.kind} task doesn't have"
            problems.append(Problem(message, f"{where}.metrics", needs.where_from))
        found += named
    if not task.metrics:
        problems.append(Problem("names no metric", f"{where}.metrics", "Name one, such as top1."))
    if problems:
        raise SettingsError.of(problems)
    return tuple(dict.fromkeys(found))


def _named(name: str, task: Task, pool: Pool) -> list[Metric]:
    """The metric of that name, or that of every class where it names ``[*]``.

    Raises
    ------
    SettingsError
        There is no such metric, or it names a class that the task doesn't have.
    """
    metric = parse_metric(name)
    if metric.class_name is None:
        return [metric]
    known = task.class_names(pool)
    if metric.class_name == "*":
        if not known:
            told = "Name one class in the brackets, or store names of classes in the pool."
            raise SettingsError(f"the classes that {name} stands for aren't known", next_step=told)
        return [parse_metric(metric.name.replace("[*]", f"[{each}]")) for each in known]
    if known and metric.class_name not in known:
        told = near(metric.class_name, known)
        if told.startswith("Did"):
            told += f" Known: {first_of(known[:_SHOWN], len(known))}."
        raise SettingsError(f"{name} names no class of the task", next_step=told)
    return [metric]


def propose_tasks(
    pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
) -> tuple[Proposed, ...]:
    """Tasks that the pool's targets and the model's outputs fit, the first of which leads.

    A further one is of another kind and reads outputs that none before it does: a model may have
    several heads. Tasks that judge queries stand alone.

    Raises
    ------
    PoolError
        No kind can be proposed.
    """
    kinds = [kind for kind in map(TASKS.load, TASKS.names()) if kind.proposed is not None]
    kinds.sort(key=lambda kind: kind.proposed or 0)
    found: list[Proposed] = []
    left = list(outputs)
    for kind in kinds:
        one = kind.propose(pool, left, closing)
        if one is None or (found and "queries" in (one.units, found[0].units)):
            continue
        read = _outputs_of(one, left)
        if found:
            one = _further(one, found, read[0])
        if one is not None:
            found.append(one)
            left = [each for each in left if each.name not in read]
        if not left:
            break
    if found:
        return tuple(found)
    targets = ", ".join([*map(_described, pool.targets.values()), *map(_objects, pool.objects)])
    shapes = ", ".join(f"{each.name} ({shape_text(each.shape)})" for each in outputs)
    hints = [kind.hint(pool, outputs) for kind in kinds]
    raise PoolError(
        f"the task can't be inferred from the targets ({targets or 'none'}) and the model's "
        f"outputs ({shapes})",
        where=pool.label,
        next_step=" ".join(filter(None, hints))
        or "A target of class indices for an output of logits, or relevance (N, items) for "
        "an output of scores, can be. For other tasks write the file by docs/audit.md.",
    )


def _outputs_of(proposed: Proposed, outputs: Sequence[ModelTensor]) -> list[str]:
    """Names of the outputs that a proposed task reads: those it names, or the first."""
    names = [each.name for each in outputs]
    told = [proposed.values[key] for key in _OUTPUTS if key in proposed.values]
    return told or names[:1]


def _further(one: Proposed, before: Sequence[Proposed], output: str) -> Proposed | None:
    """A task beside others, by metrics that none of them has; None where it has none left."""
    values = {"output": output} | dict(one.values)
    known = {name for each in before for name in each.values.get("metrics", ())}
    metrics = [name for name in values.pop("metrics", ()) if name not in known]
    values = {"kind": values.pop("kind")} | values | {"metrics": metrics}
    gated = tuple(name for name in one.gated if name in metrics)
    return replace(one, values=values, gated=gated) if metrics else None


def _objects(name: str) -> str:
    return f"{name} objects"


def _described(target: TensorSpec) -> str:
    dtype = "text" if target.dtype.kind in "UT" else target.dtype.name
    return f"{target.name} {dtype} {target.shape or ''}".strip()
