"""Both arms' answers judged: every different answer is scored, and the first ones are compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from calaudit.ab.answers import MOST_ANSWERS, AnswerKeeper
from calaudit.ab.scoring import Judged, cell_of, judged_by_request, mixes, only
from calaudit.audit.prepare import Audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import definition_of, parse_metric
from calaudit.results.ab import SameAnswers
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted
from calaudit.steps.score import Scored, score_eval_sets
from calaudit.tasks.base import EvalSet

_TOP: Final = {1: "top1_agreement", 10: "overlap@10"}
"""What says whether two arms say the same, by how many of the highest answers count."""


def score_arms(
    audit: Audit,
    keeper: AnswerKeeper,
    fillings: Sequence[Predictions],
    reference: Predictions,
    folder: Path,
    *,
    lent: str | None = None,
    metrics: Sequence[str] = (),
) -> tuple[Judged, list[SameAnswers]]:
    """Score what both arms answered.

    Parameters
    ----------
    audit : Audit
    keeper : AnswerKeeper
    fillings : sequence of Predictions
        Of each arm: stand in for samples that nobody asked it for, such as a gallery's.
    reference : Predictions
        FP32's.
    folder : Path
        For files; its owner deletes it.
    lent : str, optional
        Engine that `fillings` of both arms are of, where they aren't the arms' own.
    metrics : sequence of str
        Only these; by default all.
    """
    judged, first = judged_answers(
        audit, keeper, fillings, reference, folder, lent=lent, metrics=metrics
    )
    same, likeness = _same_answers(audit, keeper, first, lent)
    notices = (*judged.notices, *_beyond(keeper))
    return replace(judged, likeness=tuple(likeness), notices=notices), same


def judged_answers(
    audit: Audit,
    keeper: AnswerKeeper,
    fillings: Sequence[Predictions],
    reference: Predictions,
    folder: Path,
    *,
    lent: str | None = None,
    metrics: Sequence[str] = (),
    most: int = MOST_ANSWERS,
) -> tuple[Judged, list[Predictions]]:
    """Score what arms answered, and the files of their first answers.

    Further answers to samples are scored one after the other, so that few files are there at a
    time.

    Parameters: as `score_arms`; `most` are the different answers to a sample that are scored.
    """
    first = [
        answers.written(0, fillings[arm], folder / f"{arm}.h5")
        for arm, answers in enumerate(keeper.arms)
    ]
    cells = {cell_of(arm): given for arm, given in enumerate(first)}
    judged = judged_by_request(audit, cells, reference, lent=lent, metrics=metrics)
    for number in range(1, min(most, max(len(each.batches) for each in keeper.arms))):
        again = {
            arm: answers.written(number, fillings[arm], folder / f"{arm}.further.h5")
            for arm, answers in enumerate(keeper.arms)
            if number < len(answers.batches)
        }
        _score_further(judged, again, reference)
        for given in again.values():
            given.path.unlink()
    return judged, first


def _score_further(
    judged: Judged, given: Mapping[int, Predictions], reference: Predictions
) -> None:
    """Append what another answer of each of some arms scored."""
    cells = {cell_of(arm): each for arm, each in given.items()}
    names = {each.metric.name for each in judged.metrics}
    eval_sets = [only(one.eval_set, names) for one in judged.scored]
    scored = score_eval_sets(eval_sets, reference, cells)
    found = {metric.name: one for one in scored for metric in one.eval_set.metrics}
    for each in judged.metrics:
        for arm in given:
            each.arms[arm].append(found[each.metric.name].cells[cell_of(arm)][each.metric])


def _beyond(keeper: AnswerKeeper) -> Iterator[Notice]:
    for role, answers in zip(("control", "treatment"), keeper.arms, strict=True):
        if answers.beyond:
            message = (
                f"gave more than {MOST_ANSWERS} different answers to one sample: "
                f"{counted(answers.beyond, 'further request')} count as if answered by these, "
                "each in turn"
            )
            yield Notice("unsteady_answers", message, role)


def _same_answers(
    audit: Audit, keeper: AnswerKeeper, first: Sequence[Predictions], lent: str | None
) -> tuple[list[SameAnswers], list[Scored]]:
    """How alike the arms' first answers to the same samples are, and what it was found by."""
    control, treatment = keeper.arms
    both = np.array(sorted(control.digests.keys() & treatment.digests.keys()), np.int64)
    same = sum(control.digests[row][0] == treatment.digests[row][0] for row in both.tolist())
    found = [
        SameAnswers(
            None,
            len(both),
            same / len(both) if len(both) else None,
            len(control.unsteady),
            len(treatment.unsteady),
        )
    ]
    by: list[Scored] = []
    if not len(both):
        return found, by
    for eval_set in audit.eval_sets:
        if eval_set.unit_of_row is not None or not _readable(eval_set, first):
            continue
        if lent is not None and mixes(audit, eval_set):
            continue
        alike = replace(eval_set, metrics=tuple(_likeness(eval_set)))
        if not alike.metrics:
            continue
        (scored,) = score_eval_sets([alike], first[0], {"treatment": first[1]})
        by.append(scored)
        of_row = np.searchsorted(audit.evaluated, both)
        of = eval_set.row_of_unit
        units = of_row if of is None else np.flatnonzero(np.isin(of, of_row))
        for metric in alike.metrics:
            value = scored.cells["treatment"][metric].value(units)
            found.append(SameAnswers(metric.name, len(both), value))
    return list({each.metric: each for each in found}.values()), by


def _readable(eval_set: EvalSet, given: Sequence[Predictions]) -> bool:
    """Whether an arm's answers can stand in FP32's place."""
    kept = eval_set.reduction
    if kept is not None and kept.against_reference:
        return all(set(eval_set.outputs) <= set(each.output_names) for each in given)
    return True


def _likeness(eval_set: EvalSet) -> Iterator[Metric]:
    """Metrics of likeness: those that the audit names, else what suits the kind of task."""
    named = [metric for metric in eval_set.metrics if metric.is_agreement]
    yield from named
    task = eval_set.task
    usual = task.alike or _TOP.get(task.top or 0)
    if named or usual is None:
        return
    metric = parse_metric(usual)
    if isinstance(eval_set.truth, definition_of(metric).needs or task.truth):
        yield metric
