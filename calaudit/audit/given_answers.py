"""A file of answers, held against the tasks: outputs as they are, or what tasks can do with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calaudit.formats.answers import IMAGE, OFFSETS, AnswersFile
from calaudit.formats.given import Batch, Column
from calaudit.runtime.errors import CalauditError, Notice, Problem, SettingsError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import first_of
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reduced import Reduced, plain


@dataclass(frozen=True, slots=True)
class Served:
    """A reduced form in which a file answers a task."""

    form: Reduced
    part: str
    """What stands before its columns' names in the file: the task's name and /, or nothing."""

    @property
    def entries(self) -> dict[str, str]:
        """Column → entry of the file."""
        return {column: f"{self.part}{column}" for column in self.form.columns}

    @property
    def ragged(self) -> dict[str, bool]:
        """Entry of the file → whether it is ragged."""
        return dict.fromkeys(self.entries.values(), self.form.ragged)

    def columns(self, found: Mapping[str, Column]) -> dict[str, Column]:
        """The form's columns, of entries of the file."""
        return {column: found[entry] for column, entry in self.entries.items()}


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """A file of answers, opened and checked but for its outputs."""

    file: AnswersFile
    outputs: Mapping[str, str]
    """The model's outputs that it has to hold → what it might hold in their place, in words."""
    reduced: tuple[Served, ...]
    """What it holds in place of the others."""
    notices: tuple[Notice, ...]


def open_given_answers(
    path: Path, pool: Pool, predicted: Rows, eval_sets: Sequence[EvalSet]
) -> GivenAnswers:
    """Open a file of answers, and find out in which form it has those to each task.

    Outputs count where they are there, else the first of the task's reduced forms.

    Raises
    ------
    FileFormatError
        It is broken, lacks samples, or its columns make no sense.
    SettingsError
        Metrics that its columns don't tell.
    """
    file = AnswersFile(path)
    every = pool.ids(np.arange(len(pool), dtype=np.int64)).tolist()
    file.check(pool.ids(predicted).tolist(), every)
    needed: dict[str, str] = {}
    found: list[Served] = []
    problems: list[Problem] = []
    for eval_set in eval_sets:
        served = _served(file, eval_set)
        if served is None:
            needed |= dict.fromkeys(eval_set.outputs, _instead(eval_set))
            continue
        problems += _untold(file, served.form, eval_set, path)
        if served not in found:
            found.append(served)
    if problems:
        raise SettingsError.of(problems)
    notices: list[Notice] = []
    ids = pool.ids(predicted).tolist()
    for each in found:
        try:
            whole = next(file.batches(ids, max(1, len(ids)), each.ragged))
            notices += each.form.check(each.columns(whole), predicted)
        except CalauditError as error:
            raise type(error).of(
                replace(one, where=one.where or str(path)) for one in error.problems
            ) from None
    return GivenAnswers(file, needed, tuple(found), tuple(notices))


def _instead(eval_set: EvalSet) -> str:
    """What a file may hold in place of a task's outputs, as a next step."""
    forms = [
        f"{_listed(form.columns)}{f' with {OFFSETS} or {IMAGE}' if form.ragged else ''}"
        for form in eval_set.reduced
    ]
    return (
        f"Give it, or in its place {', or '.join(forms)}; docs/formats/answers.md shows how."
        if forms
        else ""
    )


def _listed(columns: Sequence[str]) -> str:
    """Names as one says them: ``boxes, score and label``."""
    *first, last = columns
    return f"{', '.join(first)} and {last}" if first else last


def _served(file: AnswersFile, eval_set: EvalSet) -> Served | None:
    """The form in which a file answers a task; None: as outputs, or not at all.

    What bears the task's name goes before what all tasks may read.
    """
    for part in dict.fromkeys((f"{eval_set.name}/" if eval_set.name else "", "")):
        if not part and file.holds(eval_set.outputs, ragged=False):
            return None
        for form in eval_set.reduced:
            served = Served(form, part)
            if file.holds(served.entries.values(), ragged=form.ragged):
                return served
    return None


def _untold(file: AnswersFile, form: Reduced, eval_set: EvalSet, path: Path) -> Iterator[Problem]:
    unknown = [metric.name for metric in form.unknown(eval_set.metrics, file.shapes)]
    if unknown:
        yield Problem(
            f"{_listed(form.columns)} {'do' if len(form.columns) > 1 else 'does'}n't tell "
            f"{first_of(unknown[:5], len(unknown))}",
            str(path),
            f"Give the output {', '.join(form.outputs)} as the engine gave it, or leave these out "
            "of the task's metrics.",
        )


def given_batches(
    file: AnswersFile,
    reduced: Sequence[Served],
    outputs: Sequence[str],
    ids: Sequence[str],
    pieces: Sequence[Rows],
) -> Iterator[Batch]:
    """Answers batch by batch: outputs, and what reductions would have made of them.

    Parameters
    ----------
    file : AnswersFile
    reduced : sequence of Served
        What it holds in place of outputs.
    outputs : sequence of str
        The model's.
    ids : sequence of str
        Of all rows.
    pieces : sequence of int64 (b,)
        The rows, as many in each piece but the last.
    """
    instead = {name: ragged for each in reduced for name, ragged in each.ragged.items()}
    held = [
        name
        for name in outputs
        if not instead.get(name, False) and file.holds([name], ragged=False)
    ]
    names = {**dict.fromkeys(held, False), **instead}
    size = max(map(len, pieces), default=1)
    for piece, own in zip(pieces, file.batches(ids, size, names), strict=True):
        whole = Batch({name: plain(own, name) for name in held})
        for each in reduced:
            made = each.form.batch(each.columns(own), piece)
            whole = Batch({**whole.outputs, **made.outputs}, {**whole.answers, **made.answers})
        yield whole
