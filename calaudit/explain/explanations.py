"""All explanations of one audit: each harmed result once, results of one cause together."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from calaudit.audit.earlier import results_of
from calaudit.audit.foreign import Foreign
from calaudit.audit.observed import open_observed
from calaudit.audit.prepare import Audit
from calaudit.explain.engines import Variant
from calaudit.explain.finding import Subject, explain, is_done, unexplained
from calaudit.explain.harmed import harmed_results
from calaudit.explain.judging import ENOUGH, Judge, is_there, value
from calaudit.explain.kept import kept_of_experiments
from calaudit.explain.laboratory import Laboratory
from calaudit.explain.run import MOST
from calaudit.explain.runs import Runs
from calaudit.explain.sentences import Told, sentence
from calaudit.explain.transplants import Patient
from calaudit.results.comparison import Result
from calaudit.results.explanation import FOUND, Alike, Cause, Explanation
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted

_OPEN: Final = frozenset({Cause.NOTHING_FOUND, Cause.TOO_FEW_ROWS})
"""Causes that a change found for a later result may settle."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be explained."""

    cells: tuple[str, ...] = ()
    """Names or patterns; empty: all."""
    slices: tuple[str, ...] = ()
    """Likewise."""
    every: bool = False
    """Also drops that aren't significant."""
    most: int = MOST
    """Explanations at most."""


def explanations_of(
    audit: Audit, report: Report, asked: Asked
) -> tuple[tuple[Explanation, ...], tuple[Notice, ...]]:
    """Explain an audit's harmed results, and say what was left.

    Parameters
    ----------
    audit : Audit
        Its folder is held, and its artefacts are made.
    report : Report
        Its explanations, of an earlier run, aren't left even where they aren't asked for again.
    asked : Asked

    Raises
    ------
    SettingsError, SliceError
        As `harmed_results`.
    """
    harmed = harmed_results(report, cells=asked.cells, slices=asked.slices, every=asked.every)
    if not harmed:
        return (), ()
    observed = open_observed(audit.plan).slices
    if observed is None:
        reason = "there are no tuning rows, or no engine is INT8"
        return (), (Notice("nothing_explained", f"no result is explained: {reason}", "audit"),)
    with tempfile.TemporaryDirectory(prefix="calaudit-explain-") as folder:
        runs = Runs(
            audit.pool, Path(folder), audit.config.audit.batch_size, kept_of_experiments(audit)
        )
        lab = Laboratory(audit, report, observed, runs)
        found, rest = _explain_all(lab, harmed, asked.most)
    known = {each for one in report.explanations for each in results_of(one)}
    left = sum((each.cell, each.slice, each.metric) not in known for each in rest)
    if not left:
        return tuple(found), ()
    message = (
        f"{counted(left, 'harmed result')} of {len(harmed)} {'is' if left == 1 else 'are'}n't "
        f"explained, since at most {counted(asked.most, 'explanation')} "
        f"{'was' if asked.most == 1 else 'were'} asked for (calaudit explain --most)"
    )
    return tuple(found), (Notice("explanations_left", message, "audit"),)


def _explain_all(
    lab: Laboratory, harmed: Sequence[Result], most: int
) -> tuple[list[Explanation], list[Result]]:
    """Explanations, the gravest result's first, and the results that have none."""
    found: list[tuple[Result, Explanation]] = []
    left = list(harmed)
    lab.runs.hold_inputs(lab.rows)
    with counter(len(harmed), what="explanations", unit="result") as done:
        while left and len(found) < most:
            first, *rest = left
            one, subject = _explain_one(lab, first)
            alike: list[tuple[Result, Alike]] = []
            if subject is not None and one.cause in FOUND:
                unsettled = [earlier for earlier, each in found if each.cause in _OPEN]
                alike = list(_alike(lab, one, subject, [*unsettled, *rest]))
            told = {id(result) for result, _ in alike}
            found = [(earlier, each) for earlier, each in found if id(earlier) not in told]
            if one.cause is Cause.NOT_TRIED:  # which holds for the cell, whatever the slice
                told |= {id(each) for each in rest if each.cell == first.cell}
            left = [each for each in rest if id(each) not in told]
            found.append((first, replace(one, alike=tuple(each for _, each in alike))))
            done.advance(1 + len(rest) - len(left))
    return [one for _, one in found], left


def _explain_one(lab: Laboratory, result: Result) -> tuple[Explanation, Subject | None]:
    reason = _obstacle(lab, result)
    if reason is not None:
        return _told(lab, unexplained(result), reason), None
    place = lab.place(result)
    if place is None:
        return _told(lab, unexplained(result, Cause.TOO_FEW_ROWS)), None
    try:
        subject = lab.subject(result, place)
        one = explain(subject)
    except BackendError as error:
        return _told(lab, unexplained(result), " ".join(str(error).split())), None
    # in samples so far
    return replace(one, cost=one.cost / len(lab.audit.predicted)), subject


def _told(lab: Laboratory, one: Explanation, reason: str = "") -> Explanation:
    return replace(one, sentence=sentence(Told(lab.index, one, 0, reason)))


def _obstacle(lab: Laboratory, result: Result) -> str | None:
    """What keeps a cell from experiments."""
    planned = lab.planned[result.cell]
    if planned.foreign is not None and result.cell not in lab.ranges:
        return _unread(lab.audit.foreign[planned.foreign])
    if planned.precision != "int8":
        return f"{planned.precision.upper()} engines have no ranges"
    if result.cell not in lab.ranges:
        return "its backend chose its ranges itself, and tells none for the tensors of a Q/DQ graph"
    return None


def _unread(engine: Foreign) -> str:
    """Why the ranges of an engine that somebody else made aren't known."""
    if engine.contents is None:
        return "it was made elsewhere, and its ranges aren't known"
    if engine.contents.dynamic and not engine.contents.fixed:
        return "its ranges are made anew for each batch"
    if not engine.part.int8:
        return "it was made elsewhere, and its file shows no product in INT8"
    return (
        f"its file has ranges of {len(engine.ranges)} of the tensors that are quantized here, and "
        "experiments need all"
    )


def _alike(
    lab: Laboratory, one: Explanation, subject: Subject, others: Iterable[Result]
) -> Iterable[tuple[Result, Alike]]:
    """Results that the change which was found takes back as well: each is tried."""
    share = 1.0
    if one.removed is not None and one.tuning is not None:
        share = value(one.removed) / max(value(one.tuning), 1e-12)
    for result in others:
        if result.metric != one.metric or _obstacle(lab, result) is not None:
            continue
        place = lab.place(result)
        if place is None:
            continue
        patient = lab.patient(result.cell)
        changed = _changed(one, subject, result, patient)
        if changed is None:
            continue
        judge = Judge(place, lab.runs, patient.experiments, subject.level, at_once=1)
        cell = patient.engine
        drop, left = judge.left(cell), judge.left(changed)
        taken = judge.removed(changed, cell)
        if not is_there(drop) or not is_there(taken):
            continue
        if is_done(result, drop, left) or value(taken) >= ENOUGH * share * value(drop):
            yield result, Alike(result.cell, result.slice, drop, left)


def _changed(
    one: Explanation, subject: Subject, result: Result, patient: Patient
) -> Variant | None:
    """The engine with the change; None where there is nothing to change."""
    if not one.taps:
        (op,) = one.ops
        return None if op in patient.float_ops else patient.with_float(op)
    donor = subject.others[str(one.donor)]
    if one.donor == result.cell or not set(one.taps) <= set(patient.ranges):
        return None
    if one.cause is Cause.WHOLE and result.cell != one.cell:  # it would be another engine
        return None
    if all(donor[tap] == patient.ranges[tap] for tap in one.taps):
        return None
    return patient.given(donor, one.taps)
